"""Taking tasks: a procrastinate worker that outlives restarts of the database, and looks after the dead."""

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
"""How often a worker says that it lives."""

DEAD_AFTER = timedelta(seconds=20)
"""A worker that has said nothing for so long is taken for dead: four heartbeats, so that a busy one is not."""

POLL = timedelta(milliseconds=250)
"""How often tasks are looked for that may go now: their time has come, or what held their lock is done. New ones
announce themselves."""

RESCUE_EVERY = timedelta(seconds=5)
"""How often the tasks of dead workers are looked for."""

LOST_AFTER = 3
"""Looks in a row that find something given to us which we do not have: it does not come any more, or is done."""

RECONNECT = timedelta(seconds=1)
"""The pause after the queue has failed."""

GRACE = timedelta(seconds=25)
"""How long tasks in work may take to end when the worker is asked to stop: longer than a turn."""

TICK_PRIORITY = 100
"""Above all tasks: it is what makes them."""

UNREACHABLE = (ConnectorException, psycopg.Error, InfrastructureError, OSError)
"""What comes up while the database is away: of procrastinate, of the pool below it, of our stores, of the sockets."""

log = logging.getLogger(__name__)

HandleTask = Callable[[TaskKind, TenantId, UUID], None]
"""Looks after what a task names. It must not raise: whatever goes wrong is its business."""

RequeueTask = Callable[[TaskKind, TenantId, UUID], None]
"""Queues again what a dead worker had taken."""


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """How one worker process works."""

    concurrency: int = 8
    """Tasks at once, a thread each."""
    tick_seconds: int = 5
    """How often to look for what has become due, all workers together."""
    name: str = "worker"
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
        """A worker that has not begun.

        Args:
            url: the database.
            handle: looks after a task.
            requeue: queues a dead worker's task again.
            tick: queues what has become due.
            options: how.
        """
        self._url = url
        self._handle = handle
        self._requeue = requeue
        self._tick = tick
        self._options = options or WorkerOptions()
        self._at_work: set[int] = set()
        self._missed_looks: dict[int, int] = {}
        self._lock = Lock()
        self.done = 0
        """Tasks worked off."""
        self._is_stopping = False
        self._worker: Worker | None = None

    def stop(self) -> None:
        """Take no more tasks, and end when those in work are done. May be called from any thread."""
        self._is_stopping = True
        worker = self._worker
        if worker is not None:
            worker.stop()  # type: ignore[no-untyped-call]  # procrastinate leaves its return type out

    def run(self, *, wait: bool = True) -> None:
        """Work until `stop`, or, without `wait`, until no task is left whose time has come."""
        asyncio.run(self._run(wait=wait))

    async def _run(self, *, wait: bool) -> None:
        # Threads enough that no task waits inside the process while it counts as being worked on.
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
                # procrastinate's worker gives up when its connection breaks. Ours comes back.
                await asyncio.sleep(RECONNECT.total_seconds())

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
                fetch_job_polling_interval=POLL.total_seconds(),
                shutdown_graceful_timeout=GRACE.total_seconds(),
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
        def work(context: procrastinate.JobContext, task: str, tenant_id: str, subject_id: str) -> None:
            with self._at(context):
                try:
                    self._handle(TaskKind(task), TenantId(UUID(tenant_id)), UUID(subject_id))
                except Exception:
                    log.exception("task_crashed", extra={"task": task})
                finally:
                    with self._lock:
                        self.done += 1

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
            with self._at(context):
                try:
                    self._tick()
                except Exception:
                    log.exception("tick_crashed")

    @contextmanager
    def _at(self, context: procrastinate.JobContext) -> Iterator[None]:
        """For the length of the block, a job of the queue is one that we know of."""
        number = context.job.id
        assert number is not None  # noqa: S101 - it has been fetched
        with self._lock:
            self._at_work.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._at_work.discard(number)

    # --- the dead ------------------------------------------------------------------------------------------------

    async def _rescue(self, app: procrastinate.App, worker: Worker) -> None:
        """Every few seconds, queue again what dead workers have left, and what was given to us and never arrived."""
        while True:
            await asyncio.sleep(self._options.rescue_every.total_seconds())
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=QUEUE, seconds_since_heartbeat=self._options.dead_after.total_seconds()
                )
                for job in [*stalled, *await self._lost(app, worker)]:
                    await self._take_over(app, job)
            except UNREACHABLE as error:
                log.warning("queue_unreachable", extra={"reason": type(error.__cause__ or error).__name__})

    async def _lost(self, app: procrastinate.App, worker: Worker) -> list[Job]:
        """What the queue believes us to work on, and we do not: the answer that gave it to us, or our word that it is
        done, was lost. A tick among them would keep all further ticks waiting, everywhere."""
        if worker.worker_id is None:
            return []
        given = await app.job_manager.list_jobs_async(
            queue=QUEUE, status=Status.DOING.value, worker_id=worker.worker_id
        )
        with self._lock:
            strange = {job.id: job for job in given if job.id is not None and job.id not in self._at_work}
        self._missed_looks = {number: self._missed_looks.get(number, 0) + 1 for number in strange}
        return [job for number, job in strange.items() if self._missed_looks[number] >= LOST_AFTER]

    async def _take_over(self, app: procrastinate.App, job: Job) -> None:
        log.warning("task_taken_over", extra={"queue_id": job.id, "task": job.task_name})
        if job.task_name == TASK_NAME:
            # First the new task, then the end of the old one: a crash in between leaves two, which is one too many
            # and does no harm.
            await asyncio.to_thread(self._requeue_one, job.task_kwargs)
        with suppress(ConnectorException):  # another worker was faster
            await app.job_manager.finish_job(job=job, status=Status.FAILED, delete_job=True)

    def _requeue_one(self, arguments: dict[str, Any]) -> None:
        task, tenant_id, subject_id = arguments["task"], arguments["tenant_id"], arguments["subject_id"]
        self._requeue(TaskKind(task), TenantId(UUID(tenant_id)), UUID(subject_id))


def _conninfo(url: str) -> str:
    """The URL as libpq takes it.

    Not as it stands: libpq is stricter than SQLAlchemy, through which all else goes, and what it cannot read it repeats
    in its error, be it the password.
    """
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its dialects' types out
    _, arguments = dialect.create_connect_args(make_url(url))  # type: ignore[no-untyped-call]  # as above
    arguments.pop("context", None)  # of SQLAlchemy's own
    return make_conninfo(**arguments)
