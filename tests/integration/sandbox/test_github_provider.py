"""The GitHub package against the sandbox's GitHub, over the real adapters: what a hook's log says of lost deliveries."""

import http.server
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import attrs
import pytest
import requests

from connectors.adapters.requests import RequestsProviderApi, RequestsTokenEndpoint, Transport
from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.oauth import CodeExchange, ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import AuthorizationParams, SubscriptionRequest
from connectors.domain.providers.github import GITHUB
from connectors_sandbox import SandboxClock, SandboxServer, create_sandbox

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CALLBACK = "http://127.0.0.1:9/callback"
SLUG = ProviderSlug("github")
REPOSITORY = "octo/hello"


class Service:
    """Our side, as far as one provider needs it: one app, one connection, one hook, no storage."""

    def __init__(self, server, receiver):
        self.sandbox, self.world, self.receiver = server.sandbox, server.sandbox.github, receiver
        base_url = server.base_url("github")
        self.app = ProviderApp(provider=SLUG, client_id="cid", client_secret=Secret("shh"), base_url=base_url)
        self.transport = Transport()
        self.converser = Converser(api=RequestsProviderApi(self.transport), clock=self)
        self.tokens = FixedTokens(self.consent())
        self.connection = Connection(
            id=ConnectionId(UUID(int=1)),
            tenant_id=TenantId(UUID(int=2)),
            provider=SLUG,
            account=ExternalAccount(id="1", name="octo"),
            grant_id=GrantId(UUID(int=3)),
            created_at=NOW,
            updated_at=NOW,
        )
        self.subscription = self.subscribe()

    def now(self):
        return self.sandbox.clock.now()

    def sleep(self, pause):
        self.sandbox.clock.advance(pause)

    def consent(self):
        params = AuthorizationParams(state="s", redirect_uri=CALLBACK, scopes=("repo",))
        with requests.Session() as browser:
            browser.trust_env = False
            url = f"{GITHUB.oauth.authorize_url(self.app, params)}&sandbox_user=octo"
            answer = browser.get(url, allow_redirects=False, timeout=10)
        code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        exchange = CodeExchange(code=Secret(code), redirect_uri=CALLBACK)
        call = GITHUB.oauth.token_endpoint(self.app, {})
        read = lambda response: GITHUB.oauth.read_tokens(response, self.now(), None)  # noqa: E731
        return RequestsTokenEndpoint(self.transport).exchange_code(self.app, call, exchange, read)

    def run(self, conversation):
        return self.converser.run(GITHUB, self.app, conversation, self.tokens)

    def subscribe(self):
        pending = Subscription(
            id=SubscriptionId(UUID(int=4)),
            tenant_id=self.connection.tenant_id,
            connection_id=self.connection.id,
            provider=SLUG,
            target=f"repo:{REPOSITORY}",
            created_at=NOW,
            updated_at=NOW,
        )
        request = SubscriptionRequest(
            subscription=pending, secret=Secret("hook-secret"), callback_url=self.receiver.url
        )
        receipt = self.run(GITHUB.webhooks.subscriptions.subscribe(self.app, self.connection, request))
        return attrs.evolve(pending, external_id=receipt.external_id)

    def missed(self):
        ask = GITHUB.webhooks.subscriptions.missed
        return self.run(ask(self.app, self.connection, self.subscription, NOW - timedelta(hours=1)))

    def redeliver(self, delivery):
        self.run(GITHUB.webhooks.subscriptions.redeliver(self.app, self.connection, self.subscription, delivery))
        self.sandbox.deliver_pending()


class Receiver:
    """Takes webhooks and keeps their names and ids."""

    def __init__(self):
        self.received, self.status = [], 202
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.headers["X-GitHub-Event"], self.headers["X-GitHub-Delivery"]))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/github/1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def service():
    sandbox = create_sandbox(SandboxClock(NOW), auto_consent=True)
    sandbox.github.add_app("cid", "shh", callback_url=CALLBACK)
    sandbox.github.add_user("octo")
    sandbox.github.add_repository(REPOSITORY)
    receiver = Receiver()
    with SandboxServer(sandbox) as server:
        service = Service(server, receiver)
        sandbox.deliver_pending()
        yield service
    receiver.stop()


def test_a_lost_delivery_is_listed_and_comes_when_asked_for(service):
    """Of many deliveries the log has exactly the lost and the refused ones as missed, until they have come."""
    for _ in range(120):
        service.world.open_issue(REPOSITORY, "Quiet", by="octo")
    service.sandbox.deliver_pending()
    service.sandbox.deliveries.disorder.drop = 1.0
    service.world.open_issue(REPOSITORY, "Lost", by="octo")
    service.sandbox.deliveries.disorder.drop = 0.0
    service.sandbox.clock.advance(timedelta(seconds=5))
    service.receiver.status = 503
    service.world.push(REPOSITORY, by="octo", messages=["Refused"])
    service.sandbox.deliver_pending()
    service.receiver.status = 202
    service.world.open_issue(REPOSITORY, "After", by="octo")
    service.sandbox.deliver_pending()
    missed = service.missed()
    assert [(one.event, one.at) for one in missed] == [
        ("push", NOW + timedelta(seconds=5)),
        ("issues.opened", NOW),
    ]
    service.redeliver(missed[1])
    assert service.receiver.received[-1] == ("issues", missed[1].delivery_id)
    assert service.missed() == missed[:1]
    service.redeliver(missed[0])
    assert service.missed() == ()


def test_a_repository_that_was_renamed_keeps_its_log(service):
    """Both calls follow the hook to the repository's new name."""
    service.sandbox.deliveries.disorder.drop = 1.0
    service.world.open_issue(REPOSITORY, "Lost", by="octo")
    service.sandbox.deliveries.disorder.drop = 0.0
    service.world.rename_repository(REPOSITORY, "lantern")
    (missed,) = service.missed()
    service.redeliver(missed)
    assert service.receiver.received[-1] == ("issues", missed.delivery_id)
    assert service.missed() == ()


def test_a_hook_that_somebody_removed_has_no_log_to_trust(service):
    """It is not an empty log: nobody may conclude that nothing was missed."""
    service.world.hooks.hooks.clear()
    with pytest.raises(AccessLostError):
        service.missed()
