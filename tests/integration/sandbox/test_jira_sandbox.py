"""The sandbox's Jira, asked by our own package, by a client that others maintain, and by plain requests."""

import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import requests

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    DeliveryRejectedError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
)
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import SubscriptionId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Subscription, WebhookRequest
from connectors.domain.providers.contract import AuthorizationParams, ReadContext, SubscriptionRequest, SyncContext
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.events import ADMIN_EVENTS
from connectors.domain.providers.jira.oauth import authorize_url, grant_key, identify, read_tokens, token_call
from connectors.domain.providers.jira.subscriptions import probe, renew, subscribe, unsubscribe
from connectors_sandbox import Fault, SandboxClock, SandboxServer, create_sandbox
from tests.support.jira import LONG_AGO, TENANT, facts, make_connection, material
from tests.support.stream_reader import StreamReader

CALLBACK = "http://localhost:8080/connect/jira/callback"
SCOPES = tuple(scope.name for scope in JIRA.oauth.scopes)


class Journey:
    """A sandbox with one user on one site, and our side of the wire."""

    def __init__(self, server):
        self.sandbox = server.sandbox
        self.world = server.sandbox.jira
        self.base = server.base_url("jira")
        registered = self.world.add_app(callback_url=CALLBACK)
        self.app = ProviderApp(
            provider="jira",
            client_id=registered.client_id,
            client_secret=Secret(registered.client_secret),
            base_url=self.base,
        )
        self.user = self.world.add_user("Lee", time_zone="America/Los_Angeles")
        self.site = self.world.add_site("acme", [self.user.account_id])
        self.world.add_project(self.site.id, "OPS")
        self.tokens = None

    @property
    def now(self):
        return self.sandbox.clock.now()

    def authorize(self, scopes=SCOPES, **query):
        params = AuthorizationParams(state="st", redirect_uri=CALLBACK, scopes=scopes)
        answer = requests.get(
            authorize_url(self.app, params), params={"approve": "1", **query}, allow_redirects=False, timeout=5
        )
        found = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
        assert found["state"] == "st"
        return found

    def token_call(self, previous=None, **fields):
        call = token_call(self.app, {})
        secret = self.app.client_secret.reveal()
        body = {"client_id": self.app.client_id, "client_secret": secret, **fields}
        return read_tokens(to_response(requests.post(call.url, json=body, timeout=5)), self.now, previous)

    def exchange(self, code):
        return self.token_call(grant_type="authorization_code", code=code, redirect_uri=CALLBACK)

    def refresh(self, tokens):
        return self.token_call(tokens, grant_type="refresh_token", refresh_token=tokens.refresh_token.reveal())

    def connect(self, scopes=SCOPES):
        self.tokens = self.exchange(self.authorize(scopes)["code"])
        return self.hold(identify(self.app, self.tokens))

    def connection(self, **metadata):
        account = ExternalAccount(
            id=self.site.id, name="acme", url=self.site.url, metadata={"account_id": self.user.account_id}
        )
        return make_connection(account=account, metadata=metadata)

    def hold(self, conversation):
        try:
            request = next(conversation)
            while True:
                headers = {**request.headers, "authorization": f"Bearer {self.tokens.access_token.reveal()}"}
                response = to_response(
                    requests.request(request.method, request.url, headers=headers, data=request.body, timeout=5)
                )
                if response.status >= 400 and response.status not in request.expects:
                    raise JIRA.limits.read_failure(request, response, self.now)
                request = conversation.send(response)
        except StopIteration as stop:
            return stop.value

    def reader(self, connection=None):
        context = SyncContext(app=self.app, connection=connection or self.connection())
        return StreamReader(streams=JIRA.streams, context=context, converse=self.hold, floor=LONG_AGO)

    def read_history(self, connection=None):
        reader = self.reader(connection)
        reader.backfill(LONG_AGO, self.now)
        return reader

    def subscribe(self, url, **metadata):
        request = SubscriptionRequest(subscription=self.subscription(None, url), secret=Secret("x"), callback_url=url)
        return self.hold(subscribe(self.app, self.connection(**metadata), request))

    def subscription(self, external_id, url):
        return Subscription(
            id=SubscriptionId(UUID(int=3)),
            tenant_id=TENANT,
            connection_id=self.connection().id,
            provider="jira",
            target="site",
            external_id=external_id,
            address=url,
            created_at=self.now,
            updated_at=self.now,
        )

    def read(self, delivered, connection, *secrets, tenant=None):
        headers, body = delivered
        request = WebhookRequest(provider="jira", tenant_id=tenant, headers=headers, body=body, received_at=self.now)
        delivery = JIRA.webhooks.verify(request, material(*secrets, now=self.now, app=self.app))
        event = JIRA.webhooks.read_event(delivery, ReadContext(app=self.app))
        JIRA.webhooks.verify_owner(delivery, connection)
        return JIRA.webhooks.to_signals(delivery, event, connection).signals


def to_response(answer):
    return HttpResponse(status=answer.status_code, headers=dict(answer.headers), body=answer.content)


@pytest.fixture
def journey():
    clock = SandboxClock(datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC))
    with SandboxServer(create_sandbox(clock)) as server:
        yield Journey(server)


class Inbox:
    """A receiver of webhooks on loopback."""

    def __init__(self):
        self.statuses, self.paths, self.deliveries = [], [], []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.paths.append(self.path)
                inbox.deliveries.append((dict(self.headers), body))
                self.send_response(inbox.statuses.pop(0) if inbox.statuses else 202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/jira"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def bodies(self):
        return [json.loads(body) for _, body in self.deliveries]


@pytest.fixture
def inbox():
    box = Inbox()
    yield box
    box.server.shutdown()
    box.server.server_close()


# --- consent and tokens --------------------------------------------------------------------------------------------


def test_consent_gives_an_account_for_each_jira_site(journey):
    """Two sites, one of them listed twice, and a Confluence make two accounts on one grant."""
    lee = journey.user.account_id
    journey.world.add_site("beta", [lee, lee])
    journey.world.add_site("wiki", [lee], is_jira=False)
    accounts = journey.connect()
    assert [(one.name, one.url) for one in accounts] == [
        ("acme", "https://acme.atlassian.net"),
        ("beta", "https://beta.atlassian.net"),
    ]
    assert grant_key(accounts) == f"jira:{lee}"
    assert set(journey.tokens.scopes) == set(SCOPES)


def test_user_without_site_has_nothing_to_connect(journey):
    """An empty list of sites is access lost."""
    journey.user.site_ids.clear()
    with pytest.raises(AccessLostError):
        journey.connect()


def test_denial_comes_back_with_its_state(journey):
    """A user who says no is redirected with `access_denied`."""
    assert journey.authorize(approve="0", deny="1")["error"] == "access_denied"


def test_code_works_once_and_secret_matters(journey):
    """A used code is dead; a wrong secret is our own fault."""
    code = journey.authorize()["code"]
    journey.exchange(code)
    with pytest.raises(ReauthorizationRequiredError):
        journey.exchange(code)
    with pytest.raises(ClientRejectedError):
        journey.token_call(client_secret="wrong", grant_type="refresh_token", refresh_token="x")


def test_refresh_token_rotates_with_a_leeway_and_then_kills_the_family(journey):
    """The old token works ten minutes more; later it ends the family."""
    journey.connect()
    first = journey.tokens
    second = journey.refresh(first)
    assert second.refresh_token.reveal() != first.refresh_token.reveal()
    journey.sandbox.clock.advance(timedelta(minutes=9))
    third = journey.refresh(first)
    journey.sandbox.clock.advance(timedelta(minutes=11))
    fourth = journey.refresh(third)
    with pytest.raises(ReauthorizationRequiredError):
        journey.refresh(first)
    with pytest.raises(ReauthorizationRequiredError):
        journey.refresh(fourth)


def test_idle_grant_dies_and_there_is_no_refresh_without_asking(journey):
    """Ninety idle days are the end; without `offline_access` there is no refresh token at all."""
    journey.connect()
    journey.sandbox.clock.advance(timedelta(days=91))
    with pytest.raises(ReauthorizationRequiredError):
        journey.refresh(journey.tokens)
    assert journey.connect(("read:jira-work", "read:jira-user"))
    assert journey.tokens.refresh_token is None


def test_each_endpoint_wants_its_scopes(journey):
    """A missing scope, an expired token and a closed site are told apart."""
    journey.connect(("read:jira-work", "read:jira-user"))
    with pytest.raises(InsufficientScopeError):
        journey.subscribe("http://127.0.0.1:1/webhooks/jira")
    journey.read_history()
    journey.sandbox.clock.advance(timedelta(hours=1))
    with pytest.raises(ReauthorizationRequiredError) as caught:
        journey.read_history()
    assert not isinstance(caught.value, InsufficientScopeError)
    journey.connect()
    journey.world.close_site(journey.site.id)
    with pytest.raises(AccessLostError):
        journey.read_history()


def test_site_host_takes_no_3lo_token(journey):
    """The site's own host is for links only."""
    journey.connect()
    headers = {"Authorization": f"Bearer {journey.tokens.access_token.reveal()}"}
    assert requests.get(f"{journey.base}/site/acme/rest/api/3/myself", headers=headers, timeout=5).status_code == 401


# --- webhooks ------------------------------------------------------------------------------------------------------


def everything(journey):
    """One of each that both push and reading can show."""
    world, site = journey.world, journey.site.id

    def tick():
        return journey.sandbox.clock.advance(timedelta(seconds=3))

    issue = world.create_issue(site, "OPS", "Crash on start")
    steps = (
        lambda: world.move_issue(site, issue.id, "In Progress"),
        lambda: world.assign_issue(site, issue.id, journey.user.account_id),
        lambda: world.move_issue(site, issue.id, "Done"),
        lambda: world.move_issue(site, issue.id, "To Do"),
        lambda: world.rename_issue(site, issue.id, "Crash on every start"),
        lambda: world.comment(site, issue.id, "Seen on two machines"),
        lambda: world.edit_comment(site, issue.id, issue.comments[0].id, "Seen on three"),
    )
    for step in steps:
        tick()
        step()
    tick()
    return issue


@pytest.mark.parametrize("body_style", ["wiki", "adf"])
@pytest.mark.parametrize("comment_style", ["comment", "issue", "both"])
def test_push_and_reading_agree(journey, inbox, body_style, comment_style):
    """What was pushed and what a backfill reads is one set of signals, in every style of comments."""
    journey.site.body_style, journey.site.comment_style = body_style, comment_style
    journey.connect()
    receipt = journey.subscribe(inbox.url)
    everything(journey)
    journey.sandbox.deliver_pending()
    read = journey.read_history(journey.connection(**receipt.connection_metadata))
    connection = read.context.connection
    pushed = [draft for delivered in inbox.deliveries for draft in journey.read(delivered, connection)]
    assert facts(pushed) == facts(read.signals)
    assert {draft.kind.value for draft in read.signals} == {
        *("issue_created", "issue_status_changed", "issue_assigned", "issue_closed", "issue_reopened"),
        *("issue_updated", "issue_commented", "issue_comment_edited"),
    }
    assert all(path.endswith("?triggeredByUser=712020%3Alee") for path in inbox.paths)


def test_push_only_events(journey, inbox):
    """Deletions, sprints and releases come by webhook alone."""
    journey.connect()
    connection = journey.connection(**journey.subscribe(inbox.url).connection_metadata)
    issue = journey.world.create_issue(journey.site.id, "OPS")
    comment = journey.world.comment(journey.site.id, issue.key)
    journey.sandbox.deliver_pending()
    inbox.deliveries.clear()
    journey.world.delete_comment(journey.site.id, issue.key, comment.id)
    journey.world.delete_issue(journey.site.id, issue.key)
    journey.world.start_sprint(journey.site.id, 7, "Sprint 7")
    journey.world.close_sprint(journey.site.id, 7, "Sprint 7")
    journey.world.release_version(journey.site.id, "OPS", 3, "2.1")
    journey.sandbox.deliver_pending()
    kinds = [draft.kind.value for one in inbox.deliveries for draft in journey.read(one, connection)]
    assert kinds == ["issue_comment_deleted", "issue_deleted", "sprint_started", "sprint_closed", "release_published"]


def test_admin_hook_is_signed_over_its_body(journey, inbox):
    """An administrator's webhook tells of worklogs and projects, with a signature and no webhook ids."""
    journey.world.add_admin_hook(journey.site.id, inbox.url, "admin secret", list(ADMIN_EVENTS))
    issue = journey.world.create_issue(journey.site.id, "OPS")
    journey.world.log_work(journey.site.id, issue.id)
    journey.world.add_project(journey.site.id, "WEB")
    journey.sandbox.deliver_pending()
    read = [journey.read(one, journey.connection(), "admin secret", tenant=TENANT) for one in inbox.deliveries]
    assert [draft.kind.value for drafts in read for draft in drafts] == ["work_logged", "project_created"]
    with pytest.raises(DeliveryRejectedError):
        journey.read(inbox.deliveries[0], journey.connection(), "another", tenant=TENANT)


def test_ids_repeat_across_sites_and_the_site_decides(journey, inbox):
    """Two sites have a webhook 1; a delivery of the one makes nothing for the other."""
    journey.connect()
    receipt = journey.subscribe(inbox.url)
    other = journey.world.add_site("beta", [journey.user.account_id])
    journey.world.add_project(other.id, "WEB")
    ours, journey.site = journey.site, other
    assert journey.subscribe(inbox.url).external_id == receipt.external_id
    journey.world.create_issue(other.id, "WEB")
    journey.sandbox.deliver_pending()
    journey.read(inbox.deliveries[-1], journey.connection(webhook_ids=["1"]))
    journey.site = ours
    with pytest.raises(DeliveryRejectedError):
        journey.read(inbox.deliveries[-1], journey.connection(webhook_ids=["1"]))


def test_retries_keep_the_identifier(journey, inbox):
    """A 503 is tried again, minutes later, with the same identifier and a fresh JWT; a 404 is not."""
    journey.connect()
    connection = journey.connection(**journey.subscribe(inbox.url).connection_metadata)
    inbox.statuses = [503, 202, 404]
    journey.world.create_issue(journey.site.id, "OPS")
    journey.sandbox.deliver_pending()
    journey.sandbox.clock.advance(timedelta(minutes=16))
    journey.sandbox.deliver_pending()
    first, second = ({item[0].lower(): item[1] for item in one[0].items()} for one in inbox.deliveries)
    assert first["x-atlassian-webhook-identifier"] == second["x-atlassian-webhook-identifier"]
    assert "x-atlassian-webhook-retry" not in first
    assert second["x-atlassian-webhook-retry"] == "1"
    assert journey.read(inbox.deliveries[1], connection)
    journey.world.create_issue(journey.site.id, "OPS")
    for _ in range(3):
        journey.sandbox.deliver_pending()
        journey.sandbox.clock.advance(timedelta(minutes=16))
    assert len(inbox.deliveries) == 3


def test_webhook_life(journey, inbox):
    """Made, found again, renewed, replaced after expiry, removed."""
    journey.connect()
    receipt = journey.subscribe(inbox.url)
    assert receipt.expires_at is not None
    assert abs(receipt.expires_at - journey.now - timedelta(days=30)) < timedelta(minutes=1)
    assert journey.subscribe(inbox.url).external_id == receipt.external_id
    subscription = journey.subscription(receipt.external_id, inbox.url)
    journey.sandbox.clock.advance(timedelta(days=7))
    journey.tokens = journey.refresh(journey.tokens)
    renewed = journey.hold(renew(journey.app, journey.connection(), subscription))
    assert renewed.external_id == receipt.external_id
    assert renewed.expires_at > receipt.expires_at
    journey.sandbox.clock.advance(timedelta(days=31))
    journey.tokens = journey.refresh(journey.tokens)
    assert journey.hold(probe(journey.app, journey.connection(), subscription)) is False
    journey.world.create_issue(journey.site.id, "OPS")
    assert journey.sandbox.deliver_pending() == []
    successor = journey.hold(renew(journey.app, journey.connection(webhook_ids=["1"]), subscription))
    assert successor.connection_metadata == {"webhook_ids": [successor.external_id, "1"]}
    gone = journey.subscription(successor.external_id, inbox.url)
    for _ in range(2):
        journey.hold(unsubscribe(journey.app, journey.connection(), gone))
    assert journey.hold(probe(journey.app, journey.connection(), gone)) is False


def test_registration_refuses_inside_200(journey, inbox):
    """A second URL, a foreign clause, an admin's event, a sixth webhook: each an error with status 200."""
    journey.connect()
    url = f"{journey.base}/ex/jira/{journey.site.id}/rest/api/3/webhook"
    headers = {"Authorization": f"Bearer {journey.tokens.access_token.reveal()}"}

    def register(target=inbox.url, jql="project = OPS", event="comment_created"):
        document = {"url": target, "webhooks": [{"events": [event], "jqlFilter": jql}]}
        answer = requests.post(url, json=document, headers=headers, timeout=5)
        assert answer.status_code == 200
        return next(iter(answer.json()["webhookRegistrationResult"][0]))

    assert register(jql="watchCount > 1") == "errors"
    assert register(jql="project = OPS ORDER BY id") == "errors"
    assert {register(event=event) for event in ADMIN_EVENTS} == {"errors"}
    assert [register() for _ in range(6)] == ["createdWebhookId"] * 5 + ["errors"]
    assert register(target=f"{inbox.url}/other") == "errors"


def test_private_app_delivers_to_its_owner_only(journey, inbox):
    """A private app's webhook is registered and silent unless its owner made it."""
    app = journey.world.auth.apps[journey.app.client_id]
    app.is_shared, app.owner = False, "712020:somebody-else"
    journey.connect()
    assert journey.subscribe(inbox.url).external_id
    journey.world.create_issue(journey.site.id, "OPS")
    assert journey.sandbox.deliver_pending() == []
    app.owner = journey.user.account_id
    journey.world.create_issue(journey.site.id, "OPS")
    assert len(journey.sandbox.deliver_pending()) == 1


# --- reading -------------------------------------------------------------------------------------------------------


def test_backfill_of_many_issues(journey):
    """Three pages of issues are read whole; the next read brings what came after, through the index's lag."""
    journey.connect()
    journey.world.populate(journey.site.id, "OPS", 250)
    reader = journey.reader()
    reader.read(journey.now)
    reader.backfill(LONG_AGO, journey.now)
    assert len(reader.keys) == 250
    journey.sandbox.core.index_lags["jira"] = timedelta(minutes=2)
    late = journey.world.create_issue(journey.site.id, "OPS", "late")
    reader.read(journey.now)
    assert late.id not in {draft.subject.id for draft in reader.signals}
    journey.sandbox.clock.advance(timedelta(minutes=3))
    reader.read(journey.now)
    assert late.id in {draft.subject.id for draft in reader.signals}


def test_a_second_fuller_than_a_page(journey):
    """A bulk edit is read through page tokens."""
    journey.connect()
    at = (journey.now - timedelta(days=1)).isoformat()
    for _ in range(150):
        journey.world.create_issue(journey.site.id, "OPS", at=at)
    assert len(journey.read_history().keys) == 150


def test_many_comments_are_all_read(journey):
    """More comments than an issue embeds are fetched by their own list."""
    journey.connect()
    issue = journey.world.create_issue(journey.site.id, "OPS")
    for _ in range(130):
        journey.world.comment(journey.site.id, issue.id)
    assert sum(draft.kind.value == "issue_commented" for draft in journey.read_history().signals) == 130


def test_search_answers_like_jira(journey):
    """The old search is gone, an unbounded query is refused, `id` is the default, quoted dates are the user's."""
    journey.connect()
    issue = journey.world.create_issue(journey.site.id, "OPS")
    headers = {"Authorization": f"Bearer {journey.tokens.access_token.reveal()}"}
    rest = f"{journey.base}/ex/jira/{journey.site.id}/rest/api/3"

    def search(path="search/jql", **params):
        return requests.get(f"{rest}/{path}", params=params, headers=headers, timeout=5)

    assert search("search", jql="project = OPS").status_code == 410
    assert search(jql="ORDER BY updated").status_code == 400
    assert search(jql="project = OPS").json() == {"issues": [{"id": issue.id}], "isLast": True}
    assert search(jql="project = OPS", nextPageToken="x").status_code == 400
    # Los Angeles is behind UTC: a UTC wall clock taken for local time lies in the future and hides the issue.
    utc_text = (issue.updated - timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M")
    assert search(jql=f'updated >= "{utc_text}"').json()["issues"] == []


def ask(journey, path, method="GET", **more):
    """The answer of the site's REST API to the connected user."""
    headers = {"Authorization": f"Bearer {journey.tokens.access_token.reveal()}"}
    return requests.request(
        method, f"{journey.base}/ex/jira/{journey.site.id}/rest/api/3/{path}", headers=headers, timeout=5, **more
    )


def search(journey, jql="project = OPS ORDER BY updated ASC, id ASC", **more):
    return ask(journey, "search/jql", params={"jql": jql, "fields": "summary,updated", **more})


def summaries(journey):
    return [one["fields"]["summary"] for one in search(journey).json()["issues"]]


def test_a_lagging_index_shows_what_it_knows(journey):
    """A changed issue stays where it was and as it was, a new one is not found, until the index catches up."""
    world, site = journey.world, journey.site.id
    journey.connect()
    first, _ = world.create_issue(site, "OPS", "first"), world.create_issue(site, "OPS", "second")
    journey.sandbox.clock.advance(timedelta(minutes=5))
    journey.sandbox.core.index_lags["jira"] = timedelta(minutes=1)
    world.rename_issue(site, first.id, "changed")
    world.create_issue(site, "OPS", "third")
    assert summaries(journey) == ["first", "second"]
    journey.sandbox.clock.advance(timedelta(minutes=1))
    assert summaries(journey) == ["second", "changed", "third"]


def test_an_edit_during_a_search_shows_at_the_old_position(journey):
    """What changes while one answer is made has its new fields where it was found."""
    world, site = journey.world, journey.site.id
    journey.connect()
    first, _ = world.create_issue(site, "OPS", "first"), world.create_issue(site, "OPS", "second")
    journey.sandbox.clock.advance(timedelta(minutes=5))
    world.during_search = lambda: world.rename_issue(site, first.id, "changed")
    assert summaries(journey) == ["changed", "second"]
    assert summaries(journey) == ["second", "changed"]


def test_short_pages(journey):
    """Lists hold fewer items than asked for, and say how to go on."""
    journey.connect()
    for _ in range(3):
        issue = journey.world.create_issue(journey.site.id, "OPS")
        for status in ("In Progress", "Done"):
            journey.world.move_issue(journey.site.id, issue.id, status)
    journey.world.add_project(journey.site.id, "WEB")
    journey.sandbox.core.page_caps["jira"] = 1
    page = search(journey, maxResults=50).json()
    assert (len(page["issues"]), page["isLast"]) == (1, False)
    projects = ask(journey, "project/search").json()
    assert (projects["maxResults"], len(projects["values"]), projects["isLast"]) == (1, 1, False)
    assert len(journey.read_history().keys) == 9


def test_page_tokens_can_expire_early(journey):
    """A search refuses the tokens from before, and gives new ones."""
    journey.connect()
    for _ in range(2):
        journey.world.create_issue(journey.site.id, "OPS")
    token = search(journey, maxResults=1).json()["nextPageToken"]
    assert search(journey, maxResults=1, nextPageToken=token).status_code == 200
    journey.world.expire_page_tokens()
    assert search(journey, maxResults=1, nextPageToken=token).status_code == 400


def test_archived_and_hidden_projects(journey, inbox):
    """An archived project leaves lists, a hidden one also hides its issues and sends nothing; both come back as they were."""
    world, site, user = journey.world, journey.site.id, journey.user.account_id
    journey.connect()
    journey.subscribe(inbox.url)
    issue = world.create_issue(site, "OPS", "here")
    journey.sandbox.deliver_pending()
    world.archive_project(site, "OPS")
    assert (summaries(journey), ask(journey, "project/search").json()["values"]) == ([], [])
    assert ask(journey, f"issue/{issue.id}").status_code == 200
    world.restore_project(site, "OPS")
    world.hide_project(site, "OPS", user)
    assert (summaries(journey), ask(journey, "project/search").json()["values"]) == ([], [])
    assert ask(journey, f"issue/{issue.id}").status_code == 404
    assert (
        ask(journey, "changelog/bulkfetch", "POST", json={"issueIdsOrKeys": [issue.id]}).json()["issueChangeLogs"] == []
    )
    world.move_issue(site, issue.id, "Done")
    assert journey.sandbox.deliver_pending() == []
    world.unhide_project(site, "OPS", user)
    assert summaries(journey) == ["here"]


def test_a_transferred_issue_has_another_key(journey):
    """Its id and history stay, its former number is not given again."""
    world, site = journey.world, journey.site.id
    world.add_project(site, "WEB")
    issue = world.create_issue(site, "OPS")
    world.transfer_issue(site, issue.key, "WEB")
    assert issue.key == "WEB-1"
    assert [item["field"] for item in issue.histories[-1].items] == ["project", "Key"]
    assert world.create_issue(site, "OPS").key == "OPS-2"


def test_an_import_keeps_its_dates_and_tells_nobody(journey, inbox):
    """Created and updated are the old ones, whatever is imported into the issue."""
    journey.connect()
    journey.subscribe(inbox.url)
    issue = journey.world.create_issue(
        journey.site.id, "OPS", at="1970-01-01T00:00:00Z", updated_at="2020-01-01T00:00:00Z"
    )
    journey.world.comment(journey.site.id, issue.id, at="1971-01-01T00:00:00Z")
    journey.world.move_issue(journey.site.id, issue.id, "Done", at="1972-01-01T00:00:00Z")
    assert (issue.created.year, issue.updated.year) == (1970, 2020)
    assert journey.sandbox.deliver_pending() == []


def test_tokens_that_end_early(journey):
    """Access tokens can end while the refresh token lives, and the other way round."""
    journey.connect()
    account_id = journey.user.account_id
    journey.world.end_access_tokens(account_id)
    assert ask(journey, "myself").status_code == 401
    journey.tokens = journey.refresh(journey.tokens)
    journey.world.end_refresh_tokens(account_id)
    assert ask(journey, "myself").status_code == 200
    with pytest.raises(ReauthorizationRequiredError):
        journey.refresh(journey.tokens)


def test_a_closed_site_comes_back_with_its_webhooks(journey, inbox):
    """While it is closed it is in no list and answers nothing."""
    journey.connect()
    journey.subscribe(inbox.url)
    journey.world.close_site(journey.site.id)
    assert ask(journey, "myself").status_code == 404
    journey.world.reopen_site(journey.site.id)
    assert ask(journey, "webhook").json()["total"] == 1
    journey.world.drop_hooks(journey.site.id)
    assert ask(journey, "webhook").json()["total"] == 0


@pytest.mark.parametrize("reason", ["jira-quota-global-based", "jira-quota-tenant-based", "jira-burst-based", None])
def test_rate_limits(journey, reason):
    """Each reason, and a 429 without any header, becomes a pause that ends in the future."""
    journey.connect()
    headers = {} if reason is None else {"RateLimit-Reason": reason, "Retry-After": "7"}
    journey.sandbox.faults.add(Fault(provider="jira", path="*/search/jql", status=429, headers=headers, times=1))
    with pytest.raises(RateLimitedError) as caught:
        journey.read_history()
    assert caught.value.retry_at > journey.now
    journey.read_history()


def test_bad_days(journey):
    """503 with Retry-After is a pause, HTML is an outage."""
    journey.connect()
    journey.sandbox.faults.add(Fault(provider="jira", status=503, headers={"Retry-After": "3"}, times=1))
    with pytest.raises(RateLimitedError):
        journey.read_history()
    journey.sandbox.faults.add(Fault(provider="jira", status=502, html=True, times=1))
    with pytest.raises(ProviderUnavailableError):
        journey.read_history()


# --- a client that others maintain ---------------------------------------------------------------------------------


def test_jira_client_of_others_works(journey):
    """The `jira` package signs in with the token, pages through search, and reads comments and histories."""
    package = pytest.importorskip("jira", reason="the third-party client `jira` is not installed")
    journey.connect()
    journey.world.populate(journey.site.id, "OPS", 120)
    issue = everything(journey)
    client = package.JIRA(
        options={"server": f"{journey.base}/ex/jira/{journey.site.id}", "rest_api_version": "3"},
        token_auth=journey.tokens.access_token.reveal(),
        max_retries=0,
    )
    try:
        assert client.myself()["accountId"] == journey.user.account_id
        found = client.enhanced_search_issues(
            "project = OPS ORDER BY updated DESC", maxResults=0, fields="summary,status"
        )
        assert len(found) == 121
        assert found[0].key == issue.key
        assert found[0].fields.status.name == "To Do"
        assert client.approximate_issue_count("project = OPS") == 121
        assert {status.name for status in client.statuses()} >= {"To Do", "Done"}
        (comment,) = client.comments(issue.id)
        assert comment.author.accountId == journey.user.account_id
        with_history = client.issue(issue.id, fields="summary")
        assert with_history.fields.summary == "Crash on every start"
    finally:
        client.close()
