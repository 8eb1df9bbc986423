"""Whose deliveries are accepted, and for which connection."""

import hashlib
import hmac
import json
from datetime import timedelta

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jira import (
    APP,
    CLIENT_SECRET,
    CLOUD,
    HOST,
    NOW,
    TENANT,
    FakeSite,
    b64url,
    make_connection,
    make_jwt,
    make_request,
    material,
    read_history,
    receive,
    receive_event,
)

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.secret import Secret
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.webhook import DeliveryHints, VerifiedDelivery
from connectors.domain.providers.contract import ReadContext
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.webhooks import delivery_id_of, read_event, verify, verify_owner

BODY = json.dumps(FakeSite(now=NOW).create()).encode()
STAMP = int(NOW.timestamp())


def make_rs256():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode({"iss": APP.client_id, "exp": STAMP + 60}, key, algorithm="RS256")


def flip(token, part):
    pieces = token.split(".")
    first = "A" if pieces[part][0] != "A" else "B"
    pieces[part] = first + pieces[part][1:]
    return ".".join(pieces)


GOOD_JWTS = {
    "as seen on the wire": make_jwt(),
    "with a context": make_jwt(context={"anything": [1]}),
    "just expired, within the leeway": make_jwt(exp=STAMP - 119),
    "clock ahead within the leeway": make_jwt(iat=STAMP + 119),
    "without iat": make_jwt(iat=...),
    "with an audience": make_jwt(aud="whoever"),
    "fractional times": make_jwt(exp=STAMP + 0.5),
}

BAD_JWTS = {
    "other secret": make_jwt("another-client-secret-that-is-long-enough-for-it"),
    "empty secret": make_jwt(""),
    "alg none": make_jwt(alg="none"),
    "alg none, signature dropped": make_jwt(alg="none").rstrip("."),
    "HS512 with our secret": make_jwt(alg="HS512"),
    "RS256": make_rs256(),
    "expired": make_jwt(exp=STAMP - 121),
    "long expired": make_jwt(exp=0),
    "no exp": make_jwt(exp=...),
    "exp null": make_jwt(exp=None),
    "exp text": make_jwt(exp="tomorrow"),
    "exp true": make_jwt(exp=True),
    "exp nan": make_jwt(exp=float("nan")),
    "exp enormous": make_jwt(exp=10**400),
    "exp minus infinity": make_jwt(exp=float("-inf")),
    "iat infinite": make_jwt(iat=float("inf")),
    "iat enormous": make_jwt(iat=10**400),
    "from the future": make_jwt(iat=STAMP + 121),
    "not before later": make_jwt(nbf=STAMP + 121),
    "iat text": make_jwt(iat="now"),
    "other issuer": make_jwt(iss="someone-else"),
    "no issuer": make_jwt(iss=...),
    "issuer null": make_jwt(iss=None),
    "issuer non-ASCII": make_jwt(iss="äpp-\ud800"),
    "header flipped": flip(make_jwt(), 0),
    "claims flipped": flip(make_jwt(), 1),
    "signature flipped": flip(make_jwt(), 2),
    "truncated": make_jwt()[:-5],
    "two parts": ".".join(make_jwt().split(".")[:2]),
    "four parts": make_jwt() + ".x",
    "garbage": "garbage",
    "non-ASCII": "ä.ö.ü",
    "surrogate": "\ud800.\ud800.\ud800",
    "claims are a list": ".".join([b64url(b'{"alg":"HS256"}'), b64url(b"[]"), "x"]),
    "nested header": ".".join([b64url(b"[" * 5000), b64url(b"{}"), "x"]),
    "huge": "a" * 100_000,
}


@pytest.mark.parametrize("name", GOOD_JWTS)
def test_jwt_of_ours_is_believed(name):
    """A JWT with HS256 over our client secret, our issuer and a valid time proves the sender."""
    delivery = verify(make_request(BODY, token=GOOD_JWTS[name]), material())
    assert delivery.via == "app"
    assert delivery.claims["iss"] == APP.client_id


@pytest.mark.parametrize("name", BAD_JWTS)
def test_other_jwts_are_refused(name):
    """Whatever is wrong with a JWT, the delivery is rejected and nothing else is raised."""
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY, token=BAD_JWTS[name]), material())


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", f"Basic {make_jwt()}", f"JWT {make_jwt()}", make_jwt()]
)
def test_other_schemes_are_refused(authorization):
    """Only the Bearer scheme carries a JWT."""
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY, token=None, Authorization=authorization), material())


def test_missing_jwt_and_missing_app_are_refused():
    """Without a token, without a configured app or with an empty client secret everything is rejected."""
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY, token=None), material())
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY), material(app=None))
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY, token=make_jwt("")), material(app=attrs.evolve(APP, client_secret=Secret(""))))


@given(st.text(max_size=200))
def test_no_text_is_a_jwt(text):
    """Arbitrary text is rejected, never a crash."""
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY, token=None, Authorization=f"Bearer {text}"), material())


# --- admin hooks ---------------------------------------------------------------------------------------------------

VECTOR_SECRET = "It's a Secret to Everybody"
VECTOR = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"


def signed(body, secret, **changes):
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return make_request(body, tenant=TENANT, token=None, **{"X-Hub-Signature": signature, **changes})


def test_vendor_vector_verifies():
    """Atlassian's published example is accepted, though its body is no JSON."""
    request = make_request(b"Hello World!", tenant=TENANT, token=None, X_Hub_Signature=VECTOR)
    assert verify(request, material(VECTOR_SECRET)).claims == {}
    with pytest.raises(UnexpectedResponseError):
        read_event(verify(request, material(VECTOR_SECRET)), ReadContext(app=APP))


@pytest.mark.parametrize(
    "claimed",
    [
        "",
        "sha256=",
        VECTOR[:-1],
        VECTOR + "0",
        VECTOR[:-1] + "8",
        VECTOR.upper(),
        VECTOR.removeprefix("sha256="),
        "sha1=" + VECTOR.removeprefix("sha256="),
        "sha512=" + VECTOR.removeprefix("sha256="),
        "sha256=ää" + VECTOR[9:],
        "\ud800",
        "x" * 100_000,
    ],
)
def test_other_signatures_are_refused(claimed):
    """A signature of another method, length, case or content is rejected."""
    request = make_request(b"Hello World!", tenant=TENANT, token=None, X_Hub_Signature=claimed)
    with pytest.raises(DeliveryRejectedError):
        verify(request, material(VECTOR_SECRET))


def test_signature_depends_on_every_byte_and_the_secret():
    """One flipped byte of the body, another secret, an empty one or none at all: rejected."""
    good = signed(BODY, "k")
    verify(good, material("k"))
    verify(good, material("other", "k"))
    with pytest.raises(DeliveryRejectedError):
        verify(attrs.evolve(good, body=BODY[:-1] + b" "), material("k"))
    for secrets in ((), ("",), ("other",)):
        with pytest.raises(DeliveryRejectedError):
            verify(good, material(*secrets))
    with pytest.raises(DeliveryRejectedError):
        verify(signed(BODY, ""), material(""))


def test_bad_signature_is_not_saved_by_a_good_jwt():
    """On a tenant's URL the signature header decides, even beside a valid JWT."""
    with pytest.raises(DeliveryRejectedError):
        verify(make_request(BODY, tenant=TENANT, X_Hub_Signature=VECTOR), material("k"))


def test_signature_alone_opens_nothing_on_the_app_url():
    """The URL of all tenants accepts only JWTs."""
    request = attrs.evolve(signed(BODY, "k"), tenant_id=None)
    with pytest.raises(DeliveryRejectedError):
        verify(request, material("k"))


@pytest.mark.parametrize(("age", "is_believed"), [(-25, False), (-23, True), (23, True), (25, False)])
def test_admin_delivery_has_an_age_limit(age, is_believed):
    """A signed body is accepted within a day of its own timestamp."""
    body = json.dumps({"timestamp": (STAMP + age * 3600) * 1000}).encode()
    if is_believed:
        verify(signed(body, "k"), material("k"))
    else:
        with pytest.raises(DeliveryRejectedError):
            verify(signed(body, "k"), material("k"))


# --- which connection ----------------------------------------------------------------------------------------------


def test_event_names_the_site():
    """The first `self` link's host is the account that the event names."""
    assert JIRA.webhooks.to_signals is not None
    event = read_event(verify(make_request(BODY), material()), ReadContext(app=APP))
    assert event.account_ids == (f"host:{HOST}",)
    assert event.signals == ()


def test_gateway_link_names_the_cloud_id():
    """A `self` link through the gateway names the site by its cloud id."""
    body = {**json.loads(BODY), "issue": {**json.loads(BODY)["issue"]}}
    body["issue"]["self"] = f"https://api.atlassian.com/ex/jira/{CLOUD}/rest/api/2/issue/1"
    event = read_event(verify(make_request(body), material()), ReadContext(app=APP))
    assert event.account_ids == (CLOUD,)
    assert len(receive(make_request(body), make_connection())) == 1


def test_other_site_is_refused():
    """A genuine JWT with a body of another site makes no signal for this connection."""
    other = ExternalAccount(id="another", name="other", url="https://other.atlassian.net")
    with pytest.raises(DeliveryRejectedError):
        receive(make_request(BODY), make_connection(account=other))


@pytest.mark.parametrize("matched", [[1001], [], None, "1000", [True], [None], [{"id": 1000}], ...])
def test_foreign_webhook_is_refused(matched):
    """A dynamic delivery must name a webhook of the connection; other sites have the same ids."""
    body = {**json.loads(BODY), "matchedWebhookIds": matched}
    if matched is ...:
        del body["matchedWebhookIds"]
    with pytest.raises(DeliveryRejectedError):
        receive(make_request(body), make_connection())


@pytest.mark.parametrize("own", [[1000], ["999", "1000"]])
def test_own_webhook_is_taken(own):
    """One id of several is enough, as number or text."""
    body = {**json.loads(BODY), "matchedWebhookIds": [7, 1000]}
    assert len(receive(make_request(body), make_connection(metadata={"webhook_ids": own}))) == 1


@pytest.mark.parametrize("own", [None, "1000", {"1000": 1}, []])
def test_connection_without_webhooks_takes_none(own):
    """Before the registration is stored no delivery is for the connection; reading finds its events."""
    with pytest.raises(DeliveryRejectedError):
        receive(make_request(BODY), make_connection(metadata={"webhook_ids": own}))


def test_dynamic_delivery_without_site_is_kept_as_failed():
    """A JWT delivery that names no site cannot be for anybody."""
    body = {"webhookEvent": "jira:version_released", "version": {"id": 1}, "timestamp": STAMP * 1000}
    with pytest.raises(UnexpectedResponseError):
        receive(make_request(body), make_connection())


def test_admin_hook_needs_no_webhook_id():
    """An administrator's webhook carries no ids; the site is still checked."""
    body = json.loads(BODY)
    del body["matchedWebhookIds"]
    raw = json.dumps(body).encode()
    assert len(receive(signed(raw, "k"), make_connection(metadata={}), "k")) == 1
    other = ExternalAccount(id="another", name="other", url="https://other.atlassian.net")
    with pytest.raises(DeliveryRejectedError):
        receive(signed(raw, "k"), make_connection(account=other), "k")


@pytest.mark.parametrize("known", [{}, {"1": "new"}, {"5": "done"}])
def test_a_status_of_unknown_category_is_left_to_a_read(known):
    """The delivery asks for a read, which finds the category and emits the one signal of the change as a closing."""
    site = FakeSite(now=NOW)
    issue_id = site.create()["issue"]["id"]
    envelope = site.move(issue_id, "5")
    del envelope["issue"]["fields"]["status"]
    connection = make_connection(metadata={"webhook_ids": ["1000"], "status_categories": known})
    event = receive_event(make_request(envelope), connection)
    assert (event.signals, event.needs_sync, event.sync_target) == ((), True, "site")
    read = read_history(site.answer, connection)
    assert [draft.kind.value for draft in read.signals] == ["issue_created", "issue_closed"]
    (pushed,) = receive(make_request(envelope), read.context.connection)
    assert pushed.dedupe_key in read.keys
    assert pushed.kind.value == "issue_closed"


def test_the_remark_of_a_transition_does_not_wait_for_its_status():
    """Of an update with a comment and a status of unknown category, the comment's signal is emitted at once."""
    site = FakeSite(now=NOW)
    issue_id = site.create()["issue"]["id"]
    remark = site.comment(issue_id)["comment"]
    envelope = {**site.move(issue_id, "5"), "comment": remark, "issue_event_type_name": "issue_commented"}
    event = receive_event(make_request(envelope), make_connection(metadata={"webhook_ids": ["1000"]}))
    assert [draft.kind.value for draft in event.signals] == ["issue_commented"]
    assert event.needs_sync


def test_a_change_whose_kind_is_known_asks_for_no_read():
    """Neither a status of known category nor another field needs what only a read finds."""
    site = FakeSite(now=NOW)
    issue_id = site.create()["issue"]["id"]
    for envelope in (site.move(issue_id, "5"), site.change(issue_id, "assignee", None, "712020:sam")):
        event = receive_event(make_request(envelope), make_connection())
        assert (len(event.signals), event.needs_sync) == (1, False)


def test_a_new_project_asks_for_a_discovery():
    """An administrator's webhook tells of it, and its history is a stream of its own."""
    body = {
        "timestamp": int(NOW.timestamp() * 1000),
        "webhookEvent": "project_created",
        "project": {"id": 10001, "key": "WEB", "name": "Web", "self": f"https://{HOST}/rest/api/2/project/10001"},
    }
    raw = json.dumps(body).encode()
    signature = "sha256=" + hmac.new(b"admin-secret", raw, hashlib.sha256).hexdigest()
    request = make_request(raw, tenant=TENANT, token=None, x_hub_signature=signature)
    event = receive_event(request, make_connection(), "admin-secret")
    assert (len(event.signals), event.needs_sync, event.sync_target) == (1, True, DISCOVERY)


def test_replay_checks_the_webhook_again():
    """A replay no longer has a JWT, and is still only for the connection whose webhook it was."""
    delivery = VerifiedDelivery(request=make_request(BODY, tenant=TENANT, token=None), delivery_id="1", via="replay")
    verify_owner(delivery, make_connection())
    with pytest.raises(DeliveryRejectedError):
        verify_owner(delivery, make_connection(metadata={"webhook_ids": ["1"]}))


def test_delivery_id_is_the_same_on_a_retry_and_differs_between_sites():
    """The id is site and identifier; `X-Atlassian-Webhook-Retry` does not change it."""
    first = delivery_id_of(make_request(BODY, X_Atlassian_Webhook_Identifier="abc"))
    again = delivery_id_of(make_request(BODY, X_Atlassian_Webhook_Identifier="abc", X_Atlassian_Webhook_Retry="1"))
    other = delivery_id_of(make_request(BODY.replace(b"acme", b"evil"), X_Atlassian_Webhook_Identifier="abc"))
    assert first == f"host:{HOST}:abc"
    assert again == first
    assert other != first
    assert delivery_id_of(make_request(BODY)).startswith("sha256:")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":', b"1" * 5000])
def test_every_delivery_has_an_id(body):
    """Any delivery has an id, and hints do not read the body."""
    assert delivery_id_of(make_request(body, X_Atlassian_Webhook_Identifier="abc")) == "abc"
    assert delivery_id_of(make_request(body, X_Atlassian_Webhook_Identifier="\0" * 900)).startswith("sha256:")
    assert JIRA.webhooks.read_hints(make_request(body)) == DeliveryHints()


def test_secrets_are_not_shown():
    """Neither errors nor reprs hold the token or the secret."""
    request = make_request(BODY, token=make_jwt("other-secret-other-secret-other-secret"))
    with pytest.raises(DeliveryRejectedError) as caught:
        verify(request, material())
    shown = f"{caught.value} {request!r} {APP!r}"
    assert "eyJ" not in shown
    assert CLIENT_SECRET not in shown


def test_skewed_clock_argument_is_the_only_clock():
    """The verifier judges time by the instant it is given."""
    request = make_request(BODY)
    verify(request, material())
    with pytest.raises(DeliveryRejectedError):
        verify(request, material(now=NOW + timedelta(hours=1)))
