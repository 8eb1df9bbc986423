"""The vault: a secret opens only in its own context, unchanged, and under a known key."""

from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.aesgcm import AesGcmVault, KeyRing, generate_key
from connectors.domain.model.errors import VaultError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.secret import SealedSecret, Secret, SecretContext, SecretPurpose

OLD, NEW = generate_key("old"), generate_key("new")
VAULT = AesGcmVault(KeyRing.parse(OLD))
CONTEXT = SecretContext(TenantId(UUID(int=1)), UUID(int=2), SecretPurpose.TOKEN_SET)

contexts = st.builds(SecretContext, st.uuids().map(TenantId), st.uuids(), st.sampled_from(SecretPurpose))


@given(text=st.text(st.characters(exclude_categories=["Cs"])), context=contexts)
def test_what_is_sealed_opens_in_its_context(text, context):
    """Opening gives back the same secret."""
    assert VAULT.open(VAULT.seal(Secret(text), context), context).reveal() == text


@given(sealed_in=contexts, opened_in=contexts)
def test_another_context_does_not_open_it(sealed_in, opened_in):
    """A secret does not open for another tenant, owner or purpose."""
    if sealed_in == opened_in:
        return
    sealed = VAULT.seal(Secret("s3cret"), sealed_in)
    with pytest.raises(VaultError):
        VAULT.open(sealed, opened_in)


@pytest.mark.parametrize(
    "changed",
    [
        attrs.evolve(CONTEXT, tenant_id=TenantId(UUID(int=3))),
        attrs.evolve(CONTEXT, owner_id=UUID(int=3)),
        attrs.evolve(CONTEXT, purpose=SecretPurpose.WEBHOOK_SECRET),
        SecretContext(TenantId(CONTEXT.owner_id), CONTEXT.tenant_id, CONTEXT.purpose),
    ],
)
def test_each_part_of_the_context_counts(changed):
    """One changed part, or two swapped ones, is another context."""
    sealed = VAULT.seal(Secret("s3cret"), CONTEXT)
    with pytest.raises(VaultError) as caught:
        VAULT.open(sealed, changed)
    assert "s3cret" not in str(caught.value)


@given(data=st.data(), text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_flipped_bit_anywhere_is_detected(data, text):
    """A changed bit in the nonce, the ciphertext or the tag is an error."""
    sealed = VAULT.seal(Secret(text), CONTEXT)
    part = data.draw(st.sampled_from(["nonce", "ciphertext"]))
    damaged = bytearray(getattr(sealed, part))
    bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VaultError):
        VAULT.open(attrs.evolve(sealed, **{part: bytes(damaged)}), CONTEXT)


@given(key_id=st.text(max_size=40), nonce=st.binary(max_size=20), ciphertext=st.binary(max_size=64))
def test_arbitrary_bytes_are_refused(key_id, nonce, ciphertext):
    """Whatever the row contains, the error is a VaultError."""
    with pytest.raises(VaultError):
        VAULT.open(SealedSecret(key_id, nonce, ciphertext), CONTEXT)


def test_the_key_id_is_authenticated():
    """The same key under another id does not open what was sealed under the first."""
    same_key = AesGcmVault(KeyRing.parse(f"{OLD},other:{OLD.partition(':')[2]}"))
    sealed = same_key.seal(Secret("s3cret"), CONTEXT)
    with pytest.raises(VaultError):
        same_key.open(attrs.evolve(sealed, key_id="other"), CONTEXT)


def test_an_unknown_key_is_named():
    """The error says which key id is missing and what to do."""
    sealed = AesGcmVault(KeyRing.parse(NEW)).seal(Secret("s3cret"), CONTEXT)
    with pytest.raises(VaultError, match="'new'") as caught:
        VAULT.open(sealed, CONTEXT)
    assert "POBLYSH_VAULT_KEYS" in caught.value.next_step


def test_a_ring_rotates():
    """With a new key in front, old secrets open and count as old, and new ones are sealed under the new key."""
    rotated = AesGcmVault(KeyRing.parse(f"{NEW},{OLD}"))
    old = VAULT.seal(Secret("s3cret"), CONTEXT)
    assert rotated.open(old, CONTEXT).reveal() == "s3cret"
    assert not rotated.is_current(old)
    assert rotated.is_current(rotated.seal(Secret("s3cret"), CONTEXT))


def test_two_seals_of_one_secret_have_nothing_in_common():
    """Nonces are fresh, so the rows of equal secrets differ."""
    first, second = (VAULT.seal(Secret("s3cret"), CONTEXT) for _ in range(2))
    assert first.nonce != second.nonce
    assert first.ciphertext != second.ciphertext
    assert len(first.nonce) == 12


def test_what_utf8_cannot_hold_is_refused():
    """A lone surrogate is a VaultError, not a crash that shows the secret."""
    with pytest.raises(VaultError):
        VAULT.seal(Secret("s3cret\ud800"), CONTEXT)
