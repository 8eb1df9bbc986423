"""What only several transactions at once can show, and only PostgreSQL can get wrong."""

from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy import text

from connectors.adapters.postgres import create_engine, postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.limits import Budget, reservation_for
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded
from tests.support.builders import NOW, OTHER_TENANT, make_schedule_entry, make_task, make_tenant


@pytest.fixture
def unit_of_work(clean_engine):
    unit_of_work = postgres_unit_of_work(clean_engine, ProcrastinateJobQueue)
    with unit_of_work() as work:
        work.tenants.record(make_tenant())
        work.tenants.record(make_tenant(id=OTHER_TENANT))
    return unit_of_work


def test_schedulers_neither_share_schedule_entries_nor_wait(unit_of_work):
    """While one holds what is due, others get the rest at once; what it did not move is due again when it has ended."""
    planned = [make_schedule_entry(next_at=NOW - timedelta(seconds=9 - n)) for n in range(5)]
    with unit_of_work() as work:
        for one in planned:
            work.schedules.plan(one)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(unit_of_work()) for _ in range(3))
        assert first.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=2) == planned[:2]
        assert second.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=2) == planned[2:4]
        assert third.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=9) == planned[4:]
    with unit_of_work() as work:
        assert work.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=9) == planned


def test_a_task_is_nobodys_before_the_commit(unit_of_work, queue):
    """No worker can take a task whose row it could not find yet."""
    task = make_task()
    with unit_of_work() as work:
        assert work.queue.put(task) is Recorded.NEW
        assert queue.waiting() == []
    assert [one.subject_id for one, _ in queue.waiting()] == [task.subject_id]


def test_a_sweep_between_two_statements_lets_nobody_through(unit_of_work, monkeypatch):
    """A budget's row that is swept away while a request reserves from it is made again, and counts."""
    reservation = reservation_for(Budget(name="calls", requests=60), "k")
    later = NOW + timedelta(days=1)
    with unit_of_work() as work:
        work.limits.reserve_all([reservation], now=NOW, max_wait=timedelta(0))
    with unit_of_work() as work:
        load = work.limits._load

        def swept(keys, *, is_locked):
            monkeypatch.setattr(work.limits, "_load", load)
            with unit_of_work() as other:
                assert other.limits.sweep(now=later) == 1
            return load(keys, is_locked=is_locked)

        monkeypatch.setattr(work.limits, "_load", swept)
        assert work.limits.reserve_all([reservation], now=later, max_wait=timedelta(0)) == later
    with unit_of_work() as work:
        assert work.limits.reserve_all([reservation], now=later, max_wait=timedelta(0)) == later + timedelta(seconds=1)


def test_a_queue_that_is_gone_is_an_infrastructure_error(postgres_url, postgres_engine):
    """When the connection breaks under a put, callers hear of it in our words."""
    engine = create_engine(postgres_url)
    work = postgres_unit_of_work(engine, ProcrastinateJobQueue)().__enter__()
    pid = work.connection.scalar(text("SELECT pg_backend_pid()"))
    with postgres_engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with pytest.raises(InfrastructureError) as caught:
        work.queue.put(make_task())
    work.__exit__(InfrastructureError, caught.value, None)
    engine.dispose()
