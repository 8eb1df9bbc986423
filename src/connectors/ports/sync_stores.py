"""The stores of the sync engine. The same rules apply as in `stores.py`: one tenant at a time, in a unit of work."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from connectors.domain.model.coverage import CoveragePath, Gap, Interval
from connectors.domain.model.idempotency import IdempotentAnswer
from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, TenantId
from connectors.domain.model.limits import Reservation
from connectors.domain.model.paging import Page, PageRequest
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.sync import JobFilter, JobStatus, JobType, Progress, SyncJob
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded


class SnapshotStore(Protocol):
    """Last known states of provider items, per connection, for providers whose API shows states and not events."""

    def load(
        self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """The states under these keys; unknown keys are absent."""
        ...

    def save(
        self, tenant_id: TenantId, connection_id: ConnectionId, states: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        """Replace the states under these keys; None deletes one."""
        ...


class JobStore(Protocol):
    """Sync jobs; at most one per connection, type and target is QUEUED and not begun."""

    def enqueue(self, job: SyncJob) -> SyncJob:
        """Store the job as QUEUED; if a job like it is waiting and has not begun, return that one instead."""
        ...

    def get(self, tenant_id: TenantId, job_id: JobId, *, lock: bool = False) -> SyncJob:
        """The tenant's job. `lock` as in `ConnectionStore.get`.

        Raises:
            NotFoundError: the tenant has none with this id.
        """
        ...

    def save(self, job: SyncJob) -> None:
        """Replace the job with this id.

        Raises:
            NotFoundError: there is none with this id.
            ConflictError: another job of its connection, type and target is already queued and not begun.
        """
        ...

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: JobFilter) -> Page[SyncJob]:
        """A page of the tenant's jobs, newest first by (scheduled_at, id)."""
        ...

    def list_unfinished(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[SyncJob]:
        """The connection's queued and running jobs, oldest first."""
        ...

    def list_untouched(self, *, before: datetime, limit: int) -> Sequence[SyncJob]:
        """Across tenants: unfinished jobs that have not changed since then and were due by then. For rescue."""
        ...

    def add_progress(self, tenant_id: TenantId, job_ids: Iterable[JobId], progress: Progress, *, at: datetime) -> None:
        """Add to the progress of those of these jobs that have not ended, changed at that instant. Not to what
        `StreamCounts` says."""
        ...

    def count_unfinished(self) -> Mapping[tuple[ProviderSlug, JobType, JobStatus], int]:
        """Across tenants: the number of queued and running jobs. For metrics."""
        ...

    def earliest_waiting(self) -> Mapping[ProviderSlug, datetime]:
        """Across tenants: when the oldest job that has not begun was scheduled, for each provider. For metrics."""
        ...

    def prune(self, *, finished_before: datetime, limit: int) -> int:
        """Across tenants: delete jobs that finished earlier, at most `limit`; returns how many."""
        ...


class ScheduleStore(Protocol):
    """Schedule entries; (tenant, subject, kind) is unique."""

    def plan(self, entry: ScheduleEntry) -> None:
        """Create the schedule entry, or move the existing one."""
        ...

    def ensure(self, entry: ScheduleEntry) -> None:
        """Create the schedule entry unless there is one."""
        ...

    def cancel(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind | None = None) -> None:
        """Delete the subject's schedule entry of this kind, or all of them. Deleting what is not there is harmless."""
        ...

    def find(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind) -> ScheduleEntry | None:
        """The schedule entry, or None."""
        ...

    def lock_due(self, kind: TaskKind, *, now: datetime, limit: int) -> Sequence[ScheduleEntry]:
        """Across tenants: schedule entries that are due, earliest first, at most `limit`.

        They stay locked until this unit of work ends: nobody else gets them, and nobody waits for them. The caller
        moves or cancels each of them.
        """
        ...


class CoverageStore(Protocol):
    """The coverage ledger: proven intervals and gaps of each connection."""

    def list_intervals(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Interval]:
        """All of the connection's proven intervals, earliest first."""
        ...

    def replace_intervals(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        path: CoveragePath,
        intervals: Mapping[str, Sequence[Interval]],
    ) -> None:
        """Replace all that this path had proven for each of these families."""
        ...

    def list_gaps(self, tenant_id: TenantId, connection_id: ConnectionId, *, is_open: bool = False) -> Sequence[Gap]:
        """The connection's gaps, earliest first; with `is_open`, only those that are not closed."""
        ...

    def open_gap(self, gap: Gap) -> Recorded:
        """Store the gap. DUPLICATE, with nothing changed, if a gap with the same family, cause and reference is open;
        with a reference, also if one was ever opened."""
        ...

    def save_gap(self, gap: Gap) -> None:
        """Replace the gap with this id."""
        ...

    def count_open(self) -> int:
        """Across tenants: the number of open gaps. For metrics."""
        ...

    def prune(self, *, closed_before: datetime) -> int:
        """Across tenants: delete gaps that were closed earlier; returns how many."""
        ...


class LimitStore(Protocol):
    """How much of the vendors' limits all workers together have used. `flows/provider_access/rate_limits.py` makes the
    keys."""

    def reserve_all(self, reservations: Sequence[Reservation], *, now: datetime, max_wait: timedelta) -> datetime:
        """When a request that counts against all of these may be sent, `now` at the earliest.

        If that is within `max_wait`, all of the reservations are made; otherwise none.
        """
        ...

    def pause(self, key: str, *, until: datetime) -> None:
        """Hold back everything that counts against the key until then. A shorter pause never ends a longer one."""
        ...

    def sweep(self, *, now: datetime) -> int:
        """Delete limits that hold nothing back any more; returns how many."""
        ...


class IdempotencyStore(Protocol):
    """Answers to requests with an `Idempotency-Key`; (tenant, key) is unique."""

    def record(self, answer: IdempotentAnswer) -> IdempotentAnswer:
        """Store the answer and return it; if the tenant has used the key already, return the stored answer instead."""
        ...

    def find(self, tenant_id: TenantId, key: str) -> IdempotentAnswer | None:
        """The answer stored under the tenant's key, or None. Until this unit of work ends, nobody else records one."""
        ...

    def sweep(self, *, created_before: datetime) -> int:
        """Across tenants: delete older answers; returns how many."""
        ...
