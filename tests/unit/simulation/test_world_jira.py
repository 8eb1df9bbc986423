"""The world of Jira: its deeds never fail, a seed is one run, and what it says happened is what reading shows."""

from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from connectors.adapters.memory import MemoryDatabase
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobType
from connectors.domain.providers.jira.endpoints import SLUG
from connectors.entrypoints.library import Connectors
from connectors_sandbox import SandboxClock, create_sandbox
from tests.simulation.world.jira import ACCOUNTS, JiraAccount
from tests.support.service import CORE_CALLBACK
from tests.support.stage import JIRA_APP, register_apps

START = datetime(2026, 3, 4, 5, 0, tzinfo=UTC)
TENANT = TenantId(UUID(int=7))
UNSHOWN = {"date_1970"}
"""Levers whose issues reading leaves out."""


class VirtualClock(SandboxClock):
    """Sleeping takes no time."""

    def sleep(self, duration):
        self.advance(duration)


def make_account(seed, items=12):
    sandbox = create_sandbox(
        VirtualClock(START),
        auto_consent=True,
        allowed_hosts=["connectors.invalid"],
        seed=1,
        send=lambda *given: given[1],
    )
    register_apps(sandbox)
    account = JiraAccount(sandbox, "ada")
    account.prepare(items, Random(seed))
    return account


def live(account, seed, days, leave_out=frozenset()):
    """Many deeds, usual and odd, minutes apart; their names."""
    dice, done = Random(seed), []
    usual, odd = account.usual, sorted(set(account.odd) - leave_out)
    for _ in range(days):
        if dice.random() < 0.7:
            what = dice.choices(list(usual), [weight for weight, _ in usual.values()])[0]
        else:
            what = dice.choice(odd)
        account.do(what, dice)
        account.sandbox.clock.advance(timedelta(seconds=dice.choice((0, 0.3, 20, 900))))
        done.append(what)
    return done


def read_whole(account):
    """The signals of a fresh system that connects the user and reads everything, undisturbed."""
    client = account.sandbox.app.test_client()

    def respond(request):
        headers = dict(request.headers)
        answer = client.open(request.url, method=request.method, headers=headers, data=request.body)
        return HttpResponse(status=answer.status_code, headers=dict(answer.headers), body=answer.data, url=request.url)

    database = MemoryDatabase(account.sandbox.clock.now)
    app = ProviderApp(
        provider=SLUG, client_id=JIRA_APP[0], client_secret=Secret(JIRA_APP[1]), base_url="http://localhost/jira"
    )
    connectors = Connectors.in_memory(
        respond=respond,
        apps={SLUG: app},
        redirect_uri=CORE_CALLBACK,
        public_url=None,
        clock=account.sandbox.clock,
        database=database,
    )
    with connectors:
        started = connectors.connect.start_authorization(TENANT, SLUG)
        consent = client.get(f"{started.authorize_url}&sandbox_user={account.user}")
        query = dict(parse_qsl(urlsplit(consent.headers["Location"]).query))
        for connection in connectors.connect.complete_authorization(SLUG, query):
            for job_type in (JobType.BACKFILL, JobType.INCREMENTAL):
                job = connectors.jobs.request(TENANT, connection.id, job_type)
                while not (job := connectors.sync.run(TENANT, job.id)).is_finished:
                    account.sandbox.clock.advance(timedelta(minutes=1))
                assert job.error is None
    return list(database.signals.values())


@pytest.mark.parametrize("seed", range(3))
def test_deeds_are_the_same_in_every_run(seed):
    """Two hundred deeds in any order never fail, and the same dice give the same world."""
    traces = []
    for _ in range(2):
        account = make_account(seed)
        done = live(account, seed, 200)
        sent = [(one.event, one.body) for one in account.sandbox.deliveries.log]
        traces.append((done, account.events(), sent, account.sandbox.jira.describe()))
    assert traces[0] == traces[1]


def test_levers_are_what_every_vendor_is_asked_for():
    """Every deed can be reached by its name, and none is both usual and odd."""
    assert (JiraAccount,) == ACCOUNTS
    assert not set(JiraAccount.usual) & set(JiraAccount.odd)


@pytest.mark.parametrize("seed", range(4))
def test_reading_shows_what_happened(seed):
    """An undisturbed whole read shows each event with its date, and nothing else."""
    account = make_account(seed, items=40)
    live(account, seed, 150, UNSHOWN)
    settle(account)
    signals, events = read_whole(account), account.events()
    assert (find_unshown(events, signals), len(signals)) == ([], len(events))


def test_reading_shows_an_import_of_1970():
    """A whole read shows an issue whose date of creation is empty at its source."""
    account = make_account(1)
    account.do("date_1970", Random(1))
    settle(account)
    assert find_unshown(account.events(), read_whole(account)) == []


def test_a_lagging_index_shows_less():
    """What the search does not know yet is no event yet, and reading shows the rest."""
    account = make_account(5, items=40)
    settle(account)
    old = account.events()
    account.sandbox.core.index_lags["jira"] = timedelta(minutes=5)
    for _ in range(10):
        account.do("create", Random(1))
        account.do("rename", Random(1))
    assert account.events() == old
    assert find_unshown(old, read_whole(account)) == []
    account.do("index_catches_up", Random(1))
    assert len(account.events()) == len(old) + 20


@pytest.mark.parametrize("lever", ["close_site", "close_container", "leave_container"])
def test_what_is_closed_shows_nothing(lever):
    """A closed site or project takes its events away; when it is back, they are too."""
    account = make_account(3, items=40)
    account.do("new_container", Random(1))
    before = account.events()
    for what in (lever, lever):
        account.do(what, Random(1))
    assert len(account.events()) < len(before)
    back = {"leave_container": "enter_container"}.get(lever, lever.replace("close", "reopen"))
    for what in (back, back):
        account.do(what, Random(1))
    assert {one.title for one in before} <= {one.title for one in account.events()}


def test_an_import_leaves_no_trace_until_it_changes():
    """An import that kept its dates is in no search for changes; a comment brings it there."""
    account, dice = make_account(3, items=0), Random(1)
    while not any(one.is_traceless for one in account.events()):
        account.do("backdate", dice)
    title = next(one.title for one in account.events() if one.is_traceless)
    while any(one.is_traceless and one.title == title for one in account.events()):
        account.do("comment", dice)
    imported = next(one for one in account.events() if one.title == title)
    assert imported.note == "imported"


def test_what_was_hidden_is_noted():
    """Events of a project that the users could not always see say so."""
    account = make_account(3, items=0)
    account.do("enter_container", Random(1))
    assert {one.note for one in account.events()} == {"in a project that was not always shown"}


def settle(account):
    """Open all sites, and let the index know everything."""
    for site in account.sandbox.jira.sites.values():
        site.is_gone = False
    account.sandbox.core.index_lags.clear()
    account.sandbox.clock.advance(timedelta(hours=1))


def find_unshown(events, signals):
    """The events that none of the signals shows."""
    return [
        event
        for event in events
        if not any(
            (one.kind.value, one.occurred_at) == (event.kind, event.at) and event.title in one.title for one in signals
        )
    ]
