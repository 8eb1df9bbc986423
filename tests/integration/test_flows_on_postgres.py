"""The races that only a real database can lose: consents, refreshes and disconnections at once."""

import threading
from functools import partial

import pytest

from connectors.adapters.postgres.unit_of_work import postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import SubscriptionStatus
from tests.support.builders import NOW, TENANT
from tests.support.world import StillClock, World, created, item


@pytest.fixture
def world(clean_engine, monkeypatch):
    """The system in memory, except that what is kept is kept in PostgreSQL."""
    monkeypatch.setattr(
        "connectors.entrypoints.in_memory.memory_unit_of_work",
        lambda database: postgres_unit_of_work(clean_engine, ProcrastinateJobQueue, database.now),
    )
    world = World(clock=StillClock(NOW))
    world.vendor.accounts["ada"] += [{"id": "a-2", "name": "two", "email": "ada@acme.test"}]
    return world


def at_once(*calls):
    """Run them together; what each returned or raised."""
    gate, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index, call):
        gate.wait()
        try:
            results[index] = call()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[index] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(calls)]
    [one.start() for one in threads]
    [one.join(30) for one in threads]
    return results


def test_the_journey(world):
    """Connect, deliver, sync, replay, look after the hook, disconnect."""
    connection = world.connect()
    hook = world.hook(connection)
    world.deliver(created(), secret=hook["secret"], hook=hook["id"])
    world.vendor.add_items(item(1), item(2))
    for job in world.jobs()[::-1]:
        assert world.connectors.sync.run(TENANT, job.id).status is JobStatus.SUCCEEDED
    (row,) = world.deliveries()
    assert world.connectors.ingest.replay(TENANT, row.id).signal_count == 1
    assert len(world.signals()) == 2
    assert [one.status for one in world.connectors.maintenance.maintain(TENANT, connection.id)] == [
        SubscriptionStatus.ACTIVE
    ]
    assert world.connectors.disconnect.end_connection(TENANT, connection.id).status is ConnectionStatus.REVOKED


def test_consents_racing_give_one_connection(world):
    """Consents of one user at once all succeed: one grant, its tokens readable, one connection for each account."""
    queries = [world.vendor.consent(world.start().authorize_url) for _ in range(4)]
    results = at_once(*(partial(world.finish, query) for query in queries))
    assert [repr(one) for one in results if not isinstance(one, tuple)] == []
    connections = world.connectors.queries.list_connections(TENANT).items
    assert (len(connections), len({one.grant_id for one in connections})) == (2, 1)
    assert world.tokens(connections[0]).access_token.reveal() in {one.access for one in world.vendor.families}


def test_callbacks_racing_give_one_answer(world):
    """Callbacks with one state at once all get the same connections, and one of them exchanges the code."""
    query = world.vendor.consent(world.start().authorize_url)
    results = at_once(*[partial(world.finish, query)] * 8)
    assert [repr(one) for one in results if not isinstance(one, tuple)] == []
    assert len({tuple(one.id for one in connections) for connections in results}) == 1
    assert world.vendor.count("POST /oauth/token") == 1


def test_a_failure_is_told_to_all_racing_callbacks(world):
    """Callbacks with one state at once all get the same error, as it was stored."""
    query = world.vendor.consent(world.start().authorize_url, scope="admin")
    results = at_once(*[partial(world.finish, query)] * 8)
    assert {(one.code, one.message, one.next_step) for one in results} == {
        (
            "REAUTHORIZATION_REQUIRED",
            "The user did not grant what this connection needs: items:read.",
            "Start again with POST /connect/{provider}.",
        )
    }
    assert world.vendor.count("POST /oauth/token") == 1


def test_refreshing_and_disconnecting_at_once(world):
    """However they meet, nothing deadlocks, one call refreshes, and what was disconnected stays so."""
    for _ in range(5):
        one, two = world.finish(world.vendor.consent(world.start().authorize_url))
        world.later(hours=1)
        world.vendor.log.clear()
        results = at_once(
            *[partial(world.keeper.fresh_tokens, TENANT, two.grant_id)] * 4,
            partial(world.connectors.disconnect.end_connection, TENANT, one.id),
        )
        assert [repr(error) for error in results if isinstance(error, Exception)] == []
        ended = world.reload(one)
        assert (ended.status, ended.grant_id) == (ConnectionStatus.REVOKED, None)
        assert world.reload(two).status is ConnectionStatus.ACTIVE
        assert world.vendor.count("POST /oauth/token") == 1


def test_schedulers_at_once_queue_everything_once(world, queue):
    """Whoever looks first, each connection gets one read and one look at its subscriptions after however long."""
    connections = world.finish(world.vendor.consent(world.start().authorize_url))
    for job in world.jobs():
        world.connectors.jobs.cancel(TENANT, job.id)
    queue.empty()
    world.later(hours=10)
    results = at_once(*[world.connectors.schedule.tick] * 4)
    assert [repr(one) for one in results if not isinstance(one, int)] == []
    queued = [one for one in world.jobs() if one.status is JobStatus.QUEUED]
    assert sorted((one.connection_id, one.type) for one in queued) == sorted(
        (one.id, JobType.INCREMENTAL) for one in connections
    )
    waiting = [task for task, _ in queue.waiting()]
    assert sorted(one.subject_id for one in waiting if one.kind is TaskKind.READ) == sorted(
        one.id for one in connections
    )
    assert sorted(one.subject_id for one in waiting if one.kind is TaskKind.MAINTAIN) == sorted(
        one.id for one in connections
    )


def test_requests_under_one_key_at_once_make_one_job(world, queue):
    """Callers that repeat themselves before they were answered get the same job, which has one task."""
    connection = world.connect()
    for job in world.jobs():
        world.connectors.jobs.cancel(TENANT, job.id)
    queue.empty()
    ask = partial(
        world.connectors.jobs.request, TENANT, connection.id, JobType.BACKFILL, idempotency_key="one", target="x"
    )
    results = at_once(*[ask] * 4)
    assert [repr(one) for one in results if isinstance(one, Exception)] == []
    assert len({one.id for one in results}) == len(queue.waiting()) == 1
