"""A webhook's way from its URL to its answer without Flask, and that the Flask app answers the same."""

import hashlib
import hmac
import json
from urllib.parse import unquote_to_bytes
from uuid import UUID

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors import Connectors
from connectors.adapters.memory.clock import ManualClock
from connectors.domain.flows.webhooks.subscriptions import webhook_url
from connectors.domain.flows.webhooks.verification import Trust
from connectors.domain.model.errors import IllegalTransitionError, InfrastructureError, VaultError
from connectors.domain.model.http import lower_names
from connectors.domain.model.ids import UNROUTED, ConnectionId, ProviderSlug
from connectors.domain.providers.contract import SubscriptionScope
from connectors.entrypoints.flask import ApiSettings
from connectors.entrypoints.webhook_endpoint import NO_TRACE, WebhookAnswer, answer_webhook, own_url
from tests.support.api import ROOT_TOKEN, WEBHOOK_SECRET, Api, issue_opened, signed
from tests.support.builders import GITHUB, NOW, SLACK, TENANT, make_connection

PUBLIC = "https://connectors.invalid"
CONNECTION = make_connection(id=ConnectionId(UUID(int=5)))
UNKNOWN = UUID(int=7)
ACCEPTED = WebhookAnswer(202, "application/json", b'{"status":"accepted"}')
SCOPES = {
    SubscriptionScope.APP: (None, None),
    SubscriptionScope.TENANT: (TENANT, None),
    SubscriptionScope.CONNECTION: (TENANT, CONNECTION.id),
}
"""The scope of a webhook URL → the tenant and the connection that it names."""
TENANT_URL = f"{PUBLIC}/webhooks/github/{TENANT}"


class RecordingIngest:
    """The ingest flow, which notes what it is given; or one that fails."""

    def __init__(self, connectors, failure=None):
        self.flow, self.failure, self.given = connectors.ingest, failure, []
        object.__setattr__(connectors, "ingest", self)

    def accept_delivery(self, request, *, trust, **options):
        self.given.append((request, trust))
        if self.failure is not None:
            raise self.failure
        return self.flow.accept_delivery(request, trust=trust, **options)


def make_system(**changes):
    """A system with one tenant and one GitHub connection."""
    connectors = Connectors.in_memory(clock=ManualClock(NOW), **changes)
    connectors.tenants.ensure(TENANT)
    with connectors.ingest.unit_of_work() as uow:
        uow.connections.save(CONNECTION)
    return connectors


@pytest.fixture
def connectors():
    return make_system()


def post(connectors, url, *, event="issues", document=None, secret=WEBHOOK_SECRET, method="POST", **changes):
    """The answer to a delivery of GitHub's."""
    headers, body = signed(event, document or issue_opened(), secret=secret)
    headers |= changes.pop("headers", {})
    return answer_webhook(connectors, method=method, url=url, headers=headers, body=body, **changes)


def refusal(answer):
    """The status and code of a problem document."""
    document = json.loads(answer.body)
    assert (answer.content_type, answer.status) == ("application/problem+json", document["status"])
    assert document["trace_id"] == NO_TRACE
    return answer.status, document["code"]


def slack_challenge(secret=WEBHOOK_SECRET):
    """What Slack sends when the Request URL is saved."""
    body, timestamp = b'{"token":"x","challenge":"3eZbrw1a","type":"url_verification"}', str(int(NOW.timestamp()))
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Slack-Request-Timestamp": timestamp}
    return headers | {"X-Slack-Signature": f"v0={digest}"}, body


# --- accepted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("public_url", [PUBLIC, f"{PUBLIC}/", f"{PUBLIC}/below/it"])
def test_every_url_that_we_give_a_provider_is_read_back(scope, public_url):
    """Each form of our webhook URLs is accepted and names what it was made of, whatever path the public URL has."""
    connectors = make_system(public_url=public_url)
    ingest = RecordingIngest(connectors)
    url = webhook_url(public_url, scope, GITHUB, TENANT, CONNECTION.id)
    assert post(connectors, f"{url}?a=%2F&b") == ACCEPTED
    ((request, trust),) = ingest.given
    assert (request.provider, request.tenant_id, request.connection_id) == (GITHUB, *SCOPES[scope])
    assert (request.method, request.url, request.received_at) == ("POST", f"{url}?a=%2F&b", NOW)
    assert trust is Trust.NONE


def test_the_providers_own_reply_is_the_answer(connectors):
    """Slack's challenge is answered with what Slack expects."""
    headers, body = slack_challenge()
    answer = answer_webhook(
        connectors,
        method="POST",
        url=webhook_url(PUBLIC, SubscriptionScope.APP, SLACK, None, None),
        headers=headers,
        body=body,
    )
    assert answer.status == 200
    assert b"3eZbrw1a" in answer.body


def test_the_status_that_the_provider_expects_is_the_answers(connectors):
    """Zoho Mail's handshake is accepted with 200: Zoho takes nothing else."""
    mailbox = make_connection(id=ConnectionId(UUID(int=6)), provider=ProviderSlug("zoho-mail"))
    with connectors.ingest.unit_of_work() as uow:
        uow.connections.save(mailbox)
    url = connectors.webhook_secrets.url(TENANT, mailbox.id)
    headers = {"X-Hook-Secret": "announced"}
    answer = answer_webhook(connectors, method="POST", url=url, headers=headers, body=b"")
    assert answer == attrs.evolve(ACCEPTED, status=200)


def test_a_system_without_a_public_url_takes_any_host():
    """Without a public URL the request's own host is taken for ours."""
    connectors = make_system(public_url=None)
    ingest = RecordingIngest(connectors)
    assert post(connectors, f"http://127.0.0.1:8080/webhooks/github/{TENANT}") == ACCEPTED
    assert ingest.given[0][0].url == f"http://127.0.0.1:8080/webhooks/github/{TENANT}"


def test_our_url_is_escaped_as_it_was_given():
    """The path is escaped, the query stays as it was sent."""
    assert own_url(f"{PUBLIC}/", "/webhooks/ä b", "c=%2f") == f"{PUBLIC}/webhooks/%C3%A4%20b?c=%2f"


def test_a_relay_needs_a_tenant_and_no_signature(connectors):
    """A trusted relay's delivery to the app's URL is for the tenant of its header; a tenant's URL trusts nobody."""

    def relay(url=f"{PUBLIC}/webhooks/github", **headers):
        return post(connectors, url, secret=None, headers=headers, trust=Trust.OPERATOR)

    assert relay(**{"x-tenant-id": f" {TENANT} "}) == ACCEPTED
    assert refusal(relay()) == (400, "TENANT_HEADER_REQUIRED")
    for unknown in ("nonsense", str(UNKNOWN), str(UNROUTED)):
        assert refusal(relay(**{"X-Tenant-Id": unknown})) == (404, "TENANT_NOT_FOUND")
    assert refusal(relay(TENANT_URL, **{"X-Tenant-Id": str(TENANT)})) == (401, "INVALID_SIGNATURE")


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, "wrong", ""])
def test_an_unproven_sender_is_refused(connectors, secret):
    """A delivery without the right signature is INVALID_SIGNATURE."""
    assert refusal(post(connectors, TENANT_URL, secret=secret)) == (401, "INVALID_SIGNATURE")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nowhere", "PROVIDER_NOT_SUPPORTED"),
        (f"nowhere/{TENANT}", "PROVIDER_NOT_SUPPORTED"),
        ("nowhere/nonsense", "TENANT_NOT_FOUND"),
        (f"github/{UNKNOWN}", "TENANT_NOT_FOUND"),
        (f"github/{UNROUTED}", "TENANT_NOT_FOUND"),
        ("github/nonsense", "TENANT_NOT_FOUND"),
        (f"github/{{{TENANT}}}", "TENANT_NOT_FOUND"),
        (f"github/{TENANT.hex}", "TENANT_NOT_FOUND"),
        (f"github/{TENANT}/{UNKNOWN}", "CONNECTION_NOT_FOUND"),
        (f"github/{TENANT}/nonsense", "CONNECTION_NOT_FOUND"),
        (f"slack/{TENANT}/{CONNECTION.id}", "CONNECTION_NOT_FOUND"),
        ("", "NOT_FOUND"),
        ("github/", "NOT_FOUND"),
        (f"github//{TENANT}", "NOT_FOUND"),
        (f"github/{TENANT}/{CONNECTION.id}/key/more", "NOT_FOUND"),
    ],
)
def test_what_a_url_must_name(connectors, path, code):
    """What is unknown or malformed in a webhook URL is a 404 that says which part."""
    assert refusal(post(connectors, f"{PUBLIC}/webhooks/{path}")) == (404, code)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_post_is_taken(connectors, method):
    """Another method on a webhook URL is 405, whatever else is wrong with the URL."""
    for path in ("github", "nowhere", "github/nonsense"):
        answer = post(connectors, f"{PUBLIC}/webhooks/{path}", method=method)
        assert refusal(answer) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("failure", [InfrastructureError("The database is down."), VaultError("It does not open.")])
def test_an_outage_is_a_503(connectors, failure):
    """What could not be stored is a 503 that says when to try again."""

    def down():
        raise failure

    object.__setattr__(connectors.ingest, "unit_of_work", down)
    answer = post(connectors, TENANT_URL)
    assert refusal(answer) == (503, "SERVICE_UNAVAILABLE")
    assert json.loads(answer.body)["retry_after"] > 0


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), IllegalTransitionError("a bug of ours, on purpose")])
def test_a_bug_is_not_answered(connectors, bug):
    """A bug is raised and never becomes an answer, even if its class is one of ours."""
    RecordingIngest(connectors, bug)
    with pytest.raises(type(bug)):
        post(connectors, TENANT_URL)


@pytest.mark.parametrize("url", ["https://elsewhere.invalid/webhooks/github", f"{PUBLIC}.example/webhooks/github", ""])
def test_a_url_of_somebody_else_is_the_callers_mistake(connectors, url):
    """A URL that is not below the public URL raises: no request to it would reach us."""
    with pytest.raises(ValueError, match="is not below"):
        post(connectors, url)


# --- Flask answers the same ----------------------------------------------------------------------------------------


class Both:
    """One system behind both entrances."""

    def __init__(self):
        self.connectors = make_system()
        self.api = Api(self.connectors, ApiSettings(webhook_rate_limit=None))
        self.ingest = RecordingIngest(self.connectors)

    def compare(self, method, target, headers, body, *, token=None):
        """Send the request to both, and check that the flow was given the same and that the answers are the same."""
        expected, expected_given = self._ask_flask(method, target, headers, body, token)
        answer = answer_webhook(
            self.connectors,
            method=method,
            url=PUBLIC + target,
            headers=headers,
            body=body,
            trust=Trust.NONE if token is None else Trust.OPERATOR,
        )
        given = self._take_given()
        # Flask's client adds headers of its own, such as the host.
        assert [_without_headers(one) for one in given] == [_without_headers(one) for one in expected_given]
        for request, _ in given + expected_given:
            assert lower_names(headers).items() <= request.headers.items()
        assert (answer.status, answer.content_type) == (expected.status_code, expected.content_type)
        if answer.status < 400:
            assert answer.body == expected.get_data()
        else:
            assert json.loads(answer.body) == {**expected.get_json(), "trace_id": NO_TRACE}
        return answer.status

    def _ask_flask(self, method, target, headers, body, token):
        path, _, query = target.partition("?")
        # As a WSGI server passes it on (PEP 3333); the client by itself would tidy the path up.
        raw = {"PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "QUERY_STRING": query}
        sent = headers if token is None else {**headers, "Authorization": f"Bearer {token}"}
        answer = self.api.client.open("/", method=method, headers=sent, data=body, environ_overrides=raw)
        return answer, self._take_given()

    def _take_given(self):
        given, self.ingest.given = self.ingest.given, []
        return given


def _without_headers(given):
    request, trust = given
    return attrs.evolve(request, headers={}), trust


@pytest.fixture(scope="module")
def both():
    return Both()


hostile = st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="?#"))
segments = st.one_of(
    hostile,
    st.sampled_from(["github", "slack", "GitHub", "zoho-cliq", str(TENANT), str(TENANT).upper(), TENANT.hex]),
    st.sampled_from([str(CONNECTION.id), str(UNKNOWN), str(UNROUTED), "%2F", "%FF", "%00", "%0A", "..", ""]),
)
paths = st.one_of(
    st.lists(segments, max_size=5).map(lambda parts: "/".join(["/webhooks", *parts])),
    st.tuples(segments, segments).map(lambda ids: f"/webhooks/github/{TENANT}/{ids[0]}"),
)
queries = st.one_of(
    st.just(""),
    st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="#")).map(
        "?{}".format
    ),
)
deliveries = st.one_of(
    st.sampled_from([WEBHOOK_SECRET, "wrong", None]).map(
        lambda secret: signed("issues", issue_opened(), secret=secret)
    ),
    st.just(slack_challenge()),
    st.binary(max_size=60).map(lambda body: signed("issues", body)),
    st.binary(max_size=60).map(lambda body: ({"Content-Type": "application/x-www-form-urlencoded"}, body)),
)


@given(method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]), path=paths, query=queries, delivery=deliveries)
@example("POST", "//webhooks%2Fgithub", "?%FFÿ", signed("issues", issue_opened()))
@example("POST", "/webhooks/github%FF", "", signed("issues", issue_opened()))
def test_flask_answers_every_request_the_same(both, method, path, query, delivery):
    """For any request to a webhook URL, Flask and `answer_webhook` give the flow the same and answer the same."""
    both.compare(method, path + query, *delivery)


@pytest.mark.parametrize(
    ("path", "delivery", "status"),
    [
        ("/webhooks/github", signed("issues", issue_opened()), 202),
        (f"/webhooks/github/{TENANT}", signed("issues", issue_opened()), 202),
        (f"/webhooks/github/{TENANT}/{CONNECTION.id}?a=b%2Fc", signed("issues", issue_opened()), 202),
        (f"/webhooks/github/{TENANT}", signed("issues", b"{"), 202),
        ("/webhooks/slack", slack_challenge(), 200),
        ("/webhooks/slack", slack_challenge("wrong"), 401),
        (f"/webhooks/github/{UNKNOWN}", signed("issues", issue_opened()), 404),
        ("/webhooks/github/nonsense", signed("issues", issue_opened()), 404),
        ("/webhooks", signed("issues", issue_opened()), 404),
    ],
)
def test_flask_answers_the_usual_requests_the_same(both, path, delivery, status):
    """The answers that vendors usually get are the same from both."""
    assert both.compare("POST", path, *delivery) == status


@pytest.mark.parametrize(
    ("tenant", "status"), [(str(TENANT), 202), (None, 400), ("nonsense", 404), (str(UNKNOWN), 404)]
)
def test_flask_answers_a_relay_the_same(both, tenant, status):
    """A relay with an operator token gets the answer of a trusted request."""
    headers, body = signed("issues", issue_opened(), secret=None)
    headers |= {} if tenant is None else {"X-Tenant-Id": tenant}
    assert both.compare("POST", "/webhooks/github", headers, body, token=ROOT_TOKEN) == status


@pytest.mark.parametrize("failure", [InfrastructureError("The database is down."), VaultError("It does not open.")])
def test_flask_answers_an_outage_the_same(failure):
    """An outage is the same 503 from both."""
    both = Both()
    both.ingest.failure = failure
    assert both.compare("POST", f"/webhooks/github/{TENANT}", *signed("issues", issue_opened())) == 503
