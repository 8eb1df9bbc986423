"""Tickets: what stands in the queue. Each names something to look after; what there is to do is found out then."""

from enum import StrEnum
from uuid import UUID

import attrs

from connectors.domain.model.ids import ConnectionId, GrantId, TenantId
from connectors.domain.model.sync import JobType, SyncJob


class Task(StrEnum):
    """What kind of thing a ticket names."""

    SYNC = "sync"
    """A sync job, to be run for a while."""
    TEND = "tend"
    """A connection, whose webhook subscriptions want looking after."""
    REFRESH = "refresh"
    """A grant, whose tokens would die unused."""


PRIORITIES = {JobType.WEBHOOK: 30, JobType.INCREMENTAL: 20, JobType.BACKFILL: 10}
"""Of sync tickets: what somebody waits for goes first, history last."""

MAINTENANCE_PRIORITY = 40
"""Of all others: few, short, and what they keep alive does not come back by itself."""


@attrs.frozen(kw_only=True)
class Ticket:
    """One entry in the queue."""

    task: Task
    tenant_id: TenantId
    subject_id: UUID
    """The job, connection or grant."""
    priority: int
    """The highest first; among equals the one that came first."""
    lock: str | None
    """Of all tickets with one lock, one is worked on at a time."""
    queueing_lock: str
    """Of all tickets with one queueing lock, one waits at a time."""


def sync_ticket(job: SyncJob, *, is_continued: bool = False) -> Ticket:
    """The ticket of a sync job: one a connection is worked on, one new one waits for each type and target.

    Args:
        job: the job.
        is_continued: it was begun before. A new job of its type may wait beside it.
    """
    kind = f"{job.connection_id}:{job.type}:{job.target or ''}"
    return Ticket(
        task=Task.SYNC,
        tenant_id=job.tenant_id,
        subject_id=job.id,
        priority=PRIORITIES[job.type],
        lock=f"connection:{job.connection_id}",
        queueing_lock=f"sync:{kind}:{job.id}" if is_continued else f"sync:{kind}",
    )


def tend_ticket(tenant_id: TenantId, connection_id: ConnectionId) -> Ticket:
    """The ticket that has a connection's subscriptions looked after. It does not wait for the connection's syncs."""
    name = f"tend:{connection_id}"
    return Ticket(
        task=Task.TEND,
        tenant_id=tenant_id,
        subject_id=connection_id,
        priority=MAINTENANCE_PRIORITY,
        lock=name,
        queueing_lock=name,
    )


def refresh_ticket(tenant_id: TenantId, grant_id: GrantId) -> Ticket:
    """The ticket that has a grant's tokens refreshed before they die of disuse."""
    name = f"refresh:{grant_id}"
    return Ticket(
        task=Task.REFRESH,
        tenant_id=tenant_id,
        subject_id=grant_id,
        priority=MAINTENANCE_PRIORITY,
        lock=name,
        queueing_lock=name,
    )
