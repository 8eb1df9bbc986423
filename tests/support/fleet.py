"""Several machines on one database, and a clock that they share with the providers."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import attrs

from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.adapters.procrastinate.worker import WorkerOptions
from connectors.domain.model.sync import JobType
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import load, open_worker, prepare, production_container
from connectors.ports.telemetry import NullTelemetry

MOMENT = timedelta(milliseconds=50)
MAX_WAIT = 60
"""Seconds until a queue that does not get empty is given up."""


@attrs.frozen
class SharedClock:
    """The providers' clock, which is the service's as well. It stands still until the providers' is advanced."""

    of_providers: object
    passes: bool = False
    """Whether time passes for who sleeps. Where many wait for one, it must not: they would make its lease expire."""

    def now(self):
        return self.of_providers.now()

    def sleep(self, duration):
        time.sleep(min(duration, MOMENT / 10).total_seconds())
        if self.passes:
            self.of_providers.advance(duration)


class PromptQueue(ProcrastinateJobQueue):
    """The queue for work by such a clock: the queue itself goes by the database's time, in which hours are moments.

    A task that is back before its time has come is put back by whoever takes it.
    """

    def put(self, task, *, delay=timedelta(0)):
        return super().put(task, delay=min(delay, MOMENT))


class Tally(NullTelemetry):
    """Remembers what has happened on all machines."""

    def __init__(self):
        self.ended, self.refreshes = [], Counter()
        self._lock = threading.Lock()

    def job_ended(self, job):
        with self._lock:
            self.ended.append(job)

    def refreshed(self, provider, outcome):
        with self._lock:
            self.refreshes[provider, outcome] += 1

    def incremental_syncs(self, connection_id):
        """When each of the connection's was begun."""
        return sorted(
            job.started_at
            for job in self.ended
            if job.type is JobType.INCREMENTAL and str(job.connection_id) == connection_id
        )


class TakenEntries:
    """Every schedule entry that any of the schedulers has taken, once its transaction has been committed."""

    def __init__(self):
        self.times = Counter()
        self._lock = threading.Lock()

    def watch(self, unit_of_work):
        """The same units of work, which record what is taken from their schedules."""

        @contextmanager
        def watched():
            taken = []
            with unit_of_work() as uow:
                yield _Watched(uow, taken)
            with self._lock:
                self.times.update((one.kind, one.subject_id, one.next_at) for one in taken)

        return watched

    def taken_twice(self):
        return [one for one, times in self.times.items() if times > 1]

    def count(self, kind):
        """How many schedule entries of that kind were taken."""
        return sum(times for (taken, _, _), times in self.times.items() if taken == kind)


class _Watched:
    """A unit of work that records what is taken from its schedules."""

    def __init__(self, uow, taken):
        self._uow, self._taken = uow, taken

    def __getattr__(self, name):
        return getattr(self._uow, name)

    @property
    def schedules(self):
        return _WatchedSchedules(self._uow.schedules, self._taken)


class _WatchedSchedules:
    def __init__(self, schedules, taken):
        self._schedules, self._taken = schedules, taken

    def __getattr__(self, name):
        return getattr(self._schedules, name)

    def lock_due(self, kind, *, now, limit):
        found = self._schedules.lock_due(kind, now=now, limit=limit)
        self._taken.extend(found)
        return found


class _Idle:
    """A schedule of which nothing is ever due."""

    def tick(self):
        return 0


@attrs.frozen
class Fleet:
    """Schedulers and workers, at work."""

    stage: object
    schedules: tuple
    taken_entries: TakenEntries
    tally: Tally
    pool: ThreadPoolExecutor

    def tick(self):
        """All schedulers look for what is due, at the same time."""
        barrier = threading.Barrier(len(self.schedules))

        def tick(schedule):
            barrier.wait(MAX_WAIT)
            schedule.tick()

        list(self.pool.map(tick, self.schedules))

    def go_on(self):
        """All that is due at this instant, on both sides: new channels announce themselves."""
        self.tick()
        self.settle()
        self.stage.deliver()
        self.settle()

    def settle(self):
        """Wait until nothing is left that can be done now."""
        deadline = time.monotonic() + MAX_WAIT
        while self.stage.rows(_BUSY) != [(0,)]:
            assert time.monotonic() < deadline, self.stage.rows(_LEFT)
            time.sleep(0.005)


_LEFT = """SELECT id, status, args, scheduled_at, attempts FROM procrastinate_jobs
    WHERE task_name = 'connectors.ticket' AND (status = 'doing' OR (status = 'todo'
    AND (scheduled_at IS NULL OR scheduled_at <= now())))"""
_BUSY = f"SELECT count(*) FROM ({_LEFT}) AS task"


@contextmanager
def open_fleet(stage, clock, *, schedulers, workers, concurrency=2, is_prompt=True):
    """So many schedulers and workers beside the stage's service, each with pools of its own, until the block ends.

    Args:
        stage: the service.
        clock: everybody's.
        schedulers: how many, that look for what is due when they are told to.
        workers: how many, that do it.
        concurrency: tasks that each worker does at once.
        is_prompt: whether the workers, too, look for what is due, at any moment, as workers do.
    """
    settings = load(stage.environment)
    database = prepare(settings)
    taken_entries, tally = TakenEntries(), Tally()
    options = WorkerOptions(concurrency=concurrency, poll=MOMENT)
    with ExitStack() as stack:

        def machine():
            container = production_container(database, settings, telemetry=tally, clock=clock)
            return stack.enter_context(Connectors.assemble(container))

        def watched(system):
            return attrs.evolve(system.schedule, unit_of_work=taken_entries.watch(system.schedule.unit_of_work))

        at_work, threads = [], []
        for _ in range(workers):
            system = machine()
            tasks = attrs.evolve(system.tasks, schedule=watched(system) if is_prompt else _Idle())
            at_work.append(open_worker(database, settings, tasks, options))
        schedules = tuple(watched(machine()) for _ in range(schedulers))
        pool = stack.enter_context(ThreadPoolExecutor(schedulers))
        for worker in at_work:
            threads.append(threading.Thread(target=worker.run, daemon=True))
            threads[-1].start()
        try:
            yield Fleet(stage, schedules, taken_entries, tally, pool)
        finally:
            for worker in at_work:
                worker.stop()
            for thread in threads:
                thread.join(MAX_WAIT)
