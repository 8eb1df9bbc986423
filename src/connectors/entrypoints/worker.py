"""What a worker does with a task: it calls the flow, and turns trouble of our own into another try."""

import logging
import uuid
from collections.abc import Mapping
from contextvars import copy_context
from datetime import timedelta
from threading import Event
from uuid import UUID

import attrs
from structlog.contextvars import bind_contextvars

from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.run import SyncFlow
from connectors.domain.flows.reading.schedule import ScheduleFlow
from connectors.domain.flows.webhooks.subscription_maintenance import SubscriptionMaintenance
from connectors.domain.model.errors import (
    ConnectionNotFoundError,
    InfrastructureError,
    NotFoundError,
    TenantNotFoundError,
    VaultError,
)
from connectors.domain.model.ids import ConnectionId, GrantId, JobId, TenantId
from connectors.domain.model.sync import SyncJob
from connectors.domain.model.tasks import QueuedTask, TaskKind, maintenance_task, refresh_task, sync_task
from connectors.domain.model.trace import TRACE_ID
from connectors.ports.unit_of_work import UnitOfWorkFactory

RETRY_PAUSES = (1, 2, 4, 8, 15, 30, 30, 30, 60, 60, 60)
"""Seconds between tries to put a task back while the database is away: five minutes in all. Whoever comes back later
is rescued by the schedule (`TaskKind.RESCUE`)."""

PUT_BACK_PAUSE = timedelta(seconds=1)
"""Until a task is tried again that our database has failed: if it fails for long, nobody shall spin."""

CRASH_PAUSE = timedelta(minutes=1)
"""Until a task whose flow has crashed is tried again."""

SUBJECTS: Mapping[TaskKind, str] = {
    TaskKind.SYNC: "job_id",
    TaskKind.MAINTAIN: "connection_id",
    TaskKind.REFRESH: "grant_id",
}
"""What log lines call that which a task names."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class TaskHandler:
    """Looks after tasks."""

    unit_of_work: UnitOfWorkFactory
    sync: SyncFlow
    maintenance: SubscriptionMaintenance
    keeper: TokenKeeper
    schedule: ScheduleFlow
    time_slice: timedelta
    """How long a sync job may go on while others wait."""
    is_stopping: Event = attrs.field(factory=Event)

    def handle(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID) -> None:
        """Look after what a task names. Never raises: what can be tried again is queued again."""
        # In a context of its own: whatever is bound for its log lines ends with it.
        copy_context().run(self._handle, kind, tenant_id, subject_id)

    def handle_task(self, task: QueuedTask) -> None:
        """The same, for a queue that hands out whole tasks."""
        self.handle(task.kind, task.tenant_id, task.subject_id)

    def tick(self) -> None:
        """Queue what has become due."""
        copy_context().run(self._tick)

    def _tick(self) -> None:
        _name(uuid.uuid4().hex)  # what it queues is traced from here
        try:
            self.schedule.tick()
        except InfrastructureError as error:
            log.warning("tick_failed", extra={"reason": error.message})  # the next one is seconds away

    def requeue(
        self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID, *, delay: timedelta = timedelta(0)
    ) -> None:
        """Queue again what a task named whose worker has died; nothing if that has ended or is gone.

        Raises:
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            match kind:
                case TaskKind.SYNC:
                    try:
                        job = uow.jobs.get(tenant_id, JobId(subject_id))
                    except NotFoundError:
                        return
                    if not job.is_finished:
                        uow.queue.put(sync_task(job, is_continued=job.attempts > 0), delay=delay)
                case TaskKind.MAINTAIN:
                    uow.queue.put(maintenance_task(tenant_id, ConnectionId(subject_id)), delay=delay)
                case TaskKind.REFRESH:
                    uow.queue.put(refresh_task(tenant_id, GrantId(subject_id)), delay=delay)

    def _handle(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID) -> None:
        _name(uuid.uuid4().hex)
        bind_contextvars(tenant_id=str(tenant_id), **{SUBJECTS[kind]: str(subject_id)})
        try:
            self._look_after(kind, tenant_id, subject_id)
        except (NotFoundError, ConnectionNotFoundError, TenantNotFoundError):
            log.debug("task_without_subject", extra={"task": str(kind)})  # erased since it was queued
        except VaultError as error:
            # The key is missing, or the row damaged: the operator's business, and no reason to hurry.
            log.error("task_requeued", extra={"task": str(kind), "reason": error.message})  # noqa: TRY400 - no bug
            self._put_back(kind, tenant_id, subject_id, delay=CRASH_PAUSE)
        except InfrastructureError as error:
            log.warning("task_requeued", extra={"task": str(kind), "reason": error.message})
            self._put_back(kind, tenant_id, subject_id, delay=PUT_BACK_PAUSE)
        except Exception:
            log.exception("task_crashed", extra={"task": str(kind)})
            self._put_back(kind, tenant_id, subject_id, delay=CRASH_PAUSE)

    def _look_after(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID) -> None:
        match kind:
            case TaskKind.SYNC:
                self._sync(tenant_id, JobId(subject_id))
            case TaskKind.MAINTAIN:
                self.maintenance.maintain(tenant_id, ConnectionId(subject_id))
            case TaskKind.REFRESH:
                self.keeper.refresh_idle(tenant_id, GrantId(subject_id))

    def _sync(self, tenant_id: TenantId, job_id: JobId) -> None:
        with self.unit_of_work() as uow:
            job: SyncJob = uow.jobs.get(tenant_id, job_id)
        if job.trace_id is not None:
            _name(job.trace_id)
        bind_contextvars(connection_id=str(job.connection_id))
        self.sync.run(tenant_id, job_id, time_slice=self.time_slice, is_stopping=self.is_stopping.is_set)

    def _put_back(
        self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID, *, delay: timedelta = timedelta(0)
    ) -> None:
        for pause in RETRY_PAUSES:
            try:
                self.requeue(kind, tenant_id, subject_id, delay=delay)
            except InfrastructureError:
                if self.is_stopping.wait(pause):
                    break
            else:
                return
        log.error("task_abandoned", extra={"task": str(kind)})


def _name(trace_id: str) -> None:
    """From now on the trace id in logs and in whatever is queued."""
    TRACE_ID.set(trace_id)
    bind_contextvars(trace_id=trace_id)
