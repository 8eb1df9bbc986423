"""The database of the simulation: rollback, READ COMMITTED, commits that fail, outages."""

from uuid import UUID

import attrs
import pytest

from connectors.domain.model.errors import InfrastructureError, TenantNotFoundError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.tenant import Tenant
from tests.simulation.ports.database import Database, Outage
from tests.simulation.schedule import EPOCH, Schedule, Trap
from tests.support.builders import TENANT, make_connection

pytestmark = pytest.mark.usefixtures("_tenant")


@pytest.fixture
def schedule():
    return Schedule(1, keep_trace=True)


@pytest.fixture
def database(schedule):
    return Database(schedule)


@pytest.fixture
def _tenant(database):
    with database.unit_of_work() as uow:
        uow.tenants.record(Tenant(id=TENANT, created_at=EPOCH))


def other(number):
    return Tenant(id=TenantId(UUID(int=number)), created_at=EPOCH)


def tenants(database):
    return {row.id.int for row in database.memory.tenants.values()} - {TENANT.int}


def play(schedule, *works):
    """Let them act, in the seed's order; no finding may come of it."""
    for number, work in enumerate(works):
        schedule.spawn(f"actor-{number}", work, process=f"p{number}.1")
    schedule.run(1000.0)
    assert schedule.findings == []


def test_a_transaction_that_raises_is_undone(schedule, database):
    """Nothing of it is left, and others can write."""

    def write_and_fail():
        with database.unit_of_work() as uow:
            uow.tenants.record(other(1))
            uow.tenants.get(other(2).id)

    def fail():
        with pytest.raises(TenantNotFoundError):
            write_and_fail()

    play(schedule, fail)
    assert tenants(database) == set()
    assert database.holder is None


def test_a_transaction_whose_process_dies_is_undone(schedule, database):
    """Before its commit nothing has happened."""

    def write():
        with database.unit_of_work() as uow:
            uow.tenants.record(other(1))

    schedule.arm(Trap(lambda _, label: label.startswith("commit:"), 1, lambda me, _: schedule.kill_process(me.process)))
    play(schedule, write)
    assert tenants(database) == set()
    assert database.holder is None


def counted(seed, *, lock):
    """Three add one to the same row at the same time; what is there afterwards."""
    schedule = Schedule(seed)
    database = Database(schedule)
    connection = make_connection()
    with database.unit_of_work() as uow:
        uow.tenants.record(Tenant(id=TENANT, created_at=EPOCH))
        uow.connections.save(connection)

    def add():
        with database.unit_of_work() as uow:
            row = uow.connections.get(TENANT, connection.id, lock=lock)
            uow.connections.save(attrs.evolve(row, metadata={"number": row.metadata.get("number", 0) + 1}))

    play(schedule, add, add, add)
    return database.memory.connections.get((TENANT, connection.id)).metadata["number"]


def test_who_reads_without_a_lock_can_lose_an_update():
    """Some order of steps overwrites a change; with a lock, none does."""
    assert min(counted(seed, lock=False) for seed in range(6)) < 3
    assert {counted(seed, lock=True) for seed in range(6)} == {3}


def test_readers_wait_for_a_writer(schedule, database):
    """What is not committed is seen by nobody."""
    seen = []

    def write():
        with database.unit_of_work() as uow:
            uow.tenants.record(other(1))
            schedule.sleep(10.0)

    def read():
        schedule.sleep(5.0)
        with database.unit_of_work() as uow:
            seen.append((uow.tenants.get(other(1).id).id.int, schedule.now))

    play(schedule, write, read)
    assert seen == [(1, 10.0)]


@pytest.mark.parametrize(("how", "left"), [("before", set()), ("after", {1})])
def test_a_commit_fails_before_or_after_it_happened(schedule, database, how, left):
    """Both raise the same, and only one has happened."""

    def write():
        with pytest.raises(InfrastructureError), database.unit_of_work() as uow:
            uow.tenants.record(other(1))

    def fail_next(actor, _label):
        actor.next_commit = how

    schedule.arm(Trap(lambda _, label: label == "commit:tenants.record", 1, fail_next))
    play(schedule, write)
    assert tenants(database) == left


def test_a_write_fails_for_a_while(schedule, database):
    """Commits with it fail, others do not, and afterwards none does."""
    database.failing_writes.append(Outage("tenants.record", 60.0))

    def write():
        for number in (1, 2):
            try:
                with database.unit_of_work() as uow:
                    uow.tenants.record(other(number))
            except InfrastructureError:
                schedule.sleep(100.0)

    play(schedule, write)
    assert tenants(database) == {2}


def test_an_outage_ends_open_transactions(schedule, database):
    """Who was in a transaction when the database went down has lost it, even if it came back before the next step."""
    outcomes = []

    def write():
        for number in (1, 2):
            try:
                with database.unit_of_work() as uow:
                    uow.tenants.record(other(number))
                    schedule.sleep(10.0)
                outcomes.append("kept")
            except InfrastructureError:
                outcomes.append("lost")

    schedule.spawn("fault", lambda: database.go_down(2.0), at=5.0)
    play(schedule, write)
    assert outcomes == ["lost", "kept"]
    assert tenants(database) == {2}


def test_nothing_reaches_a_database_that_is_down(schedule, database):
    """Not even the beginning of a transaction."""
    database.go_down(60.0)

    def begin():
        with pytest.raises(InfrastructureError), database.unit_of_work():
            pass

    play(schedule, begin)


def test_a_transaction_within_another_is_a_finding(schedule, database):
    """An actor that holds a transaction and begins another would wait for itself."""

    def nest():
        with database.unit_of_work() as outer:
            outer.tenants.record(other(1))
            with database.unit_of_work() as inner:
                inner.tenants.record(other(2))

    schedule.spawn("one", nest)
    schedule.run(10.0)
    schedule.end()
    assert [one.invariant for one in schedule.findings] == ["nested-transaction"]
