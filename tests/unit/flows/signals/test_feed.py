"""The feed of signals."""

from datetime import timedelta

import pytest

from connectors.domain.flows.signals.feed import FULL_LOOKBACK
from connectors.domain.model.errors import ConnectionNotFoundError, TenantNotFoundError
from connectors.domain.model.ids import ConnectionId, SignalId
from connectors.domain.model.signal import SignalFilter, SignalKind
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id, make_signal
from tests.support.world import World


class Arrivals:
    """A tenant whose signals arrive when a test says so."""

    def __init__(self):
        self.world = World()
        self.world.known()
        self.queries = self.world.connectors.queries

    def arrive(self, *, made_ago=0.0, **changes):
        """Make a signal visible now, its id made so many seconds ago."""
        made_at = self.world.clock.now() - timedelta(seconds=made_ago)
        signal = make_signal(id=SignalId(self.world.connectors.jobs.entropy.uuid7(made_at)), **changes)
        with self.world.uow() as uow:
            uow.signals.record_all([signal])
        return signal.id

    def feed(self, since=None, **where):
        return self.queries.feed(TENANT, SignalFilter(**where), since=since)


def ids(signals):
    return [one.id for one in signals]


@pytest.fixture
def arrivals():
    return Arrivals()


def test_only_new_signals(arrivals):
    """Existing signals are left out; new ones are given once, in the order of arrival, whenever they occurred."""
    arrivals.arrive()
    feed = arrivals.feed()
    assert ids(feed.poll()) == []
    first = arrivals.arrive(occurred_at=NOW)
    second = arrivals.arrive(occurred_at=NOW - timedelta(days=400))
    assert ids(feed.poll()) == [first, second]
    assert ids(feed.poll()) == []


@pytest.mark.parametrize("late", [0.5, 30, 59])
def test_late_commits_are_not_missed(arrivals, late):
    """A signal that becomes visible up to a minute after younger ones is given within seconds, and once."""
    feed, given = arrivals.feed(), []
    for second in range(20):
        arrivals.world.later(seconds=1)
        arrivals.arrive()
        if second == 9:
            late_one = arrivals.arrive(made_ago=late)
        given += ids(feed.poll())
    assert len(given) == len(set(given)) == 21
    assert late_one in given[: 10 + 1 + 6]


def test_a_pause_between_polls_loses_nothing(arrivals):
    """However long the pause, the next poll begins where the previous one ended."""
    feed = arrivals.feed()
    made = []
    for _ in range(10):
        arrivals.world.later(seconds=60)
        made.append(arrivals.arrive())
    assert ids(feed.poll()) == made
    assert ids(feed.poll()) == []


@pytest.mark.parametrize("ago", [1, 63, 3600])
def test_since(arrivals, ago):
    """With `since`, the feed gives all that has arrived from then on, and nothing earlier."""
    arrivals.arrive(made_ago=ago + 1)
    made = [arrivals.arrive(made_ago=ago * share) for share in (0.9, 0.5, 0)]
    feed = arrivals.feed(since=arrivals.world.clock.now() - timedelta(seconds=ago))
    given = ids(feed.poll())
    arrivals.world.later(seconds=FULL_LOOKBACK.total_seconds())
    assert given + ids(feed.poll()) == made


def test_filters_and_tenants(arrivals):
    """Only the tenant's own signals that match the filter are given."""
    arrivals.world.known(OTHER_TENANT)
    feed = arrivals.feed(provider=SLACK, kind=SignalKind.MESSAGE_POSTED)
    wanted = arrivals.arrive(provider=SLACK, kind=SignalKind.MESSAGE_POSTED)
    arrivals.arrive(provider=SLACK, kind=SignalKind.ISSUE_CREATED)
    arrivals.arrive(provider=GITHUB, kind=SignalKind.MESSAGE_POSTED)
    arrivals.arrive(provider=SLACK, kind=SignalKind.MESSAGE_POSTED, tenant_id=OTHER_TENANT)
    assert ids(feed.poll()) == [wanted]


def test_unknown(arrivals):
    """An unknown tenant or connection is an error."""
    with pytest.raises(TenantNotFoundError):
        arrivals.queries.feed(OTHER_TENANT)
    with pytest.raises(ConnectionNotFoundError):
        arrivals.feed(connection_id=ConnectionId(make_id()))
