"""The handshake, and the verification after it."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.zoho import NOW, make_connection, make_delivery, make_request, receive

from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, WebhookEvent
from connectors.domain.providers.contract import ReadContext, VerificationMaterial
from connectors.domain.providers.zoho_mail import ZOHO_MAIL, webhooks

SECRET = "gAAbcDEF0123-_=secret"
BODY = b'{"zuid":680463218, "messageIdString":"5","receivedTime":1773133199131}'


def sign(body=BODY, secret=SECRET):
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def verify(body=BODY, secrets=(SECRET,), **headers):
    material = VerificationMaterial(app=None, secrets=[Secret(one) for one in secrets], now=NOW, via="connection")
    return webhooks.verify(make_request(body, **headers), material)


def test_a_signed_delivery():
    """The signature is base64 of the HMAC over the raw bytes, with the secret as text; its id is the body's hash."""
    delivery = verify(x_hook_signature=sign())
    assert (delivery.via, delivery.delivery_id) == ("connection", hashlib.sha256(BODY).hexdigest())
    assert verify(secrets=("other", SECRET), x_hook_signature=sign())


GOOD = sign()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        GOOD[:-1],
        GOOD[:-4],
        GOOD + "A",
        GOOD + "\n",
        " " + GOOD,
        GOOD.rstrip("="),
        GOOD.lower(),
        sign(secret="other"),
        sign(BODY + b" "),
        sign(json.dumps(json.loads(BODY)).encode() + b"\n"),
        base64.b64encode(hmac.new(base64.b64decode(SECRET[:8]), BODY, hashlib.sha256).digest()).decode(),
        hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest(),
        "é" * 44,
        "\ud800" * 44,
        "A" * 100_000,
        SECRET,
    ],
)
def test_a_wrong_signature(signature):
    """Cut, stretched, of another secret or body, or not even ASCII: rejected, never a crash."""
    with pytest.raises(DeliveryRejectedError):
        verify(x_hook_signature=signature)


def test_fail_closed():
    """No secret, no signature, or a bare announcement: rejected."""
    with pytest.raises(DeliveryRejectedError):
        verify(secrets=(), x_hook_signature=sign(secret=""))
    with pytest.raises(DeliveryRejectedError):
        verify()
    with pytest.raises(DeliveryRejectedError, match="not replaced"):
        verify(x_hook_secret="attackers")


def test_the_announcement():
    """A secret without a signature is accepted; with one only if the signature was made with it."""
    taken = webhooks.read_handshake(make_request(b"", x_hook_secret=SECRET))
    assert taken.secret.reveal() == SECRET
    assert webhooks.read_handshake(make_request(BODY, x_hook_secret=SECRET, x_hook_signature=sign())) is not None
    wrong = make_request(BODY, x_hook_secret=SECRET, x_hook_signature=sign(secret="other"))
    assert webhooks.read_handshake(wrong) is None
    assert webhooks.read_handshake(make_request(BODY, x_hook_secret=SECRET, x_hook_signature="")) is None


@pytest.mark.parametrize("secret", [None, "", " ", " x", "x" * 513, "a\nb", "a\0b", "\ud800"])
def test_no_announcement(secret):
    """Values that cannot be a secret are ignored."""
    headers = {} if secret is None else {"x_hook_secret": secret}
    assert webhooks.read_handshake(make_request(b"", **headers)) is None


FIXTURES = Path(__file__).parent / "fixtures"
DOCUMENT = json.loads((FIXTURES / "mail.http").read_bytes().partition(b"\n\n")[2])
HOSTILE = [None, True, 0, -1, 1.5, 10**40, "", "x" * 100_000, "\0", "5", "\ud800", [], [[]], {}, {"a": {}}]


def outcome_of(body):
    try:
        outcome = receive(ZOHO_MAIL, body, make_connection())
    except UnexpectedResponseError as error:
        return error
    assert isinstance(outcome, WebhookEvent | Ignored)
    for draft in () if isinstance(outcome, Ignored) else outcome.signals:
        assert "\0" not in draft.dedupe_key + draft.title + (draft.actor.name if draft.actor else "")
        assert len(draft.dedupe_key) < 200
        json.dumps([draft.title, draft.actor and draft.actor.id]).encode()
    return outcome


@given(field=st.sampled_from(sorted(DOCUMENT)), value=st.sampled_from([*HOSTILE, ...]))
def test_any_field_missing_or_wrong(field, value):
    """One field missing, null, of another type or huge is a signal, a read, or a named error."""
    document = {name: kept for name, kept in DOCUMENT.items() if name != field or value is not ...}
    if value is not ...:
        document[field] = value
    outcome_of(document)


@given(body=st.binary(max_size=200))
def test_any_bytes(body):
    """A body need not be JSON."""
    outcome_of(body)


@pytest.mark.parametrize("body", [b"null", b"[]", b"{", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"\xff"])
def test_broken_bodies(body):
    """Cut, deep, huge or in no known encoding: an error that says so."""
    assert isinstance(outcome_of(body), UnexpectedResponseError)


def test_every_delivery_has_an_id():
    """The id is the body's hash, whatever the body is."""
    assert webhooks.delivery_id(make_request(b"\xff")) == hashlib.sha256(b"\xff").hexdigest()


def test_an_event_without_connections_is_still_read():
    """Reading needs no connection: the event is completed for each one later."""
    assert isinstance(webhooks.read_event(make_delivery(BODY, "zoho-mail"), ReadContext(app=None)), WebhookEvent)
