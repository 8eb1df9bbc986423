"""Which deliveries are accepted: those with Zoho's RSA signature, or our secret in a header."""

import base64
import json
import re
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.support.zoho import NOW, make_app, make_connection, make_request, ms, receive

from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, VerifiedDelivery, WebhookEvent, WebhookRequest
from connectors.domain.providers.contract import ReadContext, VerificationMaterial
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ, verification
from connectors.domain.providers.zoho_cliq.payloads import MESSAGE_HANDLERS
from connectors.domain.providers.zoho_cliq.webhooks import MANUAL_SETUP, PARTICIPATION, read_event


def der(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
PUBLIC = base64.b64encode(der(KEY)).decode()
SECRET = "operator-chosen-secret"
BODY = json.dumps({"handler": {"type": "x"}, "text": "é", "timestamp": ms(NOW)}, ensure_ascii=False).encode()


def sign(body=BODY, key=KEY, scheme=None, digest=None):
    signature = key.sign(body, scheme or padding.PKCS1v15(), digest or SHA256())
    return base64.b64encode(signature).decode()


def verify(body=BODY, public_key=PUBLIC, secrets=(SECRET,), now=NOW, about=None, **headers):
    app = make_app("zoho-cliq", options={"public_key": public_key} if public_key is not None else {})
    about = {"via": "app", "has_url_key": True} if about is None else about
    material = VerificationMaterial(app=app, secrets=[Secret(one) for one in secrets], now=now, **about)
    return verification.verify(make_request(body, "zoho-cliq", **headers), material)


def test_zohos_signature():
    """Raw bytes verify; so does the compact form of the same JSON, which Zoho's own sample checks."""
    assert verify(x_cliq_signature=sign()).via == "app"
    compact = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode()
    assert compact != BODY
    assert verify(x_cliq_signature=sign(compact))


def test_forms_of_the_public_key():
    """Base64 with or without PEM lines, and two keys while one is replaced."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    other = base64.b64encode(der(OTHER)).decode()
    for text in (pem, pem.replace("\n", "\\n"), f"{other},{PUBLIC}", f" {PUBLIC} "):
        assert verify(public_key=text, x_cliq_signature=sign())


@pytest.mark.parametrize(
    "text", ["x", "AAAA", "é", PUBLIC[:-8], f"{PUBLIC},", base64.b64encode(der(ec.generate_private_key(ec.SECP256R1()))).decode()]
)  # fmt: skip
def test_only_a_usable_key_is_a_setting(text):
    """Half a key, or a key of another kind, is refused when the service starts."""
    with pytest.raises(ValueError, match=r"RSA public key|between two commas"):
        ZOHO_CLIQ.read_options({"public_key": text})


def test_without_a_key_no_signature_is_believed():
    """Without a public key a signed delivery is rejected, even if there is a secret."""
    with pytest.raises(DeliveryRejectedError):
        verify(public_key=None, x_cliq_signature=sign(), x_webhook_token=SECRET)


GOOD = sign()
WRONG_SIGNATURES = {
    "empty": "",
    "cut": GOOD[:-4],
    "stretched": GOOD + "AAAA",
    "half": base64.b64encode(base64.b64decode(GOOD)[:128]).decode(),
    "other key": sign(key=OTHER),
    "other body": sign(BODY + b" x"),
    "pss": sign(scheme=padding.PSS(padding.MGF1(SHA256()), 32)),
    "sha1": sign(digest=SHA1()),
    "not base64": "!" * 344,
    "not ascii": "é" * 344,
    "surrogate": "\ud800" * 10,
    "huge": "A" * 100_000,
    "zeros": base64.b64encode(bytes(256)).decode(),
    "a blank inside": GOOD[:10] + " " + GOOD[10:],
}


@pytest.mark.parametrize("name", WRONG_SIGNATURES)
def test_a_wrong_signature(name):
    """An almost right signature is rejected, even with the right secret."""
    with pytest.raises(DeliveryRejectedError):
        verify(x_cliq_signature=WRONG_SIGNATURES[name], x_webhook_token=SECRET)


@pytest.mark.parametrize(
    ("age", "is_good"),
    [
        (timedelta(0), True),
        (timedelta(hours=23), True),
        (timedelta(hours=25), False),
        (timedelta(days=400), False),
        (-timedelta(minutes=4), True),
        (-timedelta(minutes=6), False),
    ],
)
def test_the_age_of_a_signed_body(age, is_good):
    """A body from more than a day ago is rejected, and so is one from tomorrow."""
    if is_good:
        assert verify(now=NOW + age, x_cliq_signature=GOOD)
        return
    with pytest.raises(DeliveryRejectedError):
        verify(now=NOW + age, x_cliq_signature=GOOD)


@pytest.mark.parametrize("body", [b"{}", b'{"timestamp":null}', b'{"timestamp":"x"}', b"[]", b"\xff", b""])
def test_a_signed_body_without_time(body):
    """It could be a replay."""
    with pytest.raises(DeliveryRejectedError):
        verify(body, x_cliq_signature=sign(body))


def test_our_secret():
    """Either header will do, either of two secrets will do, and the capitals of the scheme do not matter."""
    assert verify(authorization=f"Bearer {SECRET}").via == "app"
    assert verify(authorization=f"bearer {SECRET}", secrets=("new", SECRET))
    assert verify(x_webhook_token=SECRET)
    assert verify(x_webhook_token=SECRET, authorization="Basic eDp5")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_webhook_token": ""},
        {"x_webhook_token": SECRET[:-1]},
        {"x_webhook_token": SECRET + "x"},
        {"x_webhook_token": SECRET.upper()},
        {"x_webhook_token": "é" * 20},
        {"x_webhook_token": "\ud800"},
        {"x_webhook_token": "x" * 100_000},
        {"authorization": SECRET},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": "Bearer wrong", "x_webhook_token": SECRET},
    ],
)
def test_a_wrong_secret(headers):
    """Missing, cut, stretched, in the wrong header or not even ASCII: rejected, never a crash."""
    with pytest.raises(DeliveryRejectedError):
        verify(**headers)


def test_fail_closed():
    """Without a secret nothing matches, an empty one included; the URL proves nothing."""
    for secrets in ((), ("",)):
        with pytest.raises(DeliveryRejectedError):
            verify(secrets=secrets, x_webhook_token=" ", authorization="Bearer ")
    with pytest.raises(DeliveryRejectedError):
        verify(secrets=(), x_webhook_token=SECRET)


EXAMPLES = [
    json.loads(path.read_bytes().partition(b"\n\n")[2])
    for path in sorted((Path(__file__).parent / "fixtures").glob("*.http"))
    if "form" not in path.stem
]
HOSTILE = [None, True, 0, -1, 1.5, 10**40, "", "x" * 100_000, "\0", "5", "\ud800", [], [[]], {}, {"id": {}}]


def paths_of(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from paths_of(child, (*prefix, key))


def changed(document, path, replacement):
    if not path:
        return replacement
    copy = dict(document) if isinstance(document, dict) else list(document)
    if len(path) == 1 and replacement is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], replacement)
    return copy


def outcome_of(body, **headers):
    try:
        outcome = receive(ZOHO_CLIQ, body, make_connection("zoho-cliq"), **headers)
    except UnexpectedResponseError as error:
        return error
    assert isinstance(outcome, WebhookEvent | Ignored)
    assert len(outcome.event) < 200
    for draft in () if isinstance(outcome, Ignored) else outcome.signals:
        assert "\0" not in draft.dedupe_key + draft.title + draft.container.name
        assert len(draft.dedupe_key) < 900
        json.dumps([draft.title, draft.container.name, draft.dedupe_key]).encode()
    return outcome


@given(example=st.sampled_from(EXAMPLES), data=st.data(), replacement=st.sampled_from([..., *HOSTILE]))
def test_any_field_missing_or_wrong(example, data, replacement):
    """One field missing, null, of another type or huge is a signal, an ignored event or a named error."""
    path = data.draw(st.sampled_from([path for path in paths_of(example) if path]))
    outcome_of(changed(example, path, replacement))


@given(body=st.binary(max_size=200))
def test_any_bytes(body):
    """A body need not be JSON, nor the form that it claims to be."""
    outcome_of(body)
    outcome_of(body, content_type="application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b"{}", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"\xff", b"a=b&c=d"]
)
def test_broken_bodies(body):
    """Empty, cut, deep, huge or in no known encoding: an error that says so."""
    assert isinstance(outcome_of(body), UnexpectedResponseError)
    assert isinstance(outcome_of(body, content_type="application/x-www-form-urlencoded"), UnexpectedResponseError)


# --- the setup by hand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["A. ", "B. "])
def test_the_setup_names_every_handler_that_we_read(way):
    """Both ways set up each handler whose runs become signals."""
    _, _, steps = MANUAL_SETUP.partition(way)
    steps = steps.partition("B. ")[0] if way == "A. " else steps
    assert {name for name in (PARTICIPATION, *MESSAGE_HANDLERS) if name not in steps} == set()


@pytest.mark.parametrize("handler", sorted({PARTICIPATION, *MESSAGE_HANDLERS}))
def test_what_the_script_sends_is_read(handler):
    """A delivery with the members of the script for that handler becomes an event, and no failed delivery."""
    scripts = re.findall(r'payload = \{("handler".*?)\};', MANUAL_SETUP, re.DOTALL)
    (script,) = (one for one in scripts if ('"operation"' in one) == (handler == PARTICIPATION))
    values = {
        "handler": handler,
        "operation": "message_sent",
        "data": {"message": {"type": "text", "text": "Hi"}},
        "message": "Hi",
        "chat": {"id": "CT_1"},
        "user": {"id": "1", "first_name": "Scott"},
        "access": {"message_id": f"{ms(NOW)}_77"},
        "time": ms(NOW),
    }
    document = {name: values[name] for name in re.findall(r'"(\w+)":', script)}
    body = json.dumps(document).encode()
    request = WebhookRequest(
        provider=ZOHO_CLIQ.slug,
        tenant_id=None,
        headers={"content-type": "application/json"},
        body=body,
        received_at=NOW,
    )
    delivery = VerifiedDelivery(request=request, delivery_id="d", via="connection")
    event = read_event(delivery, ReadContext(app=make_app("zoho-cliq")))
    assert isinstance(event, WebhookEvent), event


# --- whose it is -----------------------------------------------------------------------------------------------------


def body_of(organization):
    access = {} if organization is None else {"organization": {"id": organization}}
    return json.dumps({"params": {"access": access}, "timestamp": ms(NOW)}).encode()


@pytest.mark.parametrize(
    ("known", "named", "has_key", "is_taken"),
    [
        ("7", "7", False, True),
        ("7", "8", False, False),
        ("7", None, False, False),
        (None, "7", False, False),
        (None, None, False, False),
        ("7", "8", True, True),
        (None, None, True, True),
    ],
)
def test_whose_bot_signed(known, named, has_key, is_taken):
    """The public key is for all: the organization has to be the connection's, or the URL has its key."""
    metadata = {} if known is None else {"organization_id": known}
    about = {"connection": make_connection("zoho-cliq", metadata=metadata), "has_url_key": has_key}
    body = body_of(named)
    with nullcontext() if is_taken else pytest.raises(DeliveryRejectedError, match="of this connection"):
        verify(body, about=about, x_cliq_signature=sign(body))


def test_the_secret_that_is_set_for_all_says_not_whose_script_it_is():
    """At a URL without its key it is refused, whatever organization the script names; a connection's own is enough."""
    about = {"via": "app", "connection": make_connection("zoho-cliq", metadata={"organization_id": "7"})}
    with pytest.raises(DeliveryRejectedError, match="of this connection") as caught:
        verify(body_of("7"), about=about, x_webhook_token=SECRET)
    assert "webhooks url" in caught.value.next_step
    assert verify(body_of("7"), about={**about, "via": "connection"}, x_webhook_token=SECRET).via == "connection"
    assert verify(body_of("7"), about={**about, "has_url_key": True}, x_webhook_token=SECRET).via == "app"
