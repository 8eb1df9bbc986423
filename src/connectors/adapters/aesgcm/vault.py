"""Sealing with AES-256-GCM (NIST SP 800-38D).

The context is additional authenticated data: it is not stored with the secret, but a secret opens only in the context
in which it was sealed. A row that is copied to another tenant or owner is therefore useless.
"""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.adapters.aesgcm.keys import KeyRing
from connectors.domain.model.errors import VaultError
from connectors.domain.model.secret import SealedSecret, Secret, SecretContext

NONCE_SIZE = 12
"""Bytes: GCM's native 96 bits. Random for each seal: a key is good for 2^32 of them (SP 800-38D §8.3)."""

_TAG_SIZE = 16
"""Bytes: `AESGCM` appends the full tag."""

_AAD_VERSION = b"poblysh-connectors/vault/1"


class AesGcmVault:
    """A `Vault` over a key ring. Safe to share between threads."""

    def __init__(self, keys: KeyRing) -> None:
        """Use these keys: the first one seals, all of them open."""
        self._keys = keys
        self._ciphers = {key_id: AESGCM(key) for key_id in keys.ids if (key := keys.find(key_id)) is not None}

    def __repr__(self) -> str:
        return f"AesGcmVault({self._keys!r})"

    def seal(self, secret: Secret, context: SecretContext) -> SealedSecret:
        """The secret, encrypted under the newest key, bound to the context.

        Raises:
            VaultError: the secret cannot be encoded as UTF-8.
        """
        key_id = self._keys.current_id
        nonce = secrets.token_bytes(NONCE_SIZE)
        try:
            plaintext = secret.reveal_bytes()
        except UnicodeEncodeError:
            raise VaultError("a secret that is not valid Unicode cannot be sealed") from None
        ciphertext = self._ciphers[key_id].encrypt(nonce, plaintext, _associated_data(key_id, context))
        return SealedSecret(key_id=key_id, nonce=nonce, ciphertext=ciphertext)

    def open(self, sealed: SealedSecret, context: SecretContext) -> Secret:
        """The secret.

        Raises:
            VaultError: it was sealed for another context or under a key we do not have, or it is damaged.
        """
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise VaultError(
                f"a secret is sealed under the key {sealed.key_id!r}, which is not in the key ring",
                next_step="Add that key to POBLYSH_VAULT_KEYS, after the current one.",
            )
        if len(sealed.nonce) != NONCE_SIZE or len(sealed.ciphertext) < _TAG_SIZE:
            raise VaultError("a sealed secret is damaged: its nonce or ciphertext has an impossible length")
        try:
            plaintext = cipher.decrypt(sealed.nonce, sealed.ciphertext, _associated_data(sealed.key_id, context))
        except InvalidTag:
            raise VaultError("a sealed secret does not open: wrong context, wrong key, or damaged") from None
        return Secret(plaintext.decode())

    def is_current(self, sealed: SealedSecret) -> bool:
        """Whether it is sealed under the newest key; if not, key rotation opens it and seals it again."""
        return sealed.key_id == self._keys.current_id


def _associated_data(key_id: str, context: SecretContext) -> bytes:
    """The context as bytes that no other context has: every part is preceded by its length."""
    parts = (
        _AAD_VERSION,
        key_id.encode(),
        context.tenant_id.bytes,
        context.owner_id.bytes,
        context.purpose.value.encode(),
    )
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
