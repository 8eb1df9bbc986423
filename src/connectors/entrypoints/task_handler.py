"""Runs the tasks of the queue: calls the flow of each, and queues it again after an error of our own."""

import logging
from collections.abc import Mapping
from contextvars import copy_context
from datetime import timedelta
from threading import Event
from uuid import UUID

import attrs
from structlog.contextvars import bind_contextvars

from connectors.domain.flows.connections.proof import ConnectionProof
from connectors.domain.flows.connections.tenants import TenantFlow
from connectors.domain.flows.endings.endings import Endings
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
from connectors.domain.model.tasks import (
    QueuedTask,
    TaskKind,
    end_task,
    maintenance_task,
    proof_task,
    read_task,
    refresh_task,
)
from connectors.domain.model.trace import TRACE_ID
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWorkFactory

REQUEUE_PAUSES = (1, 2, 4, 8, 15, 30, 30, 30, 60, 60, 60)
"""Seconds between attempts to queue a task again while the database is down: five minutes in all. After that the
schedule finds what was left behind (`TaskKind.RESCUE`)."""

STOP_CHECK = timedelta(seconds=1)
"""How often a handler that pauses checks whether its worker is stopping."""

OUTAGE_DELAY = timedelta(seconds=1)
"""Delay before retrying a task after a database error. Each further error of the task in a row doubles it: a write that
the database refuses for hours must not keep it busy."""

LONGEST_OUTAGE_DELAY = timedelta(minutes=1)
"""It is never longer."""

CRASH_DELAY = timedelta(minutes=1)
"""Delay before retrying a task whose flow has crashed: a bug does not go away within seconds."""

LOG_FIELDS: Mapping[TaskKind, str] = {
    TaskKind.READ: "connection_id",
    TaskKind.SYNC: "job_id",
    TaskKind.MAINTAIN: "connection_id",
    TaskKind.REFRESH: "grant_id",
    TaskKind.PROVE: "connection_id",
    TaskKind.END: "subject_id",
}
"""The log field that holds a task's subject."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class TaskHandler:
    """Runs tasks, and queues again those that failed for a reason of ours."""

    unit_of_work: UnitOfWorkFactory
    sync: SyncFlow
    maintenance: SubscriptionMaintenance
    keeper: TokenKeeper
    proof: ConnectionProof
    endings: Endings
    tenants: TenantFlow
    schedule: ScheduleFlow
    clock: Clock
    entropy: Entropy
    time_slice: timedelta
    """How long a connection is read while others wait."""
    is_stopping: Event = attrs.field(factory=Event)
    _errors: dict[UUID, int] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    """How often in a row our database failed within a task of this subject, in this process."""

    def handle(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID) -> None:
        """Run one task. Never raises: what can be retried is queued again."""
        # In a context of its own, so that what is bound for its log lines ends with it.
        copy_context().run(self._handle, kind, tenant_id, subject_id)

    def handle_task(self, task: QueuedTask) -> None:
        """`handle`, for a queue that hands out whole tasks."""
        self.handle(task.kind, task.tenant_id, task.subject_id)

    def tick(self) -> None:
        """Queue what has become due. Never raises when our database fails: the next tick is seconds away."""
        copy_context().run(self._tick)

    def _tick(self) -> None:
        self._begin_trace()  # what it queues is traced from here
        try:
            self.schedule.tick()
        except InfrastructureError as error:
            log.warning("tick_failed", extra={"reason": error.message})

    def requeue(
        self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID, *, delay: timedelta = timedelta(0)
    ) -> None:
        """Queue a task again whose worker has died; nothing is queued if its subject has finished or is gone.

        Raises:
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            match kind:
                case TaskKind.READ:
                    uow.queue.put(read_task(tenant_id, ConnectionId(subject_id)), delay=delay)
                case TaskKind.SYNC:
                    job = uow.jobs.get(tenant_id, JobId(subject_id))
                    uow.queue.put(read_task(tenant_id, job.connection_id), delay=delay)
                case TaskKind.MAINTAIN:
                    uow.queue.put(maintenance_task(tenant_id, ConnectionId(subject_id)), delay=delay)
                case TaskKind.END:
                    uow.queue.put(end_task(tenant_id, subject_id), delay=delay)
                case TaskKind.PROVE:
                    uow.queue.put(proof_task(tenant_id, ConnectionId(subject_id)), delay=delay)
                case TaskKind.REFRESH:
                    uow.queue.put(refresh_task(tenant_id, GrantId(subject_id)), delay=delay)

    def _handle(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID) -> None:
        self._begin_trace()
        bind_contextvars(tenant_id=str(tenant_id), **{LOG_FIELDS[kind]: str(subject_id)})
        try:
            self._run(kind, tenant_id, subject_id)
            self._errors.pop(subject_id, None)
        except (NotFoundError, ConnectionNotFoundError, TenantNotFoundError):
            log.debug("task_subject_missing", extra={"task": str(kind)})  # erased since the task was queued
        except VaultError as error:
            # The key is missing, or the row is damaged: an operator has to act, so retrying soon is no use.
            log.error("task_requeued", extra={"task": str(kind), "reason": error.message})  # noqa: TRY400 - no bug
            self._requeue_with_retries(kind, tenant_id, subject_id, delay=CRASH_DELAY)
        except InfrastructureError as error:
            log.warning("task_requeued", extra={"task": str(kind), "reason": error.message})
            errors = self._errors[subject_id] = self._errors.get(subject_id, 0) + 1
            delay = min(OUTAGE_DELAY * 2 ** min(errors - 1, 10), LONGEST_OUTAGE_DELAY)
            self._requeue_with_retries(kind, tenant_id, subject_id, delay=delay)
        except Exception:
            log.exception("task_crashed", extra={"task": str(kind)})
            self._requeue_with_retries(kind, tenant_id, subject_id, delay=CRASH_DELAY)

    def _run(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID) -> None:
        match kind:
            case TaskKind.READ:
                self._read(tenant_id, ConnectionId(subject_id))
            case TaskKind.SYNC:  # queued by a version before streams
                self.requeue(kind, tenant_id, subject_id)
            case TaskKind.MAINTAIN:
                self.maintenance.maintain(tenant_id, ConnectionId(subject_id))
            case TaskKind.END if subject_id == tenant_id:
                self.tenants.finish_erasure(tenant_id)
            case TaskKind.END:
                self.endings.end(tenant_id, subject_id)
            case TaskKind.PROVE:
                self.proof.prove(tenant_id, ConnectionId(subject_id))
            case TaskKind.REFRESH:
                self.keeper.refresh_idle(tenant_id, GrantId(subject_id))

    def _read(self, tenant_id: TenantId, connection_id: ConnectionId) -> None:
        with self.unit_of_work() as uow:
            jobs = uow.jobs.list_unfinished(tenant_id, connection_id)
        traced = next((job.trace_id for job in jobs if job.trace_id is not None), None)
        if traced is not None:
            _bind_trace_id(traced)  # the oldest request is what it is read for
        self.sync.read(tenant_id, connection_id, time_slice=self.time_slice, is_stopping=self.is_stopping.is_set)

    def _requeue_with_retries(self, kind: TaskKind, tenant_id: TenantId, subject_id: UUID, *, delay: timedelta) -> None:
        for pause in REQUEUE_PAUSES:
            try:
                self.requeue(kind, tenant_id, subject_id, delay=delay)
            except InfrastructureError:
                self._pause(timedelta(seconds=pause))
                if self.is_stopping.is_set():
                    break
            else:
                return
        log.error("task_abandoned", extra={"task": str(kind)})

    def _pause(self, left: timedelta) -> None:
        while left > timedelta(0) and not self.is_stopping.is_set():
            self.clock.sleep(min(left, STOP_CHECK))
            left -= STOP_CHECK

    def _begin_trace(self) -> None:
        _bind_trace_id(self.entropy.uuid7(self.clock.now()).hex)


def _bind_trace_id(trace_id: str) -> None:
    """Put the trace id into the log lines and the queued tasks of this context."""
    TRACE_ID.set(trace_id)
    bind_contextvars(trace_id=trace_id)
