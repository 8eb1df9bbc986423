"""Statistics for operators."""

from datetime import timedelta

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.sync import JobStatus, JobType
from tests.support.provider import SLUG
from tests.support.world import World


def test_counts():
    """Connections, subscriptions and jobs are counted over all tenants, and the oldest waiting job's age is given."""
    world = World()
    world.connect()
    world.clock.advance(timedelta(seconds=40))
    found = world.connectors.statistics.collect()
    assert found.connections == {(SLUG, ConnectionStatus.ACTIVE): 1}
    assert sum(found.subscriptions.values()) == 1
    assert found.unfinished_jobs == {
        (SLUG, JobType.INCREMENTAL, JobStatus.QUEUED): 1,
        (SLUG, JobType.BACKFILL, JobStatus.QUEUED): 1,
    }
    assert found.longest_waits == {SLUG: timedelta(seconds=40)}
    assert found.open_gaps == 0
    world.work()
    assert world.connectors.statistics.collect().longest_waits == {}
