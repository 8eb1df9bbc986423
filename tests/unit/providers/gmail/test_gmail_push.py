"""Gmail's pushes: the signed token, the envelope, and what they lead to."""

import base64
import json
import warnings
from datetime import UTC, datetime, timedelta
from functools import cache

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import (
    NOW,
    converse,
    error_reply,
    make_app,
    make_connection,
    make_delivery_request,
    make_subscription,
    reply,
    script,
)

from connectors.domain.model.errors import (
    AccessLostError,
    DeliveryRejectedError,
    UnexpectedResponseError,
    text_with_next_step,
)
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, VerifiedDelivery
from connectors.domain.providers.contract import (
    ReadContext,
    SigningKeys,
    SubscriptionRequest,
    SubscriptionScope,
    VerificationMaterial,
    is_unknown_key,
)
from connectors.domain.providers.gmail import GMAIL

AUDIENCE = "https://hooks.example/webhooks/gmail"
ACCOUNT = "push@p.iam.gserviceaccount.com"
CLAIMS = {
    "iss": "https://accounts.google.com",
    "aud": AUDIENCE,
    "email": ACCOUNT,
    "email_verified": True,
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 3600,
    "sub": "1137",
}
APP = make_app(GMAIL, push_service_account=ACCOUNT, push_audience=AUDIENCE)
MISSING = object()


@cache
def private_key(name="a"):
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(kid="k1", name="a", **changes):
    document = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key(name).public_key()))
    return {**document, "kid": kid, "alg": "RS256", "use": "sig", **changes}


def keys(*documents):
    documents = documents or (jwk(),)
    return SigningKeys(keys={one["kid"]: one for one in documents}, expires_at=NOW + timedelta(hours=1))


def sign(kid="k1", name="a", **changes):
    claims = {claim: value for claim, value in {**CLAIMS, **changes}.items() if value is not MISSING}
    return jwt.encode(claims, private_key(name), algorithm="RS256", headers={"kid": kid})


def envelope(data=None, **changes):
    content = {"emailAddress": "Dana@X.com", "historyId": 9876543210} if data is None else data
    encoded = content if isinstance(content, str) else base64.b64encode(json.dumps(content).encode()).decode()
    message = {"data": encoded, "messageId": "2070443601311540", "publishTime": "2026-11-20T19:13:55.749Z"}
    return json.dumps({"message": message, "subscription": "projects/P/subscriptions/S", **changes}).encode()


def verify(authorization, *, body=None, app=APP, key_set=None, now=NOW, url=AUDIENCE + "?x=1"):
    headers = {} if authorization is None else {"Authorization": authorization}
    request = make_delivery_request(GMAIL, headers=headers, body=envelope() if body is None else body, url=url)
    material = VerificationMaterial(app=app, keys=keys() if key_set is None else key_set, now=now, via="app")
    return GMAIL.webhooks.verify(request, material)


def read(body, app=APP):
    delivery = VerifiedDelivery(request=make_delivery_request(GMAIL, body=body), delivery_id="1", via="app")
    return GMAIL.webhooks.read_event(delivery, ReadContext(app=app))


def unsigned(header, claims=CLAIMS):
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


def confused():
    """HS256 under the public key's own text, as a library that trusts `alg` would check it."""
    import hashlib
    import hmac

    text = unsigned({"alg": "HS256", "kid": "k1"})[:-1]
    mac = hmac.digest(json.dumps(jwk()).encode(), text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_a_push_of_our_subscription_is_proven():
    """The message's id becomes the delivery's id, and all claims are available."""
    delivery = verify(f"Bearer {sign()}")
    assert (delivery.delivery_id, delivery.via) == ("2070443601311540", "app")
    assert delivery.claims["email"] == ACCOUNT
    assert GMAIL.webhooks.url_scope is SubscriptionScope.APP
    assert "authorization" in GMAIL.webhooks.secret_headers


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "accounts.google.com"},
        {"exp": int(NOW.timestamp()) - 59},
        {"iat": int(NOW.timestamp()) + 59},
        {"nbf": int(NOW.timestamp()) + 59},
        {"iat": NOW.timestamp()},
    ],
)
def test_what_google_may_send_is_accepted(changes):
    """Both spellings of the issuer, and a minute of skew either way."""
    assert verify(f"Bearer {sign(**changes)}")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://accounts.google.com.evil.example"},
        {"iss": MISSING},
        {"aud": "https://hooks.example/webhooks/other"},
        {"aud": [AUDIENCE, "other"]},
        {"aud": MISSING},
        {"email": "other@p.iam.gserviceaccount.com"},
        {"email": MISSING},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": MISSING},
        {"exp": int(NOW.timestamp()) - 60},
        {"exp": MISSING},
        {"exp": "never"},
        {"exp": True},
        {"exp": 10**18},
        {"nbf": int(NOW.timestamp()) + 61},
        {"iat": int(NOW.timestamp()) + 61},
        {"iat": MISSING},
        {"iat": -1},
    ],
)
def test_a_wrong_claim_is_rejected(changes):
    """A good signature is not enough: each claim must be ours, present and of the right type."""
    with pytest.raises(DeliveryRejectedError) as caught:
        verify(f"Bearer {sign(**changes)}")
    assert not is_unknown_key(caught.value)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer abc",
        "Bearer a.b.c",
        "Bearer \ud800.b.c",
        "Bearer é.b.c",
        "Bearer " + "a" * 9000,
        f"Bearer {unsigned({'alg': 'none', 'kid': 'k1'})}",
        f"Bearer {unsigned({'alg': 'None'})}",
        f"Bearer {unsigned({'alg': 'RS256', 'kid': 'k1'})}",
        f"Bearer {unsigned({'alg': ['RS256'], 'kid': 'k1'})}",
        f"Bearer {unsigned([])}",
        f"Bearer {confused()}",
    ],
    ids=range(16),
)
def test_what_is_not_signed_by_google_is_rejected(authorization):
    """No token, no signature, the sender's own algorithm, or noise: 401, never an accept."""
    with pytest.raises(DeliveryRejectedError):
        verify(authorization)


@pytest.mark.parametrize("position", [0, 20, 300, 600])
def test_a_changed_token_is_rejected(position):
    """One changed letter of header, claims or signature is enough."""
    token = sign()
    other = "A" if token[position] != "A" else "Q"
    with pytest.raises(DeliveryRejectedError):
        verify(f"Bearer {token[:position]}{other}{token[position + 1 :]}")


def test_a_truncated_signature_is_rejected():
    """Half a signature is none."""
    with pytest.raises(DeliveryRejectedError):
        verify(f"Bearer {sign()[:-40]}")


def test_another_key_under_a_known_id_is_rejected():
    """The id names the key; a signature by any other does not match, and no newer key set helps."""
    with pytest.raises(DeliveryRejectedError) as caught:
        verify(f"Bearer {sign(name='b')}")
    assert not is_unknown_key(caught.value)


@pytest.mark.parametrize("key_set", [None, keys(jwk("k0"))], ids=["none", "older"])
def test_an_unknown_key_asks_for_newer_keys(key_set):
    """After Google rotated its keys the reason says so: the keys are fetched once and the push is tried again."""
    request = make_delivery_request(GMAIL, headers={"Authorization": f"Bearer {sign()}"}, body=envelope())
    with pytest.raises(DeliveryRejectedError) as caught:
        GMAIL.webhooks.verify(request, VerificationMaterial(app=APP, keys=key_set, now=NOW))
    assert is_unknown_key(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        jwk(kty="oct", k="c2VjcmV0"),
        jwk(n="!!"),
        jwk(e=None),
        {"kid": "k1"},
        {"kid": "k1", "kty": "RSA", "n": "AQAB", "e": "AQAB"},
        jwk(kty="EC", crv="P-256", x="AA", y="AA"),
    ],
)
def test_a_senseless_key_verifies_nothing(document):
    """A key of another type, a weak one, or a broken one is a mismatch and no crash."""
    with pytest.raises(DeliveryRejectedError):
        verify(f"Bearer {sign()}", key_set=keys(document))


def test_without_settings_nobody_may_push():
    """Without a configured service account or app, every push is rejected."""
    for app in (None, make_app(GMAIL), make_app(GMAIL, push_audience=AUDIENCE)):
        with pytest.raises(DeliveryRejectedError):
            verify(f"Bearer {sign()}", app=app)


def test_without_an_audience_the_endpoint_is_it():
    """A push subscription without an audience of its own uses its endpoint."""
    app = make_app(GMAIL, push_service_account=ACCOUNT)
    assert verify(f"Bearer {sign()}", app=app)
    with pytest.raises(DeliveryRejectedError):
        verify(f"Bearer {sign()}", app=app, url="https://hooks.example/elsewhere")


@given(st.text(max_size=60))
def test_no_authorization_header_crashes(authorization):
    """Whatever the header holds, the answer is a rejection."""
    with pytest.raises(DeliveryRejectedError):
        verify(authorization)


def test_a_push_names_the_mailbox():
    """The address in lower case routes it; what changed is read through the API."""
    event = read(envelope())
    assert event.account_ids == ("email:dana@x.com",)
    assert (event.needs_sync, event.signals) == (True, ())


def encode(data, *, alphabet=base64.b64encode, pad=True):
    text = alphabet(json.dumps(data).encode()).decode()
    return text if pad else text.rstrip("=")


@pytest.mark.parametrize(
    "data",
    [
        encode({"emailAddress": "dana@x.com", "historyId": "12"}),
        encode({"emailAddress": "dana@x.com"}, pad=False),
        encode({"emailAddress": "dana@x.com", "historyId": 12, "x": "??>>~~ÿÿ"}, alphabet=base64.urlsafe_b64encode),
        encode({"emailAddress": " DANA@x.com ", "historyId": {"no": 1}}),
    ],
)
def test_data_is_decoded_tolerantly(data):
    """Either alphabet, with or without padding, ids as number or text."""
    assert read(envelope(data)).account_ids == ("email:dana@x.com",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 20_000,
        b'{"message": []}',
        b'{"message": {"data": 7}}',
        envelope("%%%"),
        envelope("é"),
        envelope("AAAA"),
        envelope("A" * 5000),
        envelope(["list"]),
        envelope({"emailAddress": ""}),
        envelope({"emailAddress": None}),
        envelope({"emailAddress": ["dana@x.com"]}),
        envelope({"historyId": 1}),
    ],
    ids=range(17),
)
def test_malformed_data_is_acknowledged(body):
    """An unreadable message would be repeated for a week: it is ignored, and so answered with success."""
    assert isinstance(read(body), Ignored)


def test_a_push_without_message_id_is_known_by_its_body():
    """The delivery still has an identity."""
    delivery = verify(f"Bearer {sign()}", body=b"{}")
    assert len(delivery.delivery_id) == 64


def test_another_subscriptions_push_is_not_acted_upon():
    """A pinned subscription is the only one that leads to reads."""
    pinned = make_app(GMAIL, pubsub_subscription="projects/P/subscriptions/S")
    assert not isinstance(read(envelope(), pinned), Ignored)
    assert isinstance(read(envelope(subscription="projects/P/subscriptions/T"), pinned), Ignored)


@pytest.mark.parametrize(
    ("notified", "read_up_to", "is_read"),
    [(12, "11", True), (12, "12", False), (11, "12", False), ("9", "10", False), (None, "10", True), (5, None, True)],
)
def test_a_stale_push_needs_no_read(notified, read_up_to, is_read):
    """History ids are compared as numbers; a mailbox that is already read further is left alone."""
    body = envelope({"emailAddress": "dana@x.com", "historyId": notified})
    delivery = VerifiedDelivery(request=make_delivery_request(GMAIL, body=body), delivery_id="1", via="app")
    event = GMAIL.webhooks.read_event(delivery, ReadContext(app=APP))
    connection = make_connection(GMAIL, metadata={"history_id": read_up_to})
    assert GMAIL.webhooks.to_signals(delivery, event, connection).needs_sync is is_read


# --- keys and watch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expires_at"),
    [
        (
            {"Date": "Fri, 20 Nov 2026 10:00:00 GMT", "Cache-Control": "public, max-age=19800, must-revalidate"},
            NOW + timedelta(seconds=19_800),
        ),
        (
            {"Date": "Fri, 20 Nov 2026 10:00:00 GMT", "Cache-Control": "max-age=100", "Age": "40"},
            NOW + timedelta(seconds=60),
        ),
        ({"Expires": "Fri, 20 Nov 2026 11:00:00 GMT"}, NOW + timedelta(hours=1)),
        ({"Cache-Control": "no-store", "Date": "x"}, datetime.fromtimestamp(0, UTC)),
    ],
)
def test_keys_are_kept_as_long_as_google_says(headers, expires_at):
    """The lifetime counts from the answer's own date; without one the keys are stale at once."""
    answer = script(reply({"keys": [jwk("k1"), jwk("k2"), {"kid": 7}, "x"]}, headers=headers))
    found = converse(GMAIL, GMAIL.webhooks.signing_keys(make_app(GMAIL)), answer)
    assert set(found.keys) == {"k1", "k2"}
    assert found.expires_at == expires_at
    assert answer.asked[0].url == "https://www.googleapis.com/oauth2/v3/certs"


def test_a_key_set_without_keys_is_refused():
    """An empty set would silently reject every push."""
    with pytest.raises(UnexpectedResponseError):
        converse(GMAIL, GMAIL.webhooks.signing_keys(make_app(GMAIL)), script(reply({"keys": []})))


def test_the_mailbox_is_watched_and_renewed_by_the_same_call():
    """The watch has no label filter, so that mail that skips the inbox is reported; Google sets its expiry."""
    app = make_app(GMAIL, pubsub_topic="projects/P/topics/T")
    subscriptions = GMAIL.webhooks.subscriptions
    connection = make_connection(GMAIL)
    assert converse(GMAIL, subscriptions.targets(app, connection), script()) == ("dana@x.com",)
    assert converse(GMAIL, subscriptions.targets(make_app(GMAIL), connection), script()) == ()
    subscription = make_subscription(GMAIL, "dana@x.com")
    request = SubscriptionRequest(subscription=subscription, secret=Secret("x"), callback_url="https://x")
    for conversation in (
        subscriptions.subscribe(app, connection, request),
        subscriptions.renew(app, connection, attrs.evolve(subscription, metadata={"topic": "projects/P/topics/T"})),
    ):
        answer = script(reply({"historyId": "1", "expiration": "1431990098200"}))
        receipt = converse(GMAIL, conversation, answer)
        assert json.loads(answer.asked[0].body) == {"topicName": "projects/P/topics/T"}
        assert receipt.expires_at == datetime.fromtimestamp(1431990098.2, UTC)


@pytest.mark.parametrize("expiration", [None, "soon", -1])
def test_a_watch_without_an_end_is_not_taken_for_eternal(expiration):
    """A watch without an expiry would never be renewed, so the known or requested one stays."""
    app = make_app(GMAIL, pubsub_topic="projects/P/topics/T")
    subscriptions = GMAIL.webhooks.subscriptions
    ends_at = NOW + timedelta(days=7)
    subscription = make_subscription(GMAIL, "dana@x.com")
    request = SubscriptionRequest(
        subscription=subscription, secret=Secret("x"), callback_url="https://x", expires_at=ends_at
    )
    for conversation in (
        subscriptions.subscribe(app, make_connection(GMAIL), request),
        subscriptions.renew(app, make_connection(GMAIL), attrs.evolve(subscription, expires_at=ends_at)),
    ):
        receipt = converse(GMAIL, conversation, script(reply({"historyId": "1", "expiration": expiration})))
        assert receipt.expires_at == ends_at


def test_two_tenants_of_one_mailbox_share_a_watch():
    """A mailbox has one watch, whichever tenant asked for it."""
    assert GMAIL.webhooks.subscriptions.is_one_per_user


def test_a_mailbox_that_another_topic_watches_says_so():
    """The error says what the operator has to do."""
    subscription = make_subscription(GMAIL, "dana@x.com")
    request = SubscriptionRequest(subscription=subscription, secret=Secret("x"), callback_url="https://x")
    app = make_app(GMAIL, pubsub_topic="projects/P/topics/T")
    conversation = GMAIL.webhooks.subscriptions.subscribe(app, make_connection(GMAIL), request)
    with pytest.raises(UnexpectedResponseError) as caught:
        converse(GMAIL, conversation, script(error_reply(400, "failedPrecondition")))
    assert caught.value.next_step


@pytest.mark.parametrize(("reason", "names_the_publisher"), [("forbidden", True), ("domainPolicy", False)])
def test_a_topic_that_gmail_may_not_publish_to(reason, names_the_publisher):
    """The error says whom to grant which role; a mailbox whose administrator switched Gmail off is another matter."""
    subscription = make_subscription(GMAIL, "dana@x.com")
    request = SubscriptionRequest(subscription=subscription, secret=Secret("x"), callback_url="https://x")
    app = make_app(GMAIL, pubsub_topic="projects/P/topics/T")
    conversation = GMAIL.webhooks.subscriptions.subscribe(app, make_connection(GMAIL), request)
    with pytest.raises(AccessLostError) as caught:
        converse(GMAIL, conversation, script(error_reply(403, reason)))
    text = text_with_next_step(caught.value)
    assert ("gmail-api-push@system.gserviceaccount.com" in text, "Pub/Sub Publisher" in text) == (
        names_the_publisher,
    ) * 2


@pytest.mark.parametrize("status", [204, 404])
def test_stopping_twice_is_success(status):
    """A mailbox without a watch is as good as stopped."""
    subscription = make_subscription(GMAIL, "dana@x.com", external_id="dana@x.com")
    conversation = GMAIL.webhooks.subscriptions.unsubscribe(APP, make_connection(GMAIL), subscription)
    converse(GMAIL, conversation, script(reply(body=b"", status=status)))


def test_setup_by_hand_names_the_url():
    """The manual setup text contains the URL."""
    text = GMAIL.webhooks.manual_setup.replace("{webhook_url}", "https://h/webhooks/gmail")
    assert "https://h/webhooks/gmail" in text
    assert "{" not in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(GMAIL.options) >= {"pubsub_topic", "push_audience", "push_service_account", "pubsub_subscription"}
