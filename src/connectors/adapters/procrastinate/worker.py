"""Running queued tasks: a procrastinate worker that survives database restarts and takes over dead workers' tasks."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Lock
from typing import Any
from uuid import UUID

import attrs
import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.worker import Worker
from psycopg.conninfo import make_conninfo
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url

from connectors.adapters.procrastinate.app import QUEUE, TASK_NAME, TICK_TASK, create_queue_app
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.tasks import TaskKind

HEARTBEAT = timedelta(seconds=5)
"""How often a worker reports that it is alive."""

DEAD_AFTER = timedelta(seconds=20)
"""A worker that is silent for this long is taken for dead: four heartbeats, so that a busy one is not."""

POLL = timedelta(milliseconds=250)
"""How often to look for tasks that may run now: they are due, or the lock they waited for is free. New tasks announce
themselves."""

RESCUE_EVERY = timedelta(seconds=5)
"""How often to look for the tasks of dead workers."""

LOST_AFTER_CHECKS = 3
"""Consecutive checks that find a task assigned to us which we are not running: it never arrived, or is done."""

RECONNECT_AFTER = timedelta(seconds=1)
"""The pause after the queue has failed."""

SHUTDOWN_TIMEOUT = timedelta(seconds=25)
"""How long running tasks may take to end when the worker is asked to stop: longer than a time slice."""

TICK_PRIORITY = 100
"""Above the ranks of all other tasks: it queues them."""

UNREACHABLE = (ConnectorException, psycopg.Error, InfrastructureError, OSError)
"""Errors while the database is away: of procrastinate, of the pool below it, of our stores, of the sockets."""

log = logging.getLogger(__name__)

HandleTask = Callable[[TaskKind, TenantId, UUID], None]
"""Runs a task. It must not raise: it handles its own errors."""

RequeueTask = Callable[[TaskKind, TenantId, UUID], None]
"""Queues a dead worker's task again."""


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """Options of one worker process."""

    concurrency: int = 8
    """Tasks at once, one thread each."""
    tick_seconds: int = 5
    """How often to look for what has become due, all workers together."""
    name: str = "worker"
    poll: timedelta = POLL
    heartbeat: timedelta = HEARTBEAT
    dead_after: timedelta = DEAD_AFTER
    rescue_every: timedelta = RESCUE_EVERY


class QueueWorker:
    """One worker process."""

    def __init__(
        self,
        url: str,
        handle: HandleTask,
        requeue: RequeueTask,
        tick: Callable[[], None],
        options: WorkerOptions | None = None,
    ) -> None:
        """A worker that has not started.

        Args:
            url: the database.
            handle: runs a task.
            requeue: queues a dead worker's task again.
            tick: queues whatever has become due.
            options: None for the defaults.
        """
        self._url = url
        self._handle = handle
        self._requeue = requeue
        self._tick = tick
        self._options = options or WorkerOptions()
        self._running: set[int] = set()
        self._missing_checks: dict[int, int] = {}
        self._lock = Lock()
        self.tasks_done = 0
        """The number of tasks that have ended."""
        self._is_stopping = False
        self._worker: Worker | None = None

    def stop(self) -> None:
        """Take no more tasks, and end when the running ones are done. May be called from any thread."""
        self._is_stopping = True
        worker = self._worker
        if worker is not None:
            worker.stop()  # type: ignore[no-untyped-call]  # procrastinate leaves its return type out

    def run(self, *, wait: bool = True) -> None:
        """Run until `stop`, or, without `wait`, until no due task is left."""
        asyncio.run(self._run(wait=wait))

    async def _run(self, *, wait: bool) -> None:
        # Enough threads that no task waits inside the process while it counts as running.
        pool = ThreadPoolExecutor(self._options.concurrency + 2, thread_name_prefix="task")
        asyncio.get_running_loop().set_default_executor(pool)
        while not self._is_stopping:
            try:
                await self._run_once(wait=wait)
            except UNREACHABLE as error:
                log.warning("queue_unreachable", extra={"reason": type(error.__cause__ or error).__name__})
            if not wait:
                return
            if not self._is_stopping:
                # procrastinate's worker ends when its connection breaks. Ours starts again.
                await asyncio.sleep(RECONNECT_AFTER.total_seconds())

    async def _run_once(self, *, wait: bool) -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=_conninfo(self._url),
            min_size=1,
            max_size=4,
            timeout=10,
            kwargs={"connect_timeout": 5, "application_name": "poblysh-connectors-queue"},
        )
        app = create_queue_app(connector)
        self._add_tasks(app)
        async with app.open_async():
            self._worker = Worker(
                app=app,
                queues=[QUEUE],
                name=self._options.name,
                concurrency=self._options.concurrency,
                wait=wait,
                fetch_job_polling_interval=self._options.poll.total_seconds(),
                shutdown_graceful_timeout=SHUTDOWN_TIMEOUT.total_seconds(),
                delete_jobs="always",
                install_signal_handlers=False,
                update_heartbeat_interval=self._options.heartbeat.total_seconds(),
                stalled_worker_timeout=self._options.dead_after.total_seconds(),
            )
            if self._is_stopping:
                return
            rescue = asyncio.create_task(self._rescue(app, self._worker))
            try:
                await self._worker.run()  # type: ignore[no-untyped-call]  # as above
            finally:
                rescue.cancel()
                with suppress(asyncio.CancelledError):
                    await rescue

    def _add_tasks(self, app: procrastinate.App) -> None:
        @app.task(name=TASK_NAME, queue=QUEUE, pass_context=True)
        def run_task(context: procrastinate.JobContext, task: str, tenant_id: str, subject_id: str) -> None:
            with self._tracked(context):
                try:
                    self._handle(TaskKind(task), TenantId(UUID(tenant_id)), UUID(subject_id))
                except Exception:
                    log.exception("task_crashed", extra={"task": task})
                finally:
                    with self._lock:
                        self.tasks_done += 1

        @app.periodic(cron=f"* * * * * */{self._options.tick_seconds}")
        @app.task(
            name=TICK_TASK,
            queue=QUEUE,
            priority=TICK_PRIORITY,
            lock=TICK_TASK,
            queueing_lock=TICK_TASK,
            pass_context=True,
        )
        def tick(context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001 - procrastinate's signature
            with self._tracked(context):
                try:
                    self._tick()
                except Exception:
                    log.exception("tick_crashed")

    @contextmanager
    def _tracked(self, context: procrastinate.JobContext) -> Iterator[None]:
        """During the block, the queue's job counts as running here."""
        number = context.job.id
        assert number is not None  # noqa: S101 - it has been fetched
        with self._lock:
            self._running.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(number)

    # --- dead workers --------------------------------------------------------------------------------------------

    async def _rescue(self, app: procrastinate.App, worker: Worker) -> None:
        """Repeatedly queue again what dead workers have left, and what was assigned to us and never arrived."""
        while True:
            await asyncio.sleep(self._options.rescue_every.total_seconds())
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=QUEUE, seconds_since_heartbeat=self._options.dead_after.total_seconds()
                )
                for job in [*stalled, *await self._find_lost(app, worker)]:
                    await self._take_over(app, job)
            except UNREACHABLE as error:
                log.warning("queue_unreachable", extra={"reason": type(error.__cause__ or error).__name__})

    async def _find_lost(self, app: procrastinate.App, worker: Worker) -> list[Job]:
        """Jobs that the queue assigns to us and that we are not running, because the response that assigned them or our
        report that they are done was lost. A lost tick would block all further ticks, on every worker."""
        if worker.worker_id is None:
            return []
        assigned = await app.job_manager.list_jobs_async(
            queue=QUEUE, status=Status.DOING.value, worker_id=worker.worker_id
        )
        with self._lock:
            unknown = {job.id: job for job in assigned if job.id is not None and job.id not in self._running}
        self._missing_checks = {number: self._missing_checks.get(number, 0) + 1 for number in unknown}
        return [job for number, job in unknown.items() if self._missing_checks[number] >= LOST_AFTER_CHECKS]

    async def _take_over(self, app: procrastinate.App, job: Job) -> None:
        log.warning("task_taken_over", extra={"queue_id": job.id, "task": job.task_name})
        if job.task_name == TASK_NAME:
            # The new task is queued before the old one ends: a crash in between leaves both, which does no harm.
            await asyncio.to_thread(self._requeue_one, job.task_kwargs)
        with suppress(ConnectorException):  # another worker was faster
            await app.job_manager.finish_job(job=job, status=Status.FAILED, delete_job=True)

    def _requeue_one(self, arguments: dict[str, Any]) -> None:
        task, tenant_id, subject_id = arguments["task"], arguments["tenant_id"], arguments["subject_id"]
        self._requeue(TaskKind(task), TenantId(UUID(tenant_id)), UUID(subject_id))


def _conninfo(url: str) -> str:
    """The URL as a connection string for libpq.

    It is not passed on unchanged: libpq is stricter than SQLAlchemy, which everything else goes through, and repeats in
    its error messages what it cannot parse, even a password.
    """
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its dialects' types out
    _, arguments = dialect.create_connect_args(make_url(url))  # type: ignore[no-untyped-call]  # as above
    arguments.pop("context", None)  # SQLAlchemy's own
    return make_conninfo(**arguments)
