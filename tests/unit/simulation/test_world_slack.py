"""The simulation's Slack: its deeds never fail, are the same in every run, and its truth is what reading shows."""

from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import parse_qsl, urlsplit

import pytest

from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.providers.slack import SLACK
from connectors.entrypoints.library import Connectors
from connectors_sandbox import SandboxClock, create_sandbox
from tests.simulation.world.slack import ACCOUNTS, SlackBot, SlackBotAndUser, SlackUser
from tests.simulation.wsgi import call_wsgi
from tests.support.builders import TENANT

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CLIENT, SECRET, CALLBACK = "slack-app", "slack-secret", "https://core.invalid/callback/slack"
DEEDS = 200
KNOWN = {"close_container", "unjoined_channel", "end_user_token"}
"""Levers for what keeps events from us today; the tests at the end say what."""


class ConnectedClock(SandboxClock):
    """The vendor's clock and ours: who waits moves it."""

    def sleep(self, duration):
        self.advance(max(duration, timedelta(milliseconds=10)))


def make_account(kind, items=0, seed=1):
    """An account in a sandbox of its own."""
    sandbox = create_sandbox(ConnectedClock(START), auto_consent=True, allowed_hosts=["connectors.invalid"], seed=seed)
    sandbox.slack.add_app(CLIENT, SECRET, redirect_urls=[CALLBACK], rotating=True)
    account = kind(sandbox, "acme")
    account.prepare(items, Random(seed))
    return account


def act(account, deeds, seed=1, *, left_out=frozenset()):
    """That many deeds with pauses between them; the names of those done."""
    dice = Random(seed)
    every_day = [name for name, (weight, _) in account.usual.items() for _ in range(weight)]
    names = [name for name in (*every_day, *account.odd) if name not in left_out]
    done = []
    for _ in range(deeds):
        account.sandbox.clock.advance(timedelta(minutes=dice.choice((0, 1, 20))))
        done.append(dice.choice(names))
        account.do(done[-1], dice)
    return done


class Reader:
    """A system in memory that knows one account."""

    def __init__(self, account):
        self.account, self.sandbox = account, account.sandbox
        app = ProviderApp(
            provider=ProviderSlug("slack"),
            client_id=CLIENT,
            client_secret=Secret(SECRET),
            base_url=self.sandbox.core.base_url("slack"),
            options=SLACK.read_options({}),
        )
        self.connectors = Connectors.in_memory(
            respond=self.respond, apps={app.provider: app}, clock=self.sandbox.clock, redirect_uri=CALLBACK
        )

    def respond(self, request):
        answer = call_wsgi(self.sandbox.app, request.method, request.url, request.headers, request.body)
        return HttpResponse(status=answer.status, headers=answer.headers, body=answer.body, url=request.url)

    def connect(self):
        started = self.connectors.connect.start_authorization(TENANT, "slack", scopes=self.account.scopes)
        url = f"{started.authorize_url}&sandbox_user={self.account.user}"
        sent_back = urlsplit(call_wsgi(self.sandbox.app, "GET", url, {}).headers["location"])
        (self.connection,) = self.connectors.connect.complete_authorization("slack", dict(parse_qsl(sent_back.query)))
        self.account.finish(None)

    def read(self, job_type, since=None):
        """One whole read, the vendor's limits waited out."""
        job = self.connectors.jobs.request(TENANT, self.connection.id, job_type, since=since)
        while not (job := self.connectors.sync.run(TENANT, job.id)).is_finished:
            self.sandbox.clock.sleep(job.retry_after - self.sandbox.clock.now())
        assert job.status in {JobStatus.SUCCEEDED, JobStatus.PARTIAL}  # what Slack refuses, nobody can read

    def read_all(self):
        self.sandbox.clock.advance(timedelta(seconds=1))
        self.read(JobType.INCREMENTAL)
        self.read(JobType.BACKFILL, since=datetime(1970, 1, 1, tzinfo=UTC))

    def signals(self):
        listing = self.connectors.queries.list_signals(TENANT, limit=100)
        yield from listing.items
        while listing.next_cursor:
            listing = self.connectors.queries.list_signals(TENANT, limit=100, cursor=listing.next_cursor)
            yield from listing.items

    def missing(self):
        """Those of the account's events that have no signal."""
        shown = [(one.kind, one.title, one.occurred_at) for one in self.signals()]
        return [
            event
            for event in self.account.events()
            if [at for kind, title, at in shown if kind == event.kind and event.title in title] != [event.at]
        ]


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_no_deed_fails_and_the_same_dice_give_the_same_history(kind):
    """Whatever came before; all deeds are done, and the tables and the truth are equal in two runs."""
    runs = []
    for _ in range(2):
        account = make_account(kind, items=3)
        Reader(account).connect()
        done = act(account, DEEDS)
        runs.append((done, account.sandbox.slack.describe(), account.events(), account.tokens()))
        assert {*account.usual, *account.odd} == set(done)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_reading_everything_shows_every_event(kind):
    """With its kind, its text and its date, and each once."""
    account = make_account(kind, items=2 * kind.page_items)
    reader = Reader(account)
    reader.connect()
    act(account, DEEDS, left_out=KNOWN)
    reader.read_all()
    assert len({event.kind for event in account.events()}) == 4
    assert reader.missing() == []


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_what_was_taken_back_is_gone(kind):
    """No token lives; a new consent gives the same truth once the bot is invited again."""
    account = make_account(kind, items=5)
    before = Reader(account)
    before.connect()
    events = account.events()
    assert (account.tokens(), len(events) > 5) == (1, True)
    account.withdraw()
    assert account.tokens() == 0
    Reader(account).connect()
    assert (account.tokens(), account.events()) == (1, events)


def test_an_invitation_shows_what_was_before_it():
    """And a removal hides it again."""
    account = make_account(SlackBot, items=2)
    Reader(account).connect()
    before = account.events()
    account.do("invite_late", Random(1))
    account.sandbox.clock.advance(timedelta(seconds=1))
    new = [event for event in account.events() if event not in before]
    assert [event.kind for event in new] == ["channel_created"] + 3 * ["message_posted"]
    account.slack.leave_channel(account.name, new[0].title, account.install.bot_user_id)
    assert account.events() == [*before, new[0]]


@pytest.mark.parametrize("kind", [SlackBot, SlackUser])
def test_reading_shows_what_is_in_archived_channels(kind):
    """That they were made; to a user also their messages."""
    account = make_account(kind, items=2)
    reader = Reader(account)
    reader.connect()
    account.do("close_container", Random(1))
    reader.read_all()
    assert reader.missing() == []


def test_reading_as_a_user_shows_every_public_channel():
    """Slack lets a user's token read them."""
    account = make_account(SlackUser)
    reader = Reader(account)
    reader.connect()
    account.do("unjoined_channel", Random(1))
    reader.read_all()
    assert reader.missing() == []


def test_a_bot_goes_on_without_its_users_own_token():
    """The bot's token and its refresh token live."""
    account = make_account(SlackBotAndUser, items=2)
    reader = Reader(account)
    reader.connect()
    account.do("end_user_token", Random(1))
    account.sandbox.clock.advance(timedelta(hours=13))
    reader.read_all()
    assert reader.missing() == []
