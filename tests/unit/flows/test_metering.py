"""The vendors' limits, kept by all workers together."""

from datetime import timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.clock import ManualClock
from connectors.domain.flows.metering import FIRST_PATIENCE, LATER_PATIENCE, RESERVE, Meter, meter_subjects
from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import Budget, Reach
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.ports.telemetry import Silence
from tests.support.builders import NOW, TENANT, make_account, make_connection
from tests.support.provider import ACME, HOST, SLUG
from tests.support.vendor import answer
from tests.support.world import World, item

REQUEST = HttpRequest(method="GET", url=f"{HOST}/api/items")
MINUTE = timedelta(minutes=1)


def limited(*budgets):
    """Acme with these budgets on every request."""
    return attrs.evolve(ACME, limits=attrs.evolve(ACME.limits, budgets=lambda request: budgets))


class Road:
    """One database of limits, and meters of many workers on it."""

    def __init__(self, *budgets):
        self.clock = ManualClock(NOW)
        self.unit_of_work = memory_unit_of_work(MemoryDatabase(self.clock.now))
        self.provider = limited(*budgets)

    def meter(self, grant="g", account="a", app="app", provider=None):
        return Meter(
            unit_of_work=self.unit_of_work,
            clock=self.clock,
            telemetry=Silence(),
            provider=provider or self.provider,
            subjects={Reach.GRANT: grant, Reach.ACCOUNT: account, Reach.APP: app},
        )

    def admits(self, meter):
        """Whether a page's first request goes out now."""
        before = self.clock.now()
        meter.begin()
        try:
            meter.admit(REQUEST)
        except RateLimitedError:
            assert self.clock.now() == before
            return False
        return True


def refusal(road, *, wait=30, **changes):
    return RateLimitedError("Slower.", retry_at=road.clock.now() + timedelta(seconds=wait), **changes)


# --- budgets ---------------------------------------------------------------------------------------------------------


@given(
    requests=st.integers(1, 20),
    burst=st.integers(1, 10),
    cost=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=80),
)
def test_a_budget_is_never_exceeded(requests, burst, cost, steps):
    """In any stretch of its length, all workers together send no more than its requests and its burst."""
    budget = Budget(name="b", reach=Reach.APP, requests=requests, per=MINUTE, burst=burst, cost=cost)
    road = Road(budget)
    meters = [road.meter(grant=str(number)) for number in range(4)]
    sent = []
    for worker, seconds, is_first in steps:
        road.clock.advance(timedelta(seconds=seconds))
        meters[worker].is_under_way = not is_first
        try:
            meters[worker].admit(REQUEST)
        except RateLimitedError:
            continue
        sent.append(road.clock.now())
    for start in sent:
        spent = cost * sum(start <= at < start + MINUTE for at in sent)
        assert spent <= requests + max(burst - 1, 0) + cost


def test_all_that_is_allowed_is_used():
    """Whoever comes back at the instant that he is told gets through: sixty a minute are sixty a minute."""
    road = Road(Budget(name="b", requests=60, per=MINUTE, burst=5))
    meters, sent = [road.meter(), road.meter()], []
    while road.clock.now() < NOW + 5 * MINUTE:
        for meter in meters:
            meter.begin()
            try:
                meter.admit(REQUEST)
            except RateLimitedError as error:
                road.clock.advance(error.retry_at - road.clock.now())
            else:
                sent.append(road.clock.now())
    assert 300 <= len(sent) <= 306
    assert all(later >= earlier for earlier, later in pairwise(sent))


def test_short_waits_are_slept_and_long_ones_told():
    """A page's first request waits a second here, the others up to fifteen; beyond that it is the job that waits."""
    for under_way, patience in ((False, FIRST_PATIENCE), (True, LATER_PATIENCE)):
        for wait, is_slept in ((patience, True), (patience + timedelta(seconds=1), False)):
            road = Road(Budget(name="b", requests=1, per=wait))
            assert road.admits(road.meter())
            meter = road.meter()
            meter.is_under_way = under_way
            before = road.clock.now()
            if is_slept:
                meter.admit(REQUEST)
                assert road.clock.now() - before == wait
            else:
                with pytest.raises(RateLimitedError) as caught:
                    meter.admit(REQUEST)
                assert (caught.value.retry_at - before, road.clock.now()) == (wait, before)


def test_who_gives_up_takes_nobodys_place():
    """A request that was not sent has spent nothing, of none of its budgets."""
    slow, quick = Budget(name="slow", requests=1, per=MINUTE), Budget(name="quick", requests=1, per=MINUTE / 4)
    road = Road(slow, quick)
    assert road.admits(road.meter())
    road.clock.advance(MINUTE / 2)
    assert not road.admits(road.meter())
    only = road.meter(provider=limited(quick))
    assert road.admits(only)


@pytest.mark.parametrize(
    ("reach", "same", "is_shared"),
    [
        (Reach.GRANT, {"grant": "g"}, True),
        (Reach.GRANT, {"account": "a", "app": "app"}, False),
        (Reach.ACCOUNT, {"account": "a"}, True),
        (Reach.ACCOUNT, {"grant": "g", "app": "app"}, False),
        (Reach.APP, {"app": "app"}, True),
        (Reach.APP, {"grant": "g", "account": "a"}, False),
    ],
)
def test_whose_requests_count_together(reach, same, is_shared):
    """Those that the budget's reach names, and no others."""
    road = Road(Budget(name="b", reach=reach, requests=1, per=MINUTE))
    others = {"grant": "g2", "account": "a2", "app": "app2", **same}
    assert road.admits(road.meter())
    assert road.admits(road.meter(**others)) is not is_shared


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", list(Reach))
def test_a_refusal_holds_back_whom_it_concerns(reach):
    """All workers of the same grant, account or app wait, until the vendor's instant; nobody else does."""
    road = Road()
    meter = road.meter()
    meter.heed(refusal(road, reach=reach))
    subjects = {"grant": "g", "account": "a", "app": "app"}
    other = dict.fromkeys(subjects, "other")
    assert not road.admits(road.meter())
    assert not road.admits(road.meter(**{**other, str(reach): subjects[str(reach)]}))
    assert road.admits(road.meter(**{**subjects, str(reach): "other"}))
    road.clock.advance(timedelta(seconds=30))
    assert road.admits(road.meter())


def test_a_refusal_of_one_budget_holds_back_what_counts_against_it():
    """Other requests of the same grant go on; a budget that counts nothing still heeds the vendor's word."""
    search = Budget(name="search")
    road = Road(search)
    road.meter().heed(refusal(road, scope="search"))
    assert not road.admits(road.meter())
    assert road.admits(road.meter(provider=limited()))
    assert road.admits(road.meter(provider=limited(Budget(name="core"))))


def test_another_vendor_is_another_matter():
    """Pauses are the provider's."""
    road = Road()
    road.meter().heed(refusal(road, reach=Reach.APP))
    assert road.admits(road.meter(provider=attrs.evolve(ACME, slug="other")))


def test_a_shorter_refusal_does_not_end_a_longer_one():
    """The latest instant counts, in whatever order they came."""
    road = Road()
    meter = road.meter()
    meter.heed(refusal(road, wait=60))
    meter.heed(refusal(road, wait=5))
    road.clock.advance(timedelta(seconds=59))
    assert [road.admits(road.meter()), road.clock.now() - NOW] == [True, timedelta(seconds=60)]


def test_the_reserve_is_left_to_others():
    """Who has seen that only the reserve is left asks for nothing more, nor does other background work."""
    road = Road()
    meter = road.meter()
    error = refusal(road, scope=RESERVE)
    meter.heed(error)
    with pytest.raises(RateLimitedError) as caught:
        meter.admit(REQUEST)
    assert caught.value is error
    assert not road.admits(road.meter())
    assert road.admits(road.meter(grant="other"))


# --- in the engine ---------------------------------------------------------------------------------------------------


def test_whose_limits_a_connection_uses():
    """Connections of one grant, one account at one app, or one app share; ids of other systems are not shown."""
    app = ProviderApp(provider=SLUG, client_id="client", client_secret=Secret("s"))
    one = make_connection(account=make_account(id="secret-account"))
    same_grant = make_connection(grant_id=one.grant_id)
    same_account = make_connection(account=one.account)
    mine, theirs = meter_subjects(app, one), meter_subjects(attrs.evolve(app, client_id="client-2"), same_account)
    assert meter_subjects(app, same_grant)[Reach.GRANT] == mine[Reach.GRANT]
    assert meter_subjects(app, same_account)[Reach.ACCOUNT] == mine[Reach.ACCOUNT]
    assert meter_subjects(app, same_account)[Reach.GRANT] != mine[Reach.GRANT]
    assert (theirs[Reach.ACCOUNT] != mine[Reach.ACCOUNT], theirs[Reach.APP] != mine[Reach.APP]) == (True, True)
    assert not any("secret-account" in subject or "client" in subject for subject in mine.values())


def test_a_refusal_stops_background_work_but_no_interactive_call():
    """A sync waits, and so does the same grant's next one; a person who connects or refreshes does not."""
    world = World()
    connection = world.connect()
    world.work()
    world.vendor.add_items(*(item(number) for number in range(4)))
    world.vendor.before = lambda request: answer(status=429) if "items" in request.url else None
    job = world.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL)
    world.work()
    assert world.job(job).status is JobStatus.QUEUED
    world.vendor.log.clear()
    world.connectors.connect.refresh(TENANT, connection.id)
    world.connect()
    assert world.vendor.count("POST /oauth/token") == 2
    assert world.vendor.count("GET /api/items") == 0
    world.vendor.before = lambda request: None
    world.later(seconds=30)
    world.work()
    assert world.job(job).status is JobStatus.SUCCEEDED


def test_a_walk_keeps_to_its_budget():
    """However many pages there are, no minute sees more requests than the room allows, and all is read in the end."""
    world = World(limited(Budget(name="b", requests=6, per=MINUTE, burst=2)))
    connection = world.connect()
    world.work()
    world.vendor.add_items(*(item(number) for number in range(20)))
    sent = []
    world.vendor.before = lambda request: sent.append(world.clock.now()) if "/api/" in request.url else None
    job = world.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL)
    for _ in range(60):
        world.work()
        world.later(seconds=5)
    done = world.job(job)
    assert (done.status, done.progress.items, done.failures) == (JobStatus.SUCCEEDED, 20, 0)
    assert max(sum(start <= at < start + MINUTE for at in sent) for start in sent) <= 8
