"""The vendors' rate limits, kept by all workers together."""

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
    """Acme with these budgets for every request."""
    return attrs.evolve(ACME, limits=attrs.evolve(ACME.limits, budgets=lambda request: budgets))


class Limits:
    """One memory database of limits, and rate limiters of many workers on it."""

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
        """Whether a page's first request may be sent, now or after a short wait."""
        before = self.clock.now()
        limiter.begin()
        try:
            limiter.admit(REQUEST)
        except RateLimitedError:
            assert self.clock.now() == before
            return False
        return True


def refusal(limits, *, wait=30, **changes):
    return RateLimitedError("Slower.", retry_at=limits.clock.now() + timedelta(seconds=wait), **changes)


# --- budgets ---------------------------------------------------------------------------------------------------------


@given(
    requests=st.integers(1, 20),
    burst=st.integers(1, 10),
    cost=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=80),
)
def test_a_budget_is_never_exceeded(requests, burst, cost, steps):
    """In any period of its length, all workers together send no more than the budget's requests and its burst."""
    budget = Budget(name="b", limit_scope=LimitScope.APP, requests=requests, per=MINUTE, burst=burst, cost=cost)
    limits = Limits(budget)
    limiters = [limits.limiter(grant=str(number)) for number in range(4)]
    sent = []
    for worker, seconds, is_first in steps:
        limits.clock.advance(timedelta(seconds=seconds))
        limiters[worker].is_under_way = not is_first
        try:
            limiters[worker].admit(REQUEST)
        except RateLimitedError:
            continue
        sent.append(limits.clock.now())
    for start in sent:
        used = cost * sum(start <= at < start + MINUTE for at in sent)
        assert used <= requests + max(burst - 1, 0) + cost


def test_all_that_is_allowed_is_used():
    """A worker that tries again at the given time is admitted, so a limit of sixty a minute is used in full."""
    limits = Limits(Budget(name="b", requests=60, per=MINUTE, burst=5))
    limiters, sent = [limits.limiter(), limits.limiter()], []
    while limits.clock.now() < NOW + 5 * MINUTE:
        for limiter in limiters:
            limiter.begin()
            try:
                limiter.admit(REQUEST)
            except RateLimitedError as error:
                limits.clock.advance(error.retry_at - limits.clock.now())
            else:
                sent.append(limits.clock.now())
    assert 300 <= len(sent) <= 306
    assert all(later >= earlier for earlier, later in pairwise(sent))


def test_short_waits_are_slept_and_long_ones_raised():
    """A page's first request waits up to two seconds here and later ones up to fifteen; a longer wait is an error."""
    for under_way, max_wait in ((False, FIRST_REQUEST_MAX_WAIT), (True, LATER_REQUEST_MAX_WAIT)):
        for wait, is_slept in ((max_wait, True), (max_wait + timedelta(seconds=1), False)):
            limits = Limits(Budget(name="b", requests=1, per=wait))
            assert limits.admits(limits.limiter())
            limiter = limits.limiter()
            limiter.is_under_way = under_way
            before = limits.clock.now()
            if is_slept:
                limiter.admit(REQUEST)
                assert limits.clock.now() - before == wait
            else:
                with pytest.raises(RateLimitedError) as caught:
                    limiter.admit(REQUEST)
                assert (caught.value.retry_at - before, limits.clock.now()) == (wait, before)


def test_a_refused_request_reserves_nothing():
    """A request that was not sent has used none of its budgets."""
    slow, quick = Budget(name="slow", requests=1, per=MINUTE), Budget(name="quick", requests=1, per=MINUTE / 4)
    limits = Limits(slow, quick)
    assert limits.admits(limits.limiter())
    limits.clock.advance(MINUTE / 2)
    assert not limits.admits(limits.limiter())
    only = limits.limiter(provider=limited(quick))
    assert limits.admits(only)


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
    """Requests of the budget's limit scope count together, and no others."""
    limits = Limits(Budget(name="b", limit_scope=limit_scope, requests=1, per=MINUTE))
    others = {"grant": "g2", "account": "a2", "app": "app2", **same}
    assert limits.admits(limits.limiter())
    assert limits.admits(limits.limiter(**others)) is not is_shared


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_scope", list(LimitScope))
def test_a_refusal_pauses_its_limit_scope(limit_scope):
    """All workers of the same grant, account or app wait until the vendor's time, and no others."""
    limits = Limits()
    limiter = limits.limiter()
    limiter.record_refusal(refusal(limits, limit_scope=limit_scope))
    subjects = {"grant": "g", "account": "a", "app": "app"}
    other = dict.fromkeys(subjects, "other")
    assert not limits.admits(limits.limiter())
    assert not limits.admits(limits.limiter(**{**other, str(limit_scope): subjects[str(limit_scope)]}))
    assert limits.admits(limits.limiter(**{**subjects, str(limit_scope): "other"}))
    limits.clock.advance(timedelta(seconds=30))
    assert limits.admits(limits.limiter())


def test_a_refusal_of_one_budget_pauses_its_requests():
    """Other requests of the same grant continue; the pause also holds for a budget without a number."""
    search = Budget(name="search")
    limits = Limits(search)
    limits.limiter().record_refusal(refusal(limits, scope="search"))
    assert not limits.admits(limits.limiter())
    assert limits.admits(limits.limiter(provider=limited()))
    assert limits.admits(limits.limiter(provider=limited(Budget(name="core"))))


def test_pauses_are_per_provider():
    """One provider's refusal does not pause another."""
    limits = Limits()
    limits.limiter().record_refusal(refusal(limits, limit_scope=LimitScope.APP))
    assert limits.admits(limits.limiter(provider=attrs.evolve(ACME, slug="other")))


def test_a_shorter_refusal_does_not_end_a_longer_one():
    """The latest time counts, in whatever order the refusals came."""
    limits = Limits()
    limiter = limits.limiter()
    limiter.record_refusal(refusal(limits, wait=60))
    limiter.record_refusal(refusal(limits, wait=5))
    limits.clock.advance(timedelta(seconds=59))
    assert [limits.admits(limits.limiter()), limits.clock.now() - NOW] == [True, timedelta(seconds=60)]


def test_background_work_does_not_use_the_reserve():
    """Once only the reserve is left, neither this limiter nor other background work of the grant sends a request."""
    limits = Limits()
    limiter = limits.limiter()
    error = refusal(limits, scope=RESERVE)
    limiter.record_refusal(error)
    with pytest.raises(RateLimitedError) as caught:
        limiter.admit(REQUEST)
    assert caught.value is error
    assert not limits.admits(limits.limiter())
    assert limits.admits(limits.limiter(grant="other"))


# --- in the engine ---------------------------------------------------------------------------------------------------


def test_whose_limits_a_connection_uses():
    """Connections of one grant, of one account at one app, or of one app share limits; foreign ids are not shown."""
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
    """Reading with the same grant waits; connecting and refreshing do not."""
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


def test_a_sync_run_keeps_within_its_budget():
    """No minute has more requests than the package allows, and all pages are read in the end."""
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
    assert (done.status, done.progress.items, done.attempts) == (JobStatus.SUCCEEDED, 20, 1)
    assert world.stream(connection, "account").backfill.failures == 0
    assert max(sum(start <= at < start + MINUTE for at in sent) for start in sent) <= 8
