"""The vendors' limits, kept by all workers together."""

from datetime import timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.clock import ManualClock
from connectors.domain.flows.provider_access.rate_limits import (
    FIRST_REQUEST_MAX_WAIT,
    LATER_REQUEST_MAX_WAIT,
    RESERVE,
    RateLimiter,
    limit_subjects,
)
from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.ports.telemetry import NullTelemetry
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

    def limiter(self, grant="g", account="a", app="app", provider=None):
        return RateLimiter(
            unit_of_work=self.unit_of_work,
            clock=self.clock,
            telemetry=NullTelemetry(),
            provider=provider or self.provider,
            subjects={LimitScope.GRANT: grant, LimitScope.ACCOUNT: account, LimitScope.APP: app},
        )

    def admits(self, limiter):
        """Whether a page's first request goes out now."""
        before = self.clock.now()
        limiter.begin()
        try:
            limiter.admit(REQUEST)
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
    budget = Budget(name="b", limit_scope=LimitScope.APP, requests=requests, per=MINUTE, burst=burst, cost=cost)
    road = Road(budget)
    meters = [road.limiter(grant=str(number)) for number in range(4)]
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
    meters, sent = [road.limiter(), road.limiter()], []
    while road.clock.now() < NOW + 5 * MINUTE:
        for limiter in meters:
            limiter.begin()
            try:
                limiter.admit(REQUEST)
            except RateLimitedError as error:
                road.clock.advance(error.retry_at - road.clock.now())
            else:
                sent.append(road.clock.now())
    assert 300 <= len(sent) <= 306
    assert all(later >= earlier for earlier, later in pairwise(sent))


def test_short_waits_are_slept_and_long_ones_told():
    """A page's first request waits a second here, the others up to fifteen; beyond that it is the job that waits."""
    for under_way, max_wait in ((False, FIRST_REQUEST_MAX_WAIT), (True, LATER_REQUEST_MAX_WAIT)):
        for wait, is_slept in ((max_wait, True), (max_wait + timedelta(seconds=1), False)):
            road = Road(Budget(name="b", requests=1, per=wait))
            assert road.admits(road.limiter())
            limiter = road.limiter()
            limiter.is_under_way = under_way
            before = road.clock.now()
            if is_slept:
                limiter.admit(REQUEST)
                assert road.clock.now() - before == wait
            else:
                with pytest.raises(RateLimitedError) as caught:
                    limiter.admit(REQUEST)
                assert (caught.value.retry_at - before, road.clock.now()) == (wait, before)


def test_who_gives_up_takes_nobodys_place():
    """A request that was not sent has spent nothing, of none of its budgets."""
    slow, quick = Budget(name="slow", requests=1, per=MINUTE), Budget(name="quick", requests=1, per=MINUTE / 4)
    road = Road(slow, quick)
    assert road.admits(road.limiter())
    road.clock.advance(MINUTE / 2)
    assert not road.admits(road.limiter())
    only = road.limiter(provider=limited(quick))
    assert road.admits(only)


@pytest.mark.parametrize(
    ("limit_scope", "same", "is_shared"),
    [
        (LimitScope.GRANT, {"grant": "g"}, True),
        (LimitScope.GRANT, {"account": "a", "app": "app"}, False),
        (LimitScope.ACCOUNT, {"account": "a"}, True),
        (LimitScope.ACCOUNT, {"grant": "g", "app": "app"}, False),
        (LimitScope.APP, {"app": "app"}, True),
        (LimitScope.APP, {"grant": "g", "account": "a"}, False),
    ],
)
def test_whose_requests_count_together(limit_scope, same, is_shared):
    """Those that the budget's reach names, and no others."""
    road = Road(Budget(name="b", limit_scope=limit_scope, requests=1, per=MINUTE))
    others = {"grant": "g2", "account": "a2", "app": "app2", **same}
    assert road.admits(road.limiter())
    assert road.admits(road.limiter(**others)) is not is_shared


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_scope", list(LimitScope))
def test_a_refusal_holds_back_whom_it_concerns(limit_scope):
    """All workers of the same grant, account or app wait, until the vendor's instant; nobody else does."""
    road = Road()
    limiter = road.limiter()
    limiter.record_refusal(refusal(road, limit_scope=limit_scope))
    subjects = {"grant": "g", "account": "a", "app": "app"}
    other = dict.fromkeys(subjects, "other")
    assert not road.admits(road.limiter())
    assert not road.admits(road.limiter(**{**other, str(limit_scope): subjects[str(limit_scope)]}))
    assert road.admits(road.limiter(**{**subjects, str(limit_scope): "other"}))
    road.clock.advance(timedelta(seconds=30))
    assert road.admits(road.limiter())


def test_a_refusal_of_one_budget_holds_back_what_counts_against_it():
    """Other requests of the same grant go on; a budget that counts nothing still heeds the vendor's word."""
    search = Budget(name="search")
    road = Road(search)
    road.limiter().record_refusal(refusal(road, scope="search"))
    assert not road.admits(road.limiter())
    assert road.admits(road.limiter(provider=limited()))
    assert road.admits(road.limiter(provider=limited(Budget(name="core"))))


def test_another_vendor_is_another_matter():
    """Pauses are the provider's."""
    road = Road()
    road.limiter().record_refusal(refusal(road, limit_scope=LimitScope.APP))
    assert road.admits(road.limiter(provider=attrs.evolve(ACME, slug="other")))


def test_a_shorter_refusal_does_not_end_a_longer_one():
    """The latest instant counts, in whatever order they came."""
    road = Road()
    limiter = road.limiter()
    limiter.record_refusal(refusal(road, wait=60))
    limiter.record_refusal(refusal(road, wait=5))
    road.clock.advance(timedelta(seconds=59))
    assert [road.admits(road.limiter()), road.clock.now() - NOW] == [True, timedelta(seconds=60)]


def test_the_reserve_is_left_to_others():
    """Who has seen that only the reserve is left asks for nothing more, nor does other background work."""
    road = Road()
    limiter = road.limiter()
    error = refusal(road, scope=RESERVE)
    limiter.record_refusal(error)
    with pytest.raises(RateLimitedError) as caught:
        limiter.admit(REQUEST)
    assert caught.value is error
    assert not road.admits(road.limiter())
    assert road.admits(road.limiter(grant="other"))


# --- in the engine ---------------------------------------------------------------------------------------------------


def test_whose_limits_a_connection_uses():
    """Connections of one grant, one account at one app, or one app share; ids of other systems are not shown."""
    app = ProviderApp(provider=SLUG, client_id="client", client_secret=Secret("s"))
    one = make_connection(account=make_account(id="secret-account"))
    same_grant = make_connection(grant_id=one.grant_id)
    same_account = make_connection(account=one.account)
    mine, theirs = limit_subjects(app, one), limit_subjects(attrs.evolve(app, client_id="client-2"), same_account)
    assert limit_subjects(app, same_grant)[LimitScope.GRANT] == mine[LimitScope.GRANT]
    assert limit_subjects(app, same_account)[LimitScope.ACCOUNT] == mine[LimitScope.ACCOUNT]
    assert limit_subjects(app, same_account)[LimitScope.GRANT] != mine[LimitScope.GRANT]
    assert (theirs[LimitScope.ACCOUNT] != mine[LimitScope.ACCOUNT], theirs[LimitScope.APP] != mine[LimitScope.APP]) == (
        True,
        True,
    )
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
    """However many pages there are, no minute sees more requests than the package allows, and all is read in the end."""
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
