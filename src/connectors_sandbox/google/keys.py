"""Google's signing keys: RS256 tokens written by hand with `cryptography`, and the published key set."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import attrs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY_BITS: Final = 2048
"""The same size as Google's."""


def encode(data: bytes) -> str:
    """Unpadded base64url (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_number(number: int) -> str:
    """Base64urlUInt (RFC 7518 §2)."""
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


@attrs.frozen(eq=False)
class SigningKey:
    """One key pair with its id."""

    kid: str
    private: rsa.RSAPrivateKey = attrs.field(repr=False)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT with these claims (RFC 7515 §5.1)."""
        header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}
        text = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        signature = self.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{encode(signature)}"

    def to_jwk(self) -> dict[str, str]:
        """The public half (RFC 7517 §4, RFC 7518 §6.3.1)."""
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": encode_number(numbers.n),
            "e": encode_number(numbers.e),
        }


@cache
def make_key(number: int) -> SigningKey:
    """The n-th key. All sandboxes of a process share it: creating one takes longer than most tests."""
    return SigningKey(f"sandbox-{number}", rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS))


@attrs.define(eq=False)
class KeyRing:
    """The published keys; the newest one signs. They are created on first use, because that takes a while."""

    _keys: list[SigningKey] = attrs.field(factory=list, init=False)

    def rotate(self) -> SigningKey:
        """Add a new signing key; the previous one stays valid."""
        number = 1 + int(self._keys[-1].kid.rpartition("-")[2]) if self._keys else 1
        key = make_key(number)
        self._keys = [*self._keys[-1:], key]
        return key

    def newest(self) -> SigningKey:
        """The key that signs."""
        return self._keys[-1] if self._keys else self.rotate()

    def to_jwks(self) -> dict[str, Any]:
        """The published key set."""
        self.newest()
        return {"keys": [key.to_jwk() for key in self._keys]}
