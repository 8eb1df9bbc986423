"""Queued tasks. Each names a subject; the task finds out what to do for it when it runs."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import attrs

from connectors.domain.model.ids import ConnectionId, GrantId, TenantId


class TaskKind(StrEnum):
    """What a task does. The values are stored in the queue and in the schedule."""

    SYNC = "sync"
    """Scheduled: it is time for a connection's regular read; the subject is the connection. Queued by versions before
    streams: the subject is a job."""
    READ = "read"
    """Read a connection for a time slice: the subject is the connection. Scheduled: a pause of it ends."""
    MAINTAIN = "tend"
    """Maintain a connection's webhook subscriptions: the subject is the connection."""
    REFRESH = "refresh"
    """Refresh tokens that would expire unused: the subject is the grant."""
    PROVE = "prove"
    """Ask the provider whether a connection still works that is said, or was found, to be dead: the subject is the
    connection."""
    END = "end"
    """End something at its provider: the subject is a grant, a subscription, or the tenant itself, which is being
    erased."""
    SWEEP = "sweep"
    """Delete what has expired: authorization requests, idempotency keys, limits. Scheduled only; the service's own."""
    RETAIN = "retain"
    """Delete deliveries, jobs and closed gaps past their retention. Scheduled only; the service's own."""
    RESCUE = "rescue"
    """Queue jobs again that have not changed for a long time. Scheduled only; the service's own."""


READ_PRIORITY = 20
"""The priority of tasks that read what is new. Among them the first one queued comes first, so that nobody starves."""

HISTORY_PRIORITY = 10
"""The priority of tasks that read history."""

HISTORY_WAITS = timedelta(seconds=60)
"""How long a due task of history lets tasks pass that read what is new. Those queued later come after it."""

MAINTENANCE_PRIORITY = 40
"""The priority of all other tasks: they are few and short, and what they maintain does not recover by itself."""

_RANKS_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_LOWEST_RANK = -(2**31)


@attrs.frozen(kw_only=True)
class QueuedTask:
    """One entry in the queue."""

    kind: TaskKind
    tenant_id: TenantId
    subject_id: UUID
    """The job, connection or grant."""
    priority: int
    """One of the priorities above; see `rank`."""
    lock: str | None
    """Of all tasks with the same lock, one runs at a time."""
    queueing_lock: str
    """Of all tasks with the same queueing lock, one waits at a time."""

    def rank(self, put_at: datetime, delay: timedelta) -> int:
        """Where the task stands in the queue: the highest rank runs first; among equals, the first one put.

        Reads rank by the second in which they were put, history as if it were put `HISTORY_WAITS` after it is due. So
        the rank of a task never changes while it waits. It fits into 32 bits. All reads are below 0, and so below
        maintenance.

        Args:
            put_at: when it is put into the queue.
            delay: the minimum wait before it runs.
        """
        if self.priority >= MAINTENANCE_PRIORITY:
            return self.priority
        # A delayed read keeps its place: it holds up the later reads under its lock, because a connection that has to
        # wait must not be read by every delivery that comes meanwhile. Delayed history holds up nothing.
        counts_from = put_at if self.priority >= READ_PRIORITY else put_at + HISTORY_WAITS + delay
        return max((_RANKS_FROM - counts_from) // timedelta(seconds=1), _LOWEST_RANK)


def read_task(tenant_id: TenantId, connection_id: ConnectionId, *, is_history_only: bool = False) -> QueuedTask:
    """The task that reads a connection for a time slice. One of them runs, and one of either kind waits.

    Args:
        tenant_id: whose connection.
        connection_id: which.
        is_history_only: nothing but history is to be read.
    """
    kind = "history" if is_history_only else "new"
    return QueuedTask(
        kind=TaskKind.READ,
        tenant_id=tenant_id,
        subject_id=connection_id,
        priority=HISTORY_PRIORITY if is_history_only else READ_PRIORITY,
        lock=f"connection:{connection_id}",
        queueing_lock=f"read:{connection_id}:{kind}",
    )


def maintenance_task(tenant_id: TenantId, connection_id: ConnectionId) -> QueuedTask:
    """The task that maintains a connection's subscriptions. It does not wait for the connection's syncs."""
    return _one_at_a_time(TaskKind.MAINTAIN, tenant_id, connection_id, f"tend:{connection_id}")


def refresh_task(tenant_id: TenantId, grant_id: GrantId) -> QueuedTask:
    """The task that refreshes a grant's tokens before they expire unused."""
    return _one_at_a_time(TaskKind.REFRESH, tenant_id, grant_id, f"refresh:{grant_id}")


def proof_task(tenant_id: TenantId, connection_id: ConnectionId) -> QueuedTask:
    """The task that asks the provider whether a connection still works. It does not wait for the connection's syncs."""
    return _one_at_a_time(TaskKind.PROVE, tenant_id, connection_id, f"prove:{connection_id}")


def end_task(tenant_id: TenantId, subject_id: UUID) -> QueuedTask:
    """The task that ends a grant or a subscription at its provider."""
    return _one_at_a_time(TaskKind.END, tenant_id, subject_id, f"end:{subject_id}")


def _one_at_a_time(kind: TaskKind, tenant_id: TenantId, subject_id: UUID, name: str) -> QueuedTask:
    """Maintenance of something: one such task runs, and one waits."""
    return QueuedTask(
        kind=kind,
        tenant_id=tenant_id,
        subject_id=subject_id,
        priority=MAINTENANCE_PRIORITY,
        lock=name,
        queueing_lock=name,
    )
