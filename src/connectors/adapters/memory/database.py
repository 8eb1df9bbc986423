"""The tables in memory, and the one lock over them."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from threading import RLock
from uuid import UUID

import attrs

from connectors.adapters.memory.table import Table, UndoLog
from connectors.adapters.storable import account_email, account_host
from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import Gap, Interval
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.idempotency import IdempotentAnswer
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.limits import LimitState
from connectors.domain.model.oauth import AuthorizationRequest, Grant
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.signal import Signal
from connectors.domain.model.stream_state import AccountState, ParkedState, StreamState
from connectors.domain.model.sync import Cursor, JobStatus, SyncJob
from connectors.domain.model.tasks import QueuedTask, TaskKind
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Subscription, WebhookDelivery


@attrs.frozen
class GrantRow:
    """A grant with its refresh lease."""

    grant: Grant
    fencing_token: int = 0
    leased_until: datetime | None = None


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class TaskRow:
    """A queued task."""

    number: int
    task: QueuedTask
    due_at: datetime
    rank: int
    owner: str | None = None
    """The worker that has taken it; None while it waits."""

    @property
    def is_taken(self) -> bool:
        """Whether a worker has it."""
        return self.owner is not None


def _queued_key(job: SyncJob) -> tuple[object, ...] | None:
    if job.status is not JobStatus.QUEUED or job.attempts:
        return None
    return (job.tenant_id, job.connection_id, job.type, job.target)


class MemoryDatabase:
    """Everything that is stored, for as long as this object exists."""

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self.now = now
        """The queue's clock."""
        self.lock = RLock()
        """Held for the whole of a unit of work: they run one after another."""
        self.undo: UndoLog = []
        undo = self.undo
        self.tenants: Table[tuple[UUID], Tenant] = Table(undo)
        self.connections: Table[tuple[UUID, UUID], Connection] = Table(
            undo,
            indexes={
                "account": lambda row: (row.tenant_id, row.provider, row.account.id),
                "grant": lambda row: (row.tenant_id, row.grant_id),
                "named": lambda row: (row.provider, row.account.id),
                "host": lambda row: (row.provider, account_host(row.account)),
                "email": lambda row: (row.provider, account_email(row.account)),
            },
            order=lambda row: (row.created_at, row.id),
        )
        self.grants: Table[tuple[UUID, UUID], GrantRow] = Table(
            undo,
            indexes={
                "key": lambda row: (row.grant.tenant_id, row.grant.provider, row.grant.grant_key),
                "consent": lambda row: row.grant.grant_key,
            },
        )
        self.authorization_requests: Table[tuple[UUID, bytes], AuthorizationRequest] = Table(
            undo, indexes={"state": lambda row: row.state_hash}
        )
        self.subscriptions: Table[tuple[UUID, UUID], Subscription] = Table(
            undo,
            indexes={
                "connection": lambda row: (row.tenant_id, row.connection_id),
                "provider": lambda row: (row.tenant_id, row.provider),
                "grant": lambda row: (row.tenant_id, row.grant_id),
            },
        )
        self.deliveries: Table[tuple[UUID, UUID], WebhookDelivery] = Table(
            undo,
            indexes={"delivery": lambda row: (row.tenant_id, row.provider, row.delivery_id)},
            order=lambda row: (row.received_at, row.id),
        )
        self.signals: Table[tuple[UUID, UUID], Signal] = Table(
            undo,
            indexes={"dedupe": lambda row: (row.tenant_id, row.provider, row.dedupe_key)},
            order=lambda row: (row.occurred_at, row.id),
        )
        self.snapshots: Table[tuple[UUID, UUID, str], Cursor] = Table(undo)
        self.accounts: Table[tuple[UUID, UUID], AccountState] = Table(undo)
        self.streams: Table[tuple[UUID, UUID, str], StreamState] = Table(
            undo, indexes={"connection": lambda row: (row.tenant_id, row.connection_id)}
        )
        self.parked: Table[tuple[UUID, UUID, str, str], ParkedState] = Table(
            undo, indexes={"connection": lambda row: (row.tenant_id, row.connection_id)}
        )
        self.jobs: Table[tuple[UUID, UUID], SyncJob] = Table(
            undo,
            indexes={"queued": _queued_key, "connection": lambda row: (row.tenant_id, row.connection_id)},
            order=lambda row: (row.scheduled_at, row.id),
        )
        self.schedules: Table[tuple[UUID, UUID, str], ScheduleEntry] = Table(undo)
        self.intervals: Table[tuple[UUID, UUID, str, str], tuple[Interval, ...]] = Table(undo)
        self.gaps: Table[tuple[UUID, UUID], Gap] = Table(
            undo, indexes={"connection": lambda row: (row.tenant_id, row.connection_id)}
        )
        self.limits: Table[tuple[str], LimitState] = Table(undo)
        self.idempotency: Table[tuple[UUID, str], IdempotentAnswer] = Table(undo)
        self.tasks: Table[tuple[UUID, int], TaskRow] = Table(
            undo, indexes={"queueing_lock": lambda row: None if row.is_taken else row.task.queueing_lock}
        )
        self.task_numbers = count(1)

    def require_tenant(self, tenant_id: TenantId) -> None:
        """Ensure that the tenant exists.

        Raises:
            TenantNotFoundError: nobody has this id, and it is not `UNROUTED`.
        """
        if tenant_id != UNROUTED and self.tenants.get((tenant_id,)) is None:
            raise TenantNotFoundError("The tenant is not known here.")

    def erase_tenant(self, tenant_id: TenantId) -> None:
        """Delete everything of the tenant."""
        # In the order in which they are locked elsewhere.
        self.tenants.remove_tenant(tenant_id)
        self.grants.remove_tenant(tenant_id)
        self.connections.remove_tenant(tenant_id)
        self.subscriptions.remove_tenant(tenant_id)
        self.erase_data(tenant_id)
        self.schedules.remove_tenant(tenant_id)
        self.tasks.remove_tenant(tenant_id)

    def erase_data(self, tenant_id: TenantId) -> None:
        """Delete everything of the tenant that is not needed to end what it has at providers."""
        for entry in self.schedules.values():
            if entry.tenant_id == tenant_id and entry.kind is not TaskKind.END:
                self.schedules.remove((entry.tenant_id, entry.subject_id, entry.kind))
        for table in (
            self.authorization_requests,
            self.deliveries,
            self.signals,
            self.snapshots,
            self.accounts,
            self.streams,
            self.parked,
            self.jobs,
            self.intervals,
            self.gaps,
            self.idempotency,
        ):
            table.remove_tenant(tenant_id)

    def roll_back(self, mark: int) -> None:
        """Undo, last first, every change since the undo log had `mark` entries."""
        while len(self.undo) > mark:
            # Popped first, because undoing must not be undone.
            self.undo.pop()()
