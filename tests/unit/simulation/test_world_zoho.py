"""The world of Zoho Cliq and Zoho Mail: its deeds, and that it tells the truth."""

from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import attrs
import pytest

from connectors import Connectors
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.providers.registry import ProviderRegistry
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL
from connectors_sandbox import SandboxClock, create_sandbox
from tests.simulation.world.zoho import EPOCH
from tests.simulation.world.zoho_cliq import ZohoCliq
from tests.simulation.world.zoho_mail import ZohoMail
from tests.simulation.wsgi import call_wsgi
from tests.support.service import CORE_CALLBACK
from tests.support.stage import CLIQ_SECRET, ZOHO_APP, register_apps

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TENANT = TenantId(UUID(int=7))
KINDS = (ZohoCliq, ZohoMail)
PAGE_ROWS = {ZohoCliq: 100, ZohoMail: 200}
ODD = ((ZohoCliq, "close_container"),)
"""Levers for what readers easily leave out and the vendor shows."""


def accept(outgoing, attempt, seconds):
    """A receiver that takes everything."""
    return attrs.evolve(attempt, status=200)


def make_account(kind, seed, items=0):
    sandbox = create_sandbox(
        SandboxClock(START), auto_consent=True, allowed_hosts=["connectors.invalid"], seed=seed, send=accept
    )
    register_apps(sandbox)
    account = kind(sandbox, "ada")
    account.prepare(items, Random(seed))
    return account


def all_deeds(kind, *, but=()):
    return [*kind.usual, *(name for name in kind.odd if name not in but)]


def live(account, deeds, dice):
    """One deed every few minutes."""
    for name in deeds:
        account.sandbox.clock.advance(timedelta(seconds=dice.randrange(1, 600)))
        account.do(name, dice)
        yield account.zoho.describe()


@pytest.mark.parametrize("kind", KINDS)
def test_every_deed_can_come_at_any_time_and_chance_comes_from_the_dice(kind):
    """200 deeds in any order work, and two lives with the same dice are the same."""

    def trace():
        account, dice = make_account(kind, 3, items=5), Random(3)
        account.finish("https://connectors.invalid/webhooks/a")
        deeds = [*all_deeds(kind), *dice.choices(all_deeds(kind), k=200)]
        told = list(live(account, deeds, dice))
        return told, account.events(), [(one.event, one.body) for one in account.sandbox.deliveries.log]

    assert trace() == trace()


class Reader:
    """Our service, with the sandbox's clock, connected to an account."""

    def __init__(self, account):
        self.sandbox = account.sandbox
        apps = {
            provider.slug: ProviderApp(
                provider=provider.slug,
                client_id=ZOHO_APP[0],
                client_secret=Secret(ZOHO_APP[1]),
                webhook_secrets=(Secret(CLIQ_SECRET),),
                base_url=account.sandbox.core.base_url("zoho"),
            )
            for provider in (ZOHO_CLIQ, ZOHO_MAIL)
        }
        self.connectors = Connectors.in_memory(
            respond=self.respond,
            registry=ProviderRegistry([ZOHO_MAIL, ZOHO_CLIQ]),
            apps=apps,
            clock=self,
            redirect_uri=CORE_CALLBACK,
        )
        url = self.connectors.connect.start_authorization(TENANT, account.slug, options=account.options).authorize_url
        answer = call_wsgi(self.sandbox.app, "GET", f"{url}&sandbox_user={account.user}", {})
        query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        (self.connection,) = self.connectors.connect.complete_authorization(ProviderSlug(account.slug), query)

    def now(self):
        return self.sandbox.clock.now()

    def sleep(self, pause):
        self.sandbox.clock.advance(pause)

    def respond(self, request):
        answer = call_wsgi(self.sandbox.app, request.method, request.url, request.headers, request.body)
        return HttpResponse(status=answer.status, headers=answer.headers, body=answer.body, url=request.url)

    def read(self, job_type, **more):
        job = self.connectors.jobs.request(TENANT, self.connection.id, job_type, **more)
        while not (job := self.connectors.sync.run(TENANT, job.id)).is_finished:
            assert job.streams.aside == 0, job.error
            self.sleep(max(job.retry_after - self.now(), timedelta(seconds=1)))
        assert job.status is JobStatus.SUCCEEDED, job.error

    def signals(self):
        cursor = None
        while True:
            page = self.connectors.queries.list_signals(TENANT, limit=100, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def read_whole(self):
        """All that an undisturbed whole read shows: title, kind and date."""
        self.read(JobType.INCREMENTAL)
        self.read(JobType.BACKFILL, since=EPOCH)
        return [(one.title, one.kind, one.occurred_at) for one in self.signals()]


def find_missing(account):
    """The events that a whole read does not show exactly once, and how many signals are no event."""
    account.sandbox.clock.advance(timedelta(hours=1))
    seen, events = Reader(account).read_whole(), account.events()
    missing = [
        event
        for event in events
        if sum(event.title in title and (event.kind, event.at) == (kind, at) for title, kind, at in seen) != 1
    ]
    return missing, len(seen) - len(events)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_whole_read_shows_what_happened_and_nothing_else(kind, seed):
    """After many deeds, an undisturbed whole read shows the events, each once, and no other."""
    account, dice = make_account(kind, seed, items=30), Random(seed)
    deeds = all_deeds(kind, but={"close_container"})
    assert len(list(live(account, dice.choices(deeds, k=60), dice))) == 60
    assert len(account.events()) > 30
    assert find_missing(account) == ([], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lists_do_not_show_yet_is_no_event_yet(kind):
    """While lists lag, an undisturbed read and the truth agree; both know it a few minutes later."""
    account, dice = make_account(kind, 1, items=3), Random(1)
    account.do("lag_index", dice)
    account.sandbox.clock.advance(timedelta(hours=1))
    account.do("post" if kind is ZohoCliq else "receive", dice)
    early = len(account.events())
    assert len(Reader(account).read_whole()) == early == 3
    assert find_missing(account) == ([], 0)
    assert len(account.events()) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_that_many_items_fill_three_pages(kind):
    """Old items of the main list beyond two pages are read in three pages or more."""
    account = make_account(kind, 5, items=2 * PAGE_ROWS[kind] + 1)
    assert find_missing(account) == ([], 0)
    pages = account.sandbox.core.requests_to("zoho", f"/{account.location}/{kind.slug.removeprefix('zoho-')}/api")
    assert sum("/messages" in page.path for page in pages) >= 3


@pytest.mark.parametrize(("kind", "lever"), ODD)
def test_a_whole_read_shows_what_is_odd(kind, lever):
    """What such a lever makes is part of a whole read."""
    account, dice = make_account(kind, 1, items=3), Random(1)
    account.do(lever, dice)
    assert find_missing(account) == ([], 0)
