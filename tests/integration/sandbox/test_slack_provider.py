"""The Slack package against the sandbox's Slack, over the real adapters: two codes, written apart, that must agree."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import attrs
import pytest
import requests

from connectors.adapters.requests import RequestsProviderApi, RequestsTokenEndpoint, Transport
from connectors.domain.flows.provider_access.conversations import Converser
from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import ClientRejectedError, RateLimitedError, ReauthorizationRequiredError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import CodeExchange, ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.model.webhook import Ignored, Lifecycle, WebhookRequest
from connectors.domain.providers.contract import AuthorizationParams, ReadContext, SyncContext, VerificationMaterial
from connectors.domain.providers.slack import SLACK
from connectors_sandbox import SandboxClock, SandboxServer, create_sandbox

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CALLBACK = "http://127.0.0.1:9/callback"
SIGNING_SECRET = "sign-me"
PUSH_ONLY = {"message_deleted", "reaction_added", "reaction_removed", "member_joined", "member_left"} | {
    "channel_archived",
    "channel_renamed",
}


class Service:
    """Our side, as far as one provider needs it: one app, one connection, no storage."""

    def __init__(self, server: SandboxServer, client_id: str = "cid", client_secret: str = "shh", **options: str):
        self.sandbox = server.sandbox
        self.app = ProviderApp(
            provider=ProviderSlug("slack"),
            client_id=client_id,
            client_secret=Secret(client_secret),
            base_url=server.base_url("slack"),
            options=SLACK.read_options(options),
        )
        self.transport = Transport()
        self.endpoint = RequestsTokenEndpoint(self.transport)
        self.converser = Converser(api=RequestsProviderApi(self.transport), clock=self)
        self.refreshes = 0

    def now(self) -> datetime:
        return self.sandbox.clock.now()

    def sleep(self, pause: timedelta) -> None:
        self.sandbox.clock.advance(pause)

    def current(self):
        return self.tokens

    def refreshed(self, stale):
        if stale.refresh_token is None:
            raise ReauthorizationRequiredError("There is no refresh token.")
        self.refreshes += 1
        call = SLACK.oauth.token_endpoint(self.app, stale.extra)
        read = lambda response: SLACK.oauth.read_tokens(response, self.now(), stale)  # noqa: E731
        self.tokens = self.endpoint.refresh(self.app, call, stale.refresh_token, read)
        return self.tokens

    def connect(self, *scopes: str) -> None:
        asked = scopes or tuple(scope.name for scope in SLACK.oauth.scopes if scope.default)
        params = AuthorizationParams(state="s", redirect_uri=CALLBACK, scopes=asked)
        with requests.Session() as browser:
            browser.trust_env = False
            answer = browser.get(SLACK.oauth.authorize_url(self.app, params), allow_redirects=False, timeout=10)
        code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        call = SLACK.oauth.token_endpoint(self.app, {})
        read = lambda response: SLACK.oauth.read_tokens(response, self.now(), None)  # noqa: E731
        exchange = CodeExchange(code=Secret(code), redirect_uri=CALLBACK)
        self.tokens = self.endpoint.exchange_code(self.app, call, exchange, read)
        (account,) = self.run(SLACK.oauth.identify(self.app, self.tokens))
        self.connection = Connection(
            id=ConnectionId(UUID(int=1)),
            tenant_id=TenantId(UUID(int=2)),
            provider=ProviderSlug("slack"),
            account=account,
            grant_id=GrantId(UUID(int=3)),
            scopes=self.tokens.scopes,
            created_at=self.now(),
            updated_at=self.now(),
        )

    def run(self, conversation):
        return self.converser.run(SLACK, self.app, conversation, self)

    def page(self, read, *asked):
        """The page at the cursor, which comes last; Slack's limits are waited for."""
        context, (*rest, cursor) = SyncContext(app=self.app, connection=self.connection), asked
        while True:
            try:
                return self.run(read(context, *rest, json.loads(json.dumps(cursor))))
            except RateLimitedError as error:
                self.sandbox.clock.advance(max(error.retry_at - self.now(), timedelta(seconds=1)))

    def read(self, window: Window) -> list:
        """All pages: of discovery, then of each stream that can be read."""
        pages = [self.page(SLACK.streams.discover, window, None)]
        while pages[-1].cursor is not None:
            pages.append(self.page(SLACK.streams.discover, window, pages[-1].cursor))
        for stream in [one for page in pages for one in page.streams if one.unreadable is None]:
            pages.append(self.page(SLACK.streams.read_page, stream, window, None))
            while pages[-1].cursor is not None:
                pages.append(self.page(SLACK.streams.read_page, stream, window, pages[-1].cursor))
        return pages

    def backfill(self) -> list:
        since = NOW - timedelta(days=30)
        return self.read(Window(mode=SyncMode.BACKFILL, low=since, high=self.now(), floor=since))

    def incremental(self, since: datetime) -> list:
        """The pages of reads since the last one, which left a bookmark."""
        window = Window(mode=SyncMode.INCREMENTAL, low=since, high=self.now(), floor=since, bookmark={})
        return self.read(window)

    def receive(self) -> list:
        """What the sandbox has sent, verified and finished for our connection."""
        outcomes = []
        for outgoing in tuple(self.sandbox.deliveries.log):
            headers, body = outgoing.prepare(1, self.now())
            request = WebhookRequest(
                provider=ProviderSlug("slack"), tenant_id=None, headers=headers, body=body, received_at=self.now()
            )
            material = VerificationMaterial(app=self.app, secrets=[Secret(SIGNING_SECRET)], now=self.now())
            delivery = SLACK.webhooks.verify(request, material)
            event = SLACK.webhooks.read_event(delivery, ReadContext(app=self.app))
            if isinstance(event, Ignored):
                outcomes.append(event)
                continue
            assert event.account_ids == (self.connection.account.id,)
            outcomes.append(SLACK.webhooks.to_signals(delivery, event, self.connection))
        return outcomes

    def pushed(self) -> dict:
        return {draft.dedupe_key: draft for outcome in self.receive() for draft in getattr(outcome, "signals", ())}


@pytest.fixture
def server():
    sandbox = create_sandbox(SandboxClock(NOW), auto_consent=True)
    world = sandbox.slack
    for client_id, secret, modes in (
        ("cid", "shh", {}),
        ("rot", "r", {"rotating": True}),
        ("strict", "s", {"strict": True}),
    ):
        app = world.add_app(client_id, secret, redirect_urls=[CALLBACK], signing_secret=SIGNING_SECRET, **modes)
        app.request_url = "http://127.0.0.1:9/never-sent"
    world.add_team("acme", name="Acme", team_id="T1")
    world.add_user("acme", "ada", user_id="U1")
    world.add_user("acme", "bob", user_id="U2")
    world.add_channel("acme", "general", by="ada", channel_id="C1")
    with SandboxServer(sandbox) as server:
        yield server


@pytest.fixture
def service(server):
    service = Service(server)
    service.connect()
    server.sandbox.slack.invite_bots("acme", "general", by="ada")
    yield service
    service.transport.close()


def busy_day(world) -> None:
    """Something of everything, spread over two channels."""
    world.core.clock.advance(timedelta(minutes=1))
    parent = world.post("acme", "general", "question & <@U2>", by="ada")
    for n in range(3):
        world.core.clock.advance(timedelta(minutes=10))
        world.post("acme", "general", f"answer {n}", by="bob", thread=parent, broadcast=n == 2)
    world.edit("acme", "general", parent, "better question")
    world.unfurl("acme", "general", parent)
    world.add_reaction("acme", "general", parent, "eyes", by="bob")
    gone = world.post("acme", "general", "oops", by="bob")
    world.delete("acme", "general", gone)
    world.add_channel("acme", "second", by="bob", with_bots=True)
    world.post("acme", "second", "hello", by="bob")
    world.core.clock.advance(timedelta(minutes=1))


def shown(drafts) -> set:
    """Those that the API can still show: not push-only, and not of the deleted message."""
    deleted = {key.rpartition(":")[0] for key, draft in drafts.items() if draft.kind == "message_deleted"}
    return {
        key for key, draft in drafts.items() if draft.kind not in PUSH_ONLY and key.rpartition(":")[0] not in deleted
    }


def test_connecting_names_the_workspace(service):
    """Identity, scopes and our own bot's ids, through the real token endpoint."""
    account = service.connection.account
    assert (account.id, account.name, account.url) == ("T1", "Acme", "https://acme.slack.com/")
    assert {"bot_user_id", "bot_id", "app_id", "user_id"} <= set(account.metadata)
    assert "channels:history" in service.connection.scopes


@pytest.mark.parametrize("short", [False, True])
def test_push_and_sync_give_the_same_signals(server, service, short):
    """Keys, kinds, times, links and subjects agree; what only push shows is left out."""
    busy_day(server.sandbox.slack)
    server.sandbox.slack.gives_short_pages = short
    pages = [*service.backfill(), *service.incremental(service.now())]
    synced = {draft.dedupe_key: draft for page in pages for draft in page.signals}
    pushed = service.pushed()
    general = {"slack:T1:channel:C1:created"}  # made before the app was installed
    assert set(synced) == shown(pushed) | general
    for key in set(synced) & set(pushed):
        ours, theirs = synced[key], pushed[key]
        assert (ours.kind, ours.occurred_at, ours.url) == (theirs.kind, theirs.occurred_at, theirs.url)
        assert ours.subject.id == theirs.subject.id
    names = {key: value for page in pages for key, value in page.connection_metadata.items()}
    assert names["channel_names"]["C1"] == "general"
    assert names["people_names"]["U1"] == "ada"


def test_an_incremental_sync_continues_after_a_backfill(server, service):
    """New replies to old parents included."""
    world = server.sandbox.slack
    parent = world.post("acme", "general", "old", by="ada")
    world.core.clock.advance(timedelta(hours=1))
    service.backfill()
    read_until = service.now()
    world.core.clock.advance(timedelta(days=2))
    reply = world.post("acme", "general", "late answer", by="bob", thread=parent)
    world.core.clock.advance(timedelta(minutes=1))
    pages = service.incremental(read_until)
    found = {draft.dedupe_key for page in pages for draft in page.signals if draft.occurred_at >= read_until}
    assert found == {f"slack:T1:C1:{reply}:posted"}


def test_outside_the_marketplace_the_sync_waits_and_finishes(server):
    """One call a minute, 15 items each: 40 messages take three calls, and each refusal says how long."""
    world = server.sandbox.slack
    service = Service(server, "strict", "s")
    service.connect()
    world.invite_bots("acme", "general")
    world.populate("acme", "general", messages=40, by="ada")
    pages = service.backfill()
    assert sum(draft.kind == "message_posted" for page in pages for draft in page.signals) == 40
    assert service.now() - NOW >= timedelta(minutes=2)
    service.transport.close()


def test_dead_paging_cursors_lose_nothing(server, service):
    """Every cursor dies after each page: the run continues by `ts`."""
    world = server.sandbox.slack
    world.populate("acme", "general", messages=45, by="ada")
    service.app = attrs.evolve(service.app, options=SLACK.read_options({"page_size": "10"}))
    read_page, calls = service.page, []

    def page(*asked):
        calls.append(read_page(*asked))
        assert len(calls) < 100
        world.expire_cursors()
        return calls[-1]

    service.page = page
    found = {draft.dedupe_key for page in service.backfill() for draft in page.signals}
    assert len([key for key in found if key.endswith(":posted")]) == 45


def test_an_expired_rotating_token_is_refreshed_on_demand(server):
    """`token_expired` under status 200 leads to one refresh, and the sync run continues."""
    service = Service(server, "rot", "r")
    service.connect("channels:history", "channels:read", "user:channels:read")
    server.sandbox.slack.invite_bots("acme", "general")
    before = service.tokens
    assert before.companions["user"].refresh_token is not None
    server.sandbox.clock.advance(timedelta(hours=13))
    assert service.backfill()[-1].cursor is None
    assert service.refreshes == 1
    assert service.tokens.access_token.reveal() != before.access_token.reveal()
    user = before.companions["user"]
    call = SLACK.oauth.token_endpoint(service.app, {})
    renewed = service.endpoint.refresh(
        service.app, call, user.refresh_token, lambda response: SLACK.oauth.read_tokens(response, service.now(), user)
    )
    assert renewed.token_type == "user"
    assert server.sandbox.slack.families.reused == []
    service.transport.close()


def test_revoking_uninstalls_and_the_events_say_so(server, service):
    """Both life-cycle events end the connection; doing it twice is no failure."""
    service.run(SLACK.oauth.revoke(service.app, service.tokens))
    last = service.receive()[-2:]
    assert {outcome.event for outcome in last} == {"app_uninstalled", "tokens_revoked"}
    assert {outcome.lifecycle for outcome in last} == {Lifecycle.REVOKED}
    service.run(SLACK.oauth.revoke(service.app, service.tokens))
    with pytest.raises(ReauthorizationRequiredError):
        service.backfill()


def test_a_wrong_client_secret_is_the_operators_mistake(server):
    """Not the user's: reconnecting would not help."""
    service = Service(server, "cid", "wrong")
    with pytest.raises(ClientRejectedError):
        service.connect()
    service.transport.close()
