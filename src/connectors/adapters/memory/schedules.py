"""Schedule entries in memory."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from connectors.adapters.memory.database import MemoryDatabase
from connectors.domain.model.ids import TenantId
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.tasks import TaskKind


class MemoryScheduleStore:
    """`ScheduleStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.schedules

    def plan(self, entry: ScheduleEntry) -> None:
        """See `ScheduleStore.plan`."""
        self._database.require_tenant(entry.tenant_id)
        self._rows.put((entry.tenant_id, entry.subject_id, entry.kind), entry)

    def ensure(self, entry: ScheduleEntry) -> None:
        """See `ScheduleStore.ensure`."""
        if self.find(entry.tenant_id, entry.subject_id, entry.kind) is None:
            self.plan(entry)

    def cancel(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind | None = None) -> None:
        """See `ScheduleStore.cancel`."""
        for each in TaskKind if kind is None else (kind,):
            self._rows.remove((tenant_id, subject_id, each))

    def find(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind) -> ScheduleEntry | None:
        """See `ScheduleStore.find`."""
        return self._rows.get((tenant_id, subject_id, kind))

    def lock_due(self, kind: TaskKind, *, now: datetime, limit: int) -> Sequence[ScheduleEntry]:
        """See `ScheduleStore.lock_due`."""
        due = [row for row in self._rows.values() if row.kind is kind and row.next_at <= now]
        return sorted(due, key=lambda row: (row.next_at, row.tenant_id, row.subject_id))[:limit]
