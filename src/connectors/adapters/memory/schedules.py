"""Appointments in memory."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from connectors.adapters.memory.database import MemoryDatabase
from connectors.domain.model.ids import TenantId
from connectors.domain.model.schedule import Appointment, Errand


class MemoryScheduleStore:
    """`ScheduleStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.schedules

    def plan(self, appointment: Appointment) -> None:
        """See `ScheduleStore.plan`."""
        self._database.require_tenant(appointment.tenant_id)
        self._rows.put((appointment.tenant_id, appointment.subject_id, appointment.errand), appointment)

    def ensure(self, appointment: Appointment) -> None:
        """See `ScheduleStore.ensure`."""
        if self.find(appointment.tenant_id, appointment.subject_id, appointment.errand) is None:
            self.plan(appointment)

    def cancel(self, tenant_id: TenantId, subject_id: UUID) -> None:
        """See `ScheduleStore.cancel`."""
        for errand in Errand:
            self._rows.remove((tenant_id, subject_id, errand))

    def find(self, tenant_id: TenantId, subject_id: UUID, errand: Errand) -> Appointment | None:
        """See `ScheduleStore.find`."""
        return self._rows.get((tenant_id, subject_id, errand))

    def lock_due(self, errand: Errand, *, now: datetime, limit: int) -> Sequence[Appointment]:
        """See `ScheduleStore.lock_due`."""
        due = [row for row in self._rows.values() if row.errand is errand and row.next_at <= now]
        return sorted(due, key=lambda row: (row.next_at, row.tenant_id, row.subject_id))[:limit]
