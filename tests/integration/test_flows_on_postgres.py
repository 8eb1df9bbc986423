"""The races that only a real database can lose: consents, refreshes and disconnections at once."""

import threading
from functools import partial

import pytest

from connectors.adapters.postgres.unit_of_work import postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.flows.connections.authorization import Authorizations
from connectors.domain.flows.connections.tenants import TenantFlow
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.oauth import GrantState
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


def end_what_is_due(world):
    """What workers do within hours about that which has to go at its vendor."""
    for _ in range(3):
        world.later(hours=1)
        with world.uow() as uow:
            due = uow.schedules.lock_due(TaskKind.END, now=world.clock.now(), limit=99)
        for entry in due:
            world.connectors.connect.endings.end(entry.tenant_id, entry.subject_id)


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
    """Consents of one user at once all succeed: one connection for each account, and the tokens of one at the vendor."""
    queries = [world.vendor.consent(world.start().authorize_url) for _ in range(4)]
    results = at_once(*(partial(world.finish, query) for query in queries))
    assert [repr(one) for one in results if not isinstance(one, tuple)] == []
    connections = world.connectors.queries.list_connections(TENANT).items
    assert (len(connections), len({one.grant_id for one in connections})) == (2, 1)
    (alive,) = [one for one in world.vendor.families if not one.dead]
    assert world.tokens(connections[0]).access_token.reveal() == alive.access
    with world.uow() as uow:
        assert {state for _, state in uow.grants.count_by_state()} == {GrantState.LIVE}


def test_a_consent_and_an_erasure_at_once_leave_nothing(world):
    """Whichever is first, no connection of an erased tenant lives, and none of its tokens at the vendor."""
    for _ in range(5):
        queries = [world.vendor.consent(world.start().authorize_url) for _ in range(3)]
        at_once(*(partial(world.finish, query) for query in queries), partial(world.connectors.tenants.erase, TENANT))
        with world.uow() as uow:
            assert {one.status for one in uow.connections.list_all()} <= {ConnectionStatus.REVOKED}
            assert {state for _, state in uow.grants.count_by_state()} <= {GrantState.NEW, GrantState.ENDING}
        end_what_is_due(world)
        assert [one for one in world.vendor.families if not one.dead] == []
        assert world.vendor.live_hooks() == []
        world.connectors.tenants.ensure(TENANT)


def test_an_erasure_ends_a_consent_that_is_being_stored(world, monkeypatch):
    """A consent that is not committed yet when its tenant is erased is ended by that erasure."""
    is_stored, is_listed = threading.Event(), threading.Event()
    finish, connections = Authorizations.finish, TenantFlow._connections

    def wait_for_the_erasure(*given):
        finished = finish(*given)
        is_stored.set()
        is_listed.wait(0.5)
        return finished

    def tell(*given):
        found = connections(*given)
        is_listed.set()
        return found

    monkeypatch.setattr(Authorizations, "finish", wait_for_the_erasure)
    monkeypatch.setattr(TenantFlow, "_connections", tell)
    query = world.vendor.consent(world.start().authorize_url)
    results = at_once(
        partial(world.finish, query), lambda: is_stored.wait(30) and world.connectors.tenants.erase(TENANT)
    )
    assert [repr(one) for one in results if isinstance(one, Exception)] == []
    with world.uow() as uow:
        assert {one.status for one in uow.connections.list_all()} == {ConnectionStatus.REVOKED}
    end_what_is_due(world)
    assert [one for one in world.vendor.families if not one.dead] == []
    assert world.vendor.live_hooks() == []


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
        assert ended.status is ConnectionStatus.REVOKED
        assert world.reload(two).status is ConnectionStatus.ACTIVE
        assert world.vendor.count("POST /oauth/token") == 1


def test_connecting_and_disconnecting_at_once(world):
    """However they meet, nothing fails, and the vendor has the tokens and hooks of the connections that live."""
    for _ in range(5):
        one, two = world.finish(world.vendor.consent(world.start().authorize_url))
        queries = [world.vendor.consent(world.start().authorize_url) for _ in range(2)]
        results = at_once(
            *(partial(world.finish, query) for query in queries),
            *(partial(world.connectors.disconnect.end_connection, TENANT, each.id) for each in (one, two)),
        )
        assert [repr(error) for error in results if isinstance(error, Exception)] == []
        end_what_is_due(world)
        living = [each for each in map(world.reload, (one, two)) if each.status is ConnectionStatus.ACTIVE]
        alive = [family.access for family in world.vendor.families if not family.dead]
        assert alive == sorted({world.tokens(each).access_token.reveal() for each in living})
        named = {
            row.external_id
            for each in living
            for row in world.subscriptions(each)
            if row.status in {SubscriptionStatus.ACTIVE, SubscriptionStatus.PENDING}
        }
        assert {hook["id"] for hook in world.vendor.live_hooks()} <= named
        with world.uow() as uow:
            assert {state for _, state in uow.grants.count_by_state()} <= {GrantState.LIVE}


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
