"""Running tasks never raises, loses nothing, and does not busy-loop."""

import logging
from datetime import timedelta
from itertools import accumulate
from math import ceil
from threading import Event

import attrs
import pytest
import structlog

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.errors import InfrastructureError, VaultError
from connectors.domain.model.ids import ConnectionId, GrantId, JobId
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind, maintenance_task, proof_task, read_task, refresh_task
from connectors.domain.model.trace import TRACE_ID
from connectors.entrypoints.task_handler import REQUEUE_PAUSES
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_id
from tests.support.world import World

KINDS = (TaskKind.READ, TaskKind.MAINTAIN, TaskKind.REFRESH, TaskKind.PROVE)


class Raising:
    """A flow, or a unit of work, that fails."""

    def __init__(self, error, times=None):
        self.error, self.times, self.calls = error, times, 0

    def __getattr__(self, name):
        return self._fail

    def __call__(self, *args, **options):
        self._fail()

    def _fail(self, *args, **options):
        self.calls += 1
        raise self.error


class Stopwatch(ManualClock):
    """A clock that records how long its sleepers slept, and sets `stopping` after some of it."""

    def __init__(self, *, stops_after=None):
        super().__init__(NOW)
        self.slept, self.stopping, self.stops_after = [], Event(), stops_after

    def sleep(self, duration):
        super().sleep(duration)
        self.slept.append(duration)
        if self.stops_after is not None and sum(self.slept, timedelta(0)) >= self.stops_after:
            self.stopping.set()


class Bench:
    """A connection whose first reads are done, and a task handler whose parts can be made to fail."""

    def __init__(self):
        self.world = World()
        self.connection = self.world.connect()
        self.world.work()
        self.handler = self.world.connectors.tasks

    def subject(self, task):
        match task:
            case TaskKind.READ:
                self.world.connectors.jobs.request(TENANT, self.connection.id, JobType.BACKFILL)
                return self.connection.id
            case TaskKind.MAINTAIN:
                return self.connection.id
            case TaskKind.PROVE:
                with self.world.uow() as uow:
                    uow.connections.save(attrs.evolve(self.connection, suspected_at=NOW))
                return self.connection.id
            case _:
                return self.connection.grant_id

    def broken(self, task, error, **changes):
        """The handler, whose flow for such tasks raises the error."""
        part = {
            TaskKind.READ: "sync",
            TaskKind.MAINTAIN: "maintenance",
            TaskKind.REFRESH: "keeper",
            TaskKind.PROVE: "proof",
        }[task]
        return attrs.evolve(self.handler, **{part: Raising(error), **changes})

    def take(self):
        """All queued tasks, taken out of the queue."""
        with self.world.uow() as uow:
            rows = list(uow.queue._rows.values())
            for row in rows:
                uow.queue._rows.remove((row.task.tenant_id, row.number))
        return [row.task for row in rows]

    def waits(self):
        """How long each queued task still waits."""
        return [due_at - self.world.clock.now() for _, due_at in self.world.tasks()]


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_is_run_by_its_flow(bench, kind):
    """A connection is read, another one maintained, a grant refreshed, a suspicion proven."""
    subject = bench.subject(kind)
    bench.world.vendor.log.clear()
    bench.handler.handle(kind, TENANT, subject)
    call = {
        TaskKind.READ: "GET /api/items",
        TaskKind.MAINTAIN: "GET /api/targets",
        TaskKind.REFRESH: "POST /oauth/token",
        TaskKind.PROVE: "GET /api/accounts",
    }[kind]
    assert bench.world.vendor.count(call) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_survives_a_database_error(bench, kind):
    """After a database error the task is queued again with a short delay; the retry succeeds."""
    subject = bench.subject(kind)
    bench.take()
    bench.broken(kind, InfrastructureError("The database is gone.")).handle(kind, TENANT, subject)
    (queued,) = [one for one, _ in bench.world.tasks()]
    assert (queued.kind, queued.subject_id) == (kind, subject)
    assert all(timedelta(0) < wait <= timedelta(seconds=5) for wait in bench.waits())
    bench.world.later(seconds=5)
    bench.world.work()
    assert bench.world.tasks() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyError("a bug"), VaultError("There is no such key.")])
def test_what_does_not_recover_by_itself_is_retried_slowly(bench, kind, error, caplog):
    """After a bug, or with a missing key, operators get an error line and the retry waits a minute."""
    subject = bench.subject(kind)
    bench.take()
    bench.broken(kind, error).handle(kind, TENANT, subject)
    assert all(wait >= timedelta(minutes=1) for wait in bench.waits())
    assert [record.levelno for record in caplog.records if record.levelno >= logging.ERROR]
    assert "a bug" not in caplog.messages


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_whose_subject_is_gone_is_dropped(bench, kind):
    """If the subject was erased, or is another tenant's, the task does nothing and is not queued again."""
    subject = bench.subject(kind)
    bench.take()
    bench.world.known(OTHER_TENANT)
    bench.world.vendor.log.clear()
    bench.handler.handle(kind, OTHER_TENANT, subject)
    bench.handler.handle(kind, TENANT, make_id())
    bench.world.connectors.tenants.erase(TENANT)
    bench.world.vendor.log.clear()
    bench.handler.handle(kind, TENANT, subject)
    assert (bench.world.tasks(), bench.world.vendor.log) == ([], [])


def test_a_worker_keeps_requeueing_while_the_database_is_down(bench, caplog):
    """It retries with growing pauses, for some minutes, and then leaves the connection to the schedule's rescue."""
    clock, tries = Stopwatch(), []
    error = InfrastructureError("The database is gone.")

    def unreachable():
        tries.append(clock.now() - NOW)
        raise error

    handler = bench.broken(TaskKind.READ, error, unit_of_work=unreachable, clock=clock)
    handler.handle(TaskKind.READ, TENANT, make_id())
    starts = accumulate((0, *REQUEUE_PAUSES[:-1]))
    assert tries[1:] == [timedelta(seconds=start) for start in starts]  # before them, the task itself failed
    assert 240 <= sum(REQUEUE_PAUSES) <= 600
    assert "task_abandoned" in caplog.text


def test_a_stopping_worker_stops_requeueing(bench):
    """A stopping worker waits for the database for at most another second: the rescue finds what it left."""
    error = InfrastructureError("The database is gone.")
    for stops_after in (0.3, 17, 62.5):
        clock = Stopwatch(stops_after=timedelta(seconds=stops_after))
        handler = bench.broken(
            TaskKind.MAINTAIN, error, unit_of_work=Raising(error), clock=clock, is_stopping=clock.stopping
        )
        handler.handle(TaskKind.MAINTAIN, TENANT, make_id())
        assert clock.now() - NOW == timedelta(seconds=ceil(stops_after))


def test_the_connection_of_a_crashed_worker_is_read_on(bench):
    """Its task is queued again and continues at once, although the account still says that somebody reads it."""
    job = bench.world.connectors.jobs.request(TENANT, bench.connection.id, JobType.BACKFILL)
    bench.take()
    now = bench.world.clock.now()
    with bench.world.uow() as uow:
        uow.jobs.save(attrs.evolve(job, status=JobStatus.RUNNING, attempts=1, started_at=now))
        account = uow.accounts.find(TENANT, bench.connection.id, lock=True)
        uow.accounts.save(attrs.evolve(account, running_since=now, heartbeat_at=now))
    bench.handler.requeue(TaskKind.READ, TENANT, bench.connection.id)
    bench.world.work()
    done = bench.world.job(job)
    assert (done.status, done.attempts) == (JobStatus.SUCCEEDED, 2)
    assert bench.world.account(bench.connection).run == account.run + 1


def test_a_read_with_nothing_due_asks_for_nothing(bench):
    """A duplicate task of a connection that has been read sends no request and leaves no task."""
    bench.take()
    bench.world.vendor.log.clear()
    for subject in (bench.connection.id, make_id()):
        bench.handler.requeue(TaskKind.READ, TENANT, subject)
    bench.world.work()
    assert (bench.world.vendor.log, bench.world.tasks()) == ([], [])


def test_a_task_of_a_version_before_streams_reads_its_jobs_connection(bench):
    """It names a job; its connection's task is queued in its stead, and a job that is gone is left alone."""
    job = bench.world.connectors.jobs.request(TENANT, bench.connection.id, JobType.BACKFILL)
    bench.take()
    bench.handler.handle(TaskKind.SYNC, TENANT, job.id)
    bench.handler.handle(TaskKind.SYNC, TENANT, JobId(make_id()))
    assert [task for task, _ in bench.world.tasks()] == [read_task(TENANT, bench.connection.id)]
    bench.world.work()
    assert bench.world.job(job).status is JobStatus.SUCCEEDED


def test_requeueing_queues_the_same_task(bench):
    """A task that is queued again equals the first one, so only one of each waits."""
    for _ in range(2):
        for task in KINDS:
            subject = {
                TaskKind.READ: bench.connection.id,
                TaskKind.MAINTAIN: bench.connection.id,
                TaskKind.REFRESH: bench.connection.grant_id,
                TaskKind.PROVE: bench.connection.id,
            }[task]
            bench.handler.requeue(task, TENANT, subject)
    expected = [
        read_task(TENANT, ConnectionId(bench.connection.id)),
        maintenance_task(TENANT, ConnectionId(bench.connection.id)),
        refresh_task(TENANT, GrantId(bench.connection.grant_id)),
        proof_task(TENANT, ConnectionId(bench.connection.id)),
    ]
    assert [task for task, _ in bench.world.tasks()] == expected


@pytest.mark.parametrize("error", [None, InfrastructureError("The database is gone.")])
def test_a_tick_queues_what_is_due(bench, error):
    """A tick queues what is due; a database error during it is a warning, because the next one is seconds away."""
    bench.world.later(minutes=20)
    schedule = bench.handler.schedule if error is None else Raising(error)
    attrs.evolve(bench.handler, schedule=schedule).tick()
    assert bool(bench.world.tasks()) is (error is None)


def test_log_lines_name_the_subject_of_a_task(bench):
    """Tenant, connection and the oldest requester's trace id are bound while it is read, and unbound afterwards."""
    token = TRACE_ID.set("trace-1")
    try:
        bench.world.connectors.jobs.request(TENANT, bench.connection.id, JobType.BACKFILL)
    finally:
        TRACE_ID.reset(token)
    seen = []
    bench.world.vendor.before = lambda request: seen.append((structlog.contextvars.get_contextvars(), TRACE_ID.get()))
    before = structlog.contextvars.get_contextvars(), TRACE_ID.get()
    bench.world.work()
    bound, trace_id = seen[-1]
    assert (trace_id, bound["trace_id"], bound["tenant_id"]) == ("trace-1", "trace-1", str(TENANT))
    assert bound["connection_id"] == str(bench.connection.id)
    assert (structlog.contextvars.get_contextvars(), TRACE_ID.get()) == before


def test_a_stopping_worker_pauses_a_job_between_pages(bench):
    """A stopping worker stores its current page and leaves the rest in the queue."""
    for number in range(4):
        bench.world.vendor.add_items({"id": str(number), "title": f"Item {number}"})
    bench.world.later(seconds=1)
    job = bench.world.connectors.jobs.request(TENANT, bench.connection.id, JobType.BACKFILL)
    bench.take()
    stopping = Event()
    stopping.set()
    stopping_handler = attrs.evolve(bench.handler, is_stopping=stopping)
    for pages in (0, 1):  # the first page is the list of streams
        stopping_handler.handle(TaskKind.READ, TENANT, bench.connection.id)
        left = bench.world.job(job)
        assert (left.status, left.progress.pages) == (JobStatus.QUEUED, pages)
    bench.world.work()
    assert bench.world.job(job).progress.items == 4
