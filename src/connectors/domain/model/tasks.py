"""Queued tasks. Each names a subject; the task finds out what to do for it when it runs."""

from enum import StrEnum
from uuid import UUID

import attrs

from connectors.domain.model.ids import ConnectionId, GrantId, TenantId
from connectors.domain.model.sync import JobType, SyncJob


class TaskKind(StrEnum):
    """What a task does. The values are stored in the queue and in the schedule."""

    SYNC = "sync"
    """Run a sync job for a time slice. Queued: the subject is the job. Scheduled: it is the connection to read."""
    MAINTAIN = "tend"
    """Maintain a connection's webhook subscriptions: the subject is the connection."""
    REFRESH = "refresh"
    """Refresh tokens that would expire unused: the subject is the grant."""
    SWEEP = "sweep"
    """Delete what has expired: authorization requests, idempotency keys, limits. Scheduled only; the service's own."""
    RETAIN = "retain"
    """Delete deliveries, jobs and closed gaps past their retention. Scheduled only; the service's own."""
    RESCUE = "rescue"
    """Queue jobs again that have not changed for a long time. Scheduled only; the service's own."""


PRIORITIES = {JobType.WEBHOOK: 30, JobType.INCREMENTAL: 20, JobType.BACKFILL: 10}
"""Priorities of sync tasks: what somebody waits for comes first, history last."""

MAINTENANCE_PRIORITY = 40
"""The priority of all other tasks: they are few and short, and what they maintain does not recover by itself."""


@attrs.frozen(kw_only=True)
class QueuedTask:
    """One entry in the queue."""

    kind: TaskKind
    tenant_id: TenantId
    subject_id: UUID
    """The job, connection or grant."""
    priority: int
    """The highest runs first; among equals, the oldest."""
    lock: str | None
    """Of all tasks with the same lock, one runs at a time."""
    queueing_lock: str
    """Of all tasks with the same queueing lock, one waits at a time."""


def sync_task(job: SyncJob, *, is_continued: bool = False) -> QueuedTask:
    """The task of a sync job: one per connection runs, and one new one per type and target waits.

    Args:
        job: the job.
        is_continued: it was begun before. A new job of its type may wait beside it.
    """
    kind = f"{job.connection_id}:{job.type}:{job.target or ''}"
    return QueuedTask(
        kind=TaskKind.SYNC,
        tenant_id=job.tenant_id,
        subject_id=job.id,
        priority=PRIORITIES[job.type],
        lock=f"connection:{job.connection_id}",
        queueing_lock=f"sync:{kind}:{job.id}" if is_continued else f"sync:{kind}",
    )


def maintenance_task(tenant_id: TenantId, connection_id: ConnectionId) -> QueuedTask:
    """The task that maintains a connection's subscriptions. It does not wait for the connection's syncs."""
    name = f"tend:{connection_id}"
    return QueuedTask(
        kind=TaskKind.MAINTAIN,
        tenant_id=tenant_id,
        subject_id=connection_id,
        priority=MAINTENANCE_PRIORITY,
        lock=name,
        queueing_lock=name,
    )


def refresh_task(tenant_id: TenantId, grant_id: GrantId) -> QueuedTask:
    """The task that refreshes a grant's tokens before they expire unused."""
    name = f"refresh:{grant_id}"
    return QueuedTask(
        kind=TaskKind.REFRESH,
        tenant_id=tenant_id,
        subject_id=grant_id,
        priority=MAINTENANCE_PRIORITY,
        lock=name,
        queueing_lock=name,
    )
