"""What the sync engine keeps. The same rules hold as in `stores.py`: one tenant at a time, inside a unit of work."""

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
from connectors.domain.model.sync import JobFilter, JobStatus, JobType, SyncJob, SyncState
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded


class SnapshotStore(Protocol):
    """Last known states of provider items, per connection, for packages whose API shows states and not events."""

    def load(
        self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """The states under these keys; unknown keys are absent."""
        ...

    def save(
        self, tenant_id: TenantId, connection_id: ConnectionId, states: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        """Replace the states under these keys; None forgets one."""
        ...


class SyncStateStore(Protocol):
    """Where each connection's incremental reading stands."""

    def load(self, tenant_id: TenantId, connection_id: ConnectionId, target: str = "") -> SyncState | None:
        """What the last finished walk left, or None."""
        ...

    def save(self, tenant_id: TenantId, connection_id: ConnectionId, state: SyncState, target: str = "") -> None:
        """Replace it."""
        ...


class JobStore(Protocol):
    """Sync jobs; at most one that is QUEUED and not begun per connection, type and target."""

    def enqueue(self, job: SyncJob) -> SyncJob:
        """Keep it as QUEUED; where one like it waits that has not begun, that one is returned instead."""
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
            ConflictError: it would be the second of its connection, type and target that is queued and not begun.
        """
        ...

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: JobFilter) -> Page[SyncJob]:
        """A page of the tenant's jobs, newest first by (scheduled_at, id)."""
        ...

    def list_unfinished(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[SyncJob]:
        """The connection's queued and running jobs, oldest first."""
        ...

    def list_untouched(self, *, before: datetime, limit: int) -> Sequence[SyncJob]:
        """Across tenants: unfinished jobs that have not changed since, and were to go on by then. For rescue."""
        ...

    def count_running(self, *, tenant_id: TenantId | None = None, provider: ProviderSlug | None = None) -> int:
        """Across tenants unless one is named: how many jobs run. Until this unit of work ends, nobody else counts, so
        that two workers cannot both take the last place."""
        ...

    def count_unfinished(self) -> Mapping[tuple[ProviderSlug, JobType, JobStatus], int]:
        """Across tenants: how many jobs wait and run. For metrics."""
        ...

    def earliest_waiting(self) -> Mapping[ProviderSlug, datetime]:
        """Across tenants: since when each provider's oldest job waits that has not begun. For metrics."""
        ...

    def prune(self, *, finished_before: datetime, limit: int) -> int:
        """Across tenants: drop jobs that ended earlier, at most so many; how many."""
        ...


class ScheduleStore(Protocol):
    """Schedule entries; (tenant, subject, task) is unique."""

    def plan(self, entry: ScheduleEntry) -> None:
        """Make the schedule entry, or move the one that is there."""
        ...

    def ensure(self, entry: ScheduleEntry) -> None:
        """Make the schedule entry unless there is one."""
        ...

    def cancel(self, tenant_id: TenantId, subject_id: UUID) -> None:
        """Forget all of the subject's schedule entries."""
        ...

    def find(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind) -> ScheduleEntry | None:
        """The schedule entry, or None."""
        ...

    def lock_due(self, kind: TaskKind, *, now: datetime, limit: int) -> Sequence[ScheduleEntry]:
        """Across tenants: schedule entries whose time has come, the earliest first, at most so many.

        They are ours until this unit of work ends: nobody else gets them meanwhile, nor waits for us. Whoever takes one
        moves or cancels it.
        """
        ...


class CoverageStore(Protocol):
    """The coverage ledger: proven intervals and gaps of each connection."""

    def list_intervals(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Interval]:
        """All of the connection's proven intervals, the earliest first."""
        ...

    def replace_intervals(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        path: CoveragePath,
        intervals: Mapping[str, Sequence[Interval]],
    ) -> None:
        """Put these in the place of all that the path had proven of each of these families."""
        ...

    def list_gaps(self, tenant_id: TenantId, connection_id: ConnectionId, *, is_open: bool = False) -> Sequence[Gap]:
        """The connection's gaps, the earliest first; with `is_open`, only those that are not closed."""
        ...

    def open_gap(self, gap: Gap) -> Recorded:
        """Keep it. DUPLICATE, and unchanged, if one of the same family, cause and reference is open, or, where there is
        a reference, was ever opened."""
        ...

    def save_gap(self, gap: Gap) -> None:
        """Replace the gap with this id."""
        ...

    def count_open(self) -> int:
        """Across tenants: how many gaps are open. For metrics."""
        ...

    def prune(self, *, closed_before: datetime) -> int:
        """Across tenants: drop gaps that were closed earlier; how many."""
        ...


class LimitStore(Protocol):
    """How much of the vendors' limits all workers together have used. Keys are the engine's (`flows/metering.py`)."""

    def reserve_all(self, reservations: Sequence[Reservation], *, now: datetime, max_wait: timedelta) -> datetime:
        """When a request that counts against all of these may go out, `now` at the earliest.

        If that is within the patience, its place in all of them is taken; else in none.
        """
        ...

    def pause(self, key: str, *, until: datetime) -> None:
        """Let nothing that counts against the key go out before then. A shorter pause never ends a longer one."""
        ...

    def sweep(self, *, now: datetime) -> int:
        """Drop what holds nothing back any more; how many."""
        ...


class IdempotencyStore(Protocol):
    """What was answered to requests with an `Idempotency-Key`; (tenant, key) is unique."""

    def record(self, answer: IdempotentAnswer) -> IdempotentAnswer:
        """Keep it, and return it; if the tenant's key is taken, what was kept for it is returned instead."""
        ...

    def find(self, tenant_id: TenantId, key: str) -> IdempotentAnswer | None:
        """What was answered under the tenant's key, or None. Until this unit of work ends nobody else records it."""
        ...

    def sweep(self, *, created_before: datetime) -> int:
        """Across tenants: drop older ones; how many."""
        ...
