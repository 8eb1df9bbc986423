"""The three worlds of Google: their deeds never fail, repeat exactly, and tell the truth about what a reading shows."""

from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import attrs
import pytest

from connectors import Connectors
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors_sandbox import create_sandbox
from connectors_sandbox.clock import SandboxClock
from connectors_sandbox.google.pubsub import TOPIC
from tests.simulation.world import gmail, google_calendar, google_drive
from tests.support.service import CORE_CALLBACK
from tests.support.stage import GOOGLE_APP, PUSH_ACCOUNT, register_apps

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
TENANT = TenantId(UUID(int=1))
GMAIL_OPTIONS = {"pubsub_topic": TOPIC, "push_service_account": PUSH_ACCOUNT}
KINDS = (*google_drive.ACCOUNTS, *google_calendar.ACCOUNTS, *gmail.ACCOUNTS)

each_account = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)


def make_sandbox(seed=1):
    sandbox = create_sandbox(SandboxClock(START), auto_consent=True, allowed_hosts=["connectors.invalid"], seed=seed)
    register_apps(sandbox)
    return sandbox


def make_world(kind, items, seed=1):
    account = kind(make_sandbox(seed), "ada")
    account.prepare(items, Random(seed))
    return account


def live(account, deeds, dice):
    """Random deeds, every lever at least once, with minutes in between; what was to be seen after each."""
    names = list(account.usual) * 4 + list(account.odd)
    chosen = dice.choices(names, k=deeds - len(account.odd)) + list(account.odd)
    dice.shuffle(chosen)
    for name in chosen:
        account.do(name, dice)
        yield name, account.events(), account.hooks(), account.tokens(), account.google.describe()
        account.sandbox.clock.advance(timedelta(seconds=dice.choice([0, 0.0004, 3, 400])))


@attrs.define
class VendorClock:
    """The vendor's time, for the service as well."""

    sandbox: object

    def now(self):
        return self.sandbox.clock.now()

    def sleep(self, pause):
        self.sandbox.clock.advance(pause)


class Reader:
    """A service that nothing disturbs, connected to one account."""

    def __init__(self, account):
        self.account = account
        self.client = account.sandbox.app.test_client(use_cookies=False)
        self.clock = VendorClock(account.sandbox)
        provider = installed_providers().get(account.slug)
        app = ProviderApp(
            provider=provider.slug,
            client_id=GOOGLE_APP[0],
            client_secret=Secret(GOOGLE_APP[1]),
            base_url="http://localhost/google",
            options=provider.read_options(GMAIL_OPTIONS if account.slug == "gmail" else {}),
        )
        self.connectors = Connectors.in_memory(
            respond=self.respond,
            registry=ProviderRegistry([provider]),
            apps={provider.slug: app},
            redirect_uri=CORE_CALLBACK,
            clock=self.clock,
        )

    def respond(self, request):
        parts = urlsplit(request.url)
        answer = self.client.open(
            parts.path, method=request.method, query_string=parts.query, headers=request.headers, data=request.body
        )
        return HttpResponse(status=answer.status_code, headers=dict(answer.headers), body=answer.data, url=request.url)

    def connect(self):
        options = dict(self.account.options)
        start = self.connectors.connect.start_authorization(TENANT, self.account.slug, options=options)
        parts = urlsplit(start.authorize_url)
        landed = self.client.get(parts.path, query_string=f"{parts.query}&sandbox_user={self.account.user}")
        query = dict(parse_qsl(urlsplit(landed.headers["Location"]).query))
        (connection,) = self.connectors.connect.complete_authorization(self.account.slug, query)
        return connection

    def read(self, connection, job_type):
        job = self.connectors.jobs.request(TENANT, connection.id, job_type)
        while not (job := self.connectors.sync.run(TENANT, job.id)).is_finished:
            self.clock.sleep(max(job.retry_after - self.clock.now(), timedelta(milliseconds=1)))
        assert job.status in {JobStatus.SUCCEEDED, JobStatus.PARTIAL}  # what Google refuses, nobody can read

    def signals(self):
        found, cursor = [], None
        while True:
            page = self.connectors.queries.list_signals(TENANT, limit=100, cursor=cursor)
            found += page.items
            if (cursor := page.next_cursor) is None:
                return found


@each_account
def test_deeds_never_fail_and_repeat_exactly(kind):
    """Two worlds with the same dice tell the same after each of 200 deeds."""
    first, second = (list(live(make_world(kind, items), 200, Random(7))) for items in (8, 8))
    assert first == second


@each_account
def test_deeds_do_not_need_items(kind):
    """No deed fails where there is no item yet."""
    sandbox = make_sandbox()
    for name in (*kind.usual, *kind.odd):
        account = kind(sandbox, f"ada-{name}")
        account.prepare(0, Random(1))
        account.do(name, Random(3))
        account.events()


@each_account
@pytest.mark.parametrize("seed", [1, 2])
def test_an_undisturbed_reading_shows_every_event_once(kind, seed):
    """A first read and a backfill give one signal for each event of the world, and no other."""
    account = make_world(kind, kind.page_items + 5, seed)
    dice = Random(seed)
    for _ in live(account, 90, dice):
        pass
    account.sandbox.core.index_lags.clear()
    account.google.auth.withheld.clear()
    reader = Reader(account)
    connection = reader.connect()
    reader.read(connection, JobType.INCREMENTAL)
    reader.read(connection, JobType.BACKFILL)
    signals = [(one.kind.value, one.title.partition(".")[0] + ".", one.occurred_at) for one in reader.signals()]
    events = [(event.kind, event.title, event.at) for event in account.events()]
    assert len(events) > kind.page_items
    assert sorted(signals) == sorted(events)
    assert account.tokens() == 1
