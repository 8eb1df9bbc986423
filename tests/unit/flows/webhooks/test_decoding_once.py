"""A delivery's body is decoded once, for every provider, and not before its sender is proven."""

import base64
import hashlib
import hmac
import json
from functools import cache

import attrs
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.flows.webhooks.verification import Trust
from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import DeliveryStatus, WebhookRequest
from connectors.domain.providers.registry import installed_providers
from connectors.entrypoints.library import Connectors
from tests.support.builders import NOW, TENANT, make_account, make_connection, make_tenant

SECRET = "webhook-secret-that-is-long-enough-for-hs256"
STAMP = int(NOW.timestamp())
SITE = "https://acme.atlassian.net"
PUSHER = "push@p.iam.gserviceaccount.com"
HOOK = "https://hooks.example"
HOSTILE = {
    "cut": b'{"a":',
    "deep": b'{"a":' + b"[" * 100_000,
    "digits": b'{"a":' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"a":"\xff"}',
    "an array": b"[]",
}


@cache
def google_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def respond(request):
    """Google's key set; no other host gets a request."""
    assert request.method == "GET"
    key = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(google_key().public_key())), "kid": "k1"}
    return HttpResponse(status=200, body=json.dumps({"keys": [key]}).encode())


def mac(message, secret):
    return hmac.digest(secret.encode(), message, hashlib.sha256)


def of_github(body, secret):
    signature = "sha256=" + mac(body, secret).hex()
    return {"X-GitHub-Event": "star", "X-GitHub-Delivery": "guid-1", "X-Hub-Signature-256": signature}


def of_slack(body, secret):
    signature = "v0=" + mac(f"v0:{STAMP}:".encode() + body, secret).hex()
    return {"X-Slack-Request-Timestamp": str(STAMP), "X-Slack-Signature": signature}


def of_jira(_, secret):
    token = jwt.encode({"iss": "jira-client", "iat": STAMP, "exp": STAMP + 60}, secret, algorithm="HS256")
    return {"Authorization": f"Bearer {token}", "X-Atlassian-Webhook-Identifier": "abc"}


def of_gmail(_, secret):
    email = PUSHER if secret == SECRET else "somebody@else.example"
    claims = {"iss": "accounts.google.com", "aud": f"{HOOK}/gmail", "email": email, "email_verified": True}
    times = {"iat": STAMP, "exp": STAMP + 60}
    return {
        "Authorization": "Bearer " + jwt.encode({**claims, **times}, google_key(), "RS256", headers={"kid": "k1"}),
    }


def of_calendar(_, secret):
    names = {"X-Goog-Channel-ID": "c1", "X-Goog-Message-Number": "4", "X-Goog-Resource-State": "exists"}
    return {**names, "X-Goog-Channel-Token": secret}


def of_drive(_, secret):
    return {**of_calendar(_, secret), "X-Goog-Resource-State": "change"}


def of_zoho_mail(body, secret):
    return {"X-Hook-Signature": base64.b64encode(mac(body, secret)).decode()}


def of_zoho_cliq(_, secret):
    return {"X-Webhook-Token": secret}


ADA = {"id": 5, "login": "ada", "html_url": "https://github.com/ada"}
STAR = {
    "action": "created",
    "starred_at": "2026-03-04T05:00:00Z",
    "repository": {"id": 7, "full_name": "a/b", "html_url": "https://github.com/a/b", "owner": ADA},
    "sender": ADA,
}
MESSAGE = {"type": "message", "channel": "C1", "user": "U1", "ts": "1772600000.000100", "text": "hello"}
ISSUE = {"id": "1", "key": "OPS-1", "self": f"{SITE}/rest/api/2/issue/1", "fields": {"summary": "Crash"}}
PUSHED = base64.b64encode(json.dumps({"emailAddress": "ada@x.example", "historyId": 9}).encode()).decode()


@attrs.frozen
class Case:
    """One provider's delivery: its URL, its content, and how its sender proves itself."""

    slug: str
    document: dict
    prove: object
    account: dict
    path: str = "app"
    metadata: dict = attrs.field(factory=dict)

    @property
    def body(self):
        return json.dumps(self.document).encode()


CASES = (
    Case("github", STAR, of_github, {"id": "5"}, "tenant"),
    Case(
        "slack",
        {"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": MESSAGE},
        of_slack,
        {"id": "T1"},
    ),
    Case(
        "jira",
        {"webhookEvent": "jira:issue_created", "timestamp": STAMP * 1000, "matchedWebhookIds": [1], "issue": ISSUE},
        of_jira,
        {"id": "cloud-1", "url": SITE},
        metadata={"webhook_ids": ["1"]},
    ),
    Case(
        "gmail",
        {"message": {"data": PUSHED, "messageId": "m1"}},
        of_gmail,
        {"id": "1", "metadata": {"email": "ada@x.example"}},
    ),
    Case("google-calendar", {}, of_calendar, {"id": "1"}, "tenant"),
    Case("google-drive", {}, of_drive, {"id": "1"}, "tenant"),
    Case(
        "zoho-mail",
        {"messageIdString": "5", "receivedTime": STAMP * 1000, "subject": "hello"},
        of_zoho_mail,
        {"id": "1", "metadata": {"location": "eu"}},
        "connection",
    ),
    Case(
        "zoho-cliq",
        {"handler": "message_handler", "message": {"id": f"{STAMP}000_1", "text": "hello"}, "chat": {"id": "CT_1"}},
        of_zoho_cliq,
        {"id": "eu:1", "metadata": {"location": "eu"}},
        "connection",
    ),
)
WITHOUT_BODY = frozenset({"google-calendar", "google-drive"})
each_provider = pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)


class System:
    """A system in memory with one connection of the case's provider."""

    def __init__(self, case):
        self.case = case
        slug = ProviderSlug(case.slug)
        app = ProviderApp(
            provider=slug,
            client_id=f"{case.slug}-client",
            client_secret=Secret(SECRET),
            webhook_secrets=(Secret(SECRET),),
            options={"push_service_account": PUSHER, "push_audience": f"{HOOK}/gmail"},
        )
        self.connectors = Connectors.in_memory(respond=respond, apps={slug: app}, clock=ManualClock(NOW))
        self.connection = make_connection(provider=slug, account=make_account(**case.account), metadata=case.metadata)
        self.uow = self.connectors.connect.unit_of_work
        with self.uow() as uow:
            uow.tenants.record(make_tenant())
            uow.connections.save(self.connection)

    def accept(self, body, *, secret=SECRET, trust=Trust.NONE):
        request = WebhookRequest(
            provider=self.connection.provider,
            tenant_id=None if self.case.path == "app" else TENANT,
            connection_id=self.connection.id if self.case.path == "connection" else None,
            url_key=self.url_key() if self.case.path == "connection" else None,
            headers={"Content-Type": "application/json", **self.case.prove(body, secret)},
            body=body,
            received_at=NOW,
        )
        return self.connectors.ingest.accept_delivery(request, trust=trust)

    def url_key(self):
        return self.connectors.webhook_secrets.url(TENANT, self.connection.id).rpartition("/")[2]

    def delivery(self):
        (row,) = self.connectors.queries.list_deliveries(TENANT, limit=10).items
        return row


@pytest.fixture
def decoded(monkeypatch):
    """Every text that is decoded as JSON, in order."""
    texts = []

    def counted(decode):
        def counting(text, *args, **kwargs):
            texts.append(text.encode(errors="surrogatepass") if isinstance(text, str) else bytes(text))
            return decode(text, *args, **kwargs)

        return counting

    monkeypatch.setattr(json, "loads", counted(json.loads))
    monkeypatch.setattr(msgspec.json, "decode", counted(msgspec.json.decode))
    return texts


def test_every_provider_has_a_case():
    """Each installed provider has a delivery in this module."""
    assert {case.slug for case in CASES} == {provider.slug for provider in installed_providers()}


@each_provider
def test_accepting_and_replaying_decode_once_each(case, decoded):
    """The body is decoded once when it is accepted, and once when it is replayed from the stored bytes."""
    expected = 0 if case.slug in WITHOUT_BODY else 1
    system = System(case)
    system.accept(case.body)
    assert decoded.count(case.body) == expected
    assert system.delivery().status is DeliveryStatus.PROCESSED
    decoded.clear()
    system.connectors.ingest.replay(TENANT, system.delivery().id)
    assert decoded.count(case.body) == expected


@each_provider
def test_a_relayed_delivery_is_decoded_once_and_has_the_same_id(case, decoded):
    """A relayed delivery has the id that it has when the vendor sends it."""
    system = System(case)
    system.accept(case.body, trust=Trust.OPERATOR)
    assert decoded.count(case.body) == (0 if case.slug in WITHOUT_BODY else 1)
    relayed = system.delivery()
    system.accept(case.body)
    assert system.delivery() == relayed


@each_provider
def test_an_unproven_body_is_not_decoded(case, decoded):
    """A body that is signed with another secret is not decoded."""
    system = System(case)
    with pytest.raises(DeliveryRejectedError):
        system.accept(case.body, secret="another-secret-that-is-long-enough-for-hs256")
    assert case.body not in decoded


@each_provider
@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_that_cannot_be_decoded_is_tried_once_and_kept(case, name, decoded):
    """Its sender is proven, so it is stored, and it is decoded only once."""
    system = System(case)
    acceptance = system.accept(HOSTILE[name])
    assert acceptance.deliveries
    assert decoded.count(HOSTILE[name]) == (0 if case.slug in WITHOUT_BODY else 1)
