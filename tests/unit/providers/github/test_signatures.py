"""Who sent it: the vendor's vector first, then everything that is almost right."""

import hashlib
import hmac

import pytest
from tests.unit.providers.github.support import FIXTURES, NOW, make_request, read_fixture

from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import VerificationMaterial
from connectors.domain.providers.github import webhooks

SECRET = "It's a Secret to Everybody"
BODY = b"Hello, World!"
DIGEST = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
SIGNATURE = f"sha256={DIGEST}"


def verify(body=BODY, signature=SIGNATURE, secrets=(SECRET,), **headers):
    if signature is not None:
        headers["x-hub-signature-256"] = signature
    material = VerificationMaterial(
        app=None, secrets=[Secret(secret) for secret in secrets], now=NOW, via="subscription"
    )
    return webhooks.verify(make_request(body, headers), material)


def test_the_vendors_vector():
    """GitHub's published example verifies, and says what proved it."""
    assert verify().via == "subscription"


@pytest.mark.parametrize("secrets", [("other", SECRET), (SECRET, "other")])
def test_any_of_two_secrets(secrets):
    """While a secret rotates, either one proves the sender."""
    assert verify(secrets=secrets)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        DIGEST,
        SIGNATURE[:-1],
        SIGNATURE + "0",
        f"sha256={'0' * 64}",
        f"sha1={hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()}",
        f"sha512={hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest()}",
        f"sha256={DIGEST[:-1]}é",
        f"sha256={DIGEST[:-1]}\ud800",
        SIGNATURE.upper(),
        f"{SIGNATURE},{SIGNATURE}",
        "sha256=" + "0" * 100_000,
    ],
)
def test_a_wrong_signature(signature):
    """Missing, cut, stretched, of another algorithm or not even ASCII: rejected, never a crash."""
    with pytest.raises(DeliveryRejectedError):
        verify(signature=signature)


def test_every_flipped_byte():
    """One changed bit anywhere in the body is noticed."""
    for index in range(len(BODY)):
        changed = bytearray(BODY)
        changed[index] ^= 1
        with pytest.raises(DeliveryRejectedError):
            verify(body=bytes(changed))


def test_another_secret():
    """The signature of somebody else's hook proves nothing here."""
    with pytest.raises(DeliveryRejectedError):
        verify(secrets=("another",))


def test_no_secret():
    """Without a secret nothing verifies, not even the signature made with an empty one."""
    signature = "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    with pytest.raises(DeliveryRejectedError):
        verify(signature=signature, secrets=())


def test_sha1_alone():
    """The legacy header does not stand in for the real one, and the error says so."""
    legacy = "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    with pytest.raises(DeliveryRejectedError, match="SHA-1"):
        verify(signature=None, **{"x-hub-signature": legacy})


def test_no_message_holds_the_signature():
    """What is rejected is not quoted."""
    with pytest.raises(DeliveryRejectedError) as caught:
        verify(signature="sha256=feedface")
    assert "feedface" not in caught.value.message
    assert SECRET not in caught.value.message


def test_hints():
    """An unverified request names its delivery id and its hook, so that secrets can be looked up."""
    hints = webhooks.read_hints(read_fixture(FIXTURES / "ping.http"))
    assert hints.subscription_external_id == "31337"
    assert hints.delivery_id.startswith("72d3162e-")


@pytest.mark.parametrize("value", ["", "x" * 129])
def test_hints_of_no_use(value):
    """Empty and endless ids are no ids."""
    hints = webhooks.read_hints(make_request(b"", {"x-github-delivery": value, "x-github-hook-id": value}))
    assert (hints.delivery_id, hints.subscription_external_id) == (None, None)


def test_without_a_guid_the_body_names_the_delivery():
    """The same bytes are the same delivery, also where the header is missing."""
    assert verify().delivery_id == verify().delivery_id == hashlib.sha256(BODY).hexdigest()


def test_signature_headers_are_not_stored():
    """Neither signature is stored."""
    assert webhooks.WEBHOOKS.secret_headers == {"x-hub-signature", "x-hub-signature-256"}
