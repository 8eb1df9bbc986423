"""Appointments in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import schedules
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ids import TenantId
from connectors.domain.model.schedule import Appointment, Errand

_T = schedules.c
_KEY = (_T.tenant_id, _T.subject_id, _T.errand)
_INSERT = insert(schedules)
_PLAN = _INSERT.on_conflict_do_update(index_elements=_KEY, set_={"next_at": _INSERT.excluded.next_at})
_ENSURE = _INSERT.on_conflict_do_nothing(index_elements=_KEY)


class PostgresScheduleStore:
    """`ScheduleStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def plan(self, appointment: Appointment) -> None:
        """See `ScheduleStore.plan`."""
        self._transaction.run(_PLAN, _values(appointment))

    def ensure(self, appointment: Appointment) -> None:
        """See `ScheduleStore.ensure`."""
        self._transaction.run(_ENSURE, _values(appointment))

    def cancel(self, tenant_id: TenantId, subject_id: UUID) -> None:
        """See `ScheduleStore.cancel`."""
        self._transaction.run(delete(schedules).where(_T.tenant_id == tenant_id, _T.subject_id == subject_id))

    def find(self, tenant_id: TenantId, subject_id: UUID, errand: Errand) -> Appointment | None:
        """See `ScheduleStore.find`."""
        row = self._transaction.first(
            select(schedules).where(_T.tenant_id == tenant_id, _T.subject_id == subject_id, _T.errand == errand)
        )
        return None if row is None else _read(row)

    def lock_due(self, errand: Errand, *, now: datetime, limit: int) -> Sequence[Appointment]:
        """See `ScheduleStore.lock_due`."""
        due = select(schedules).where(_T.errand == errand, _T.next_at <= now)
        rows = self._transaction.all(due.order_by(_T.next_at).limit(limit).with_for_update(skip_locked=True))
        return [_read(row) for row in rows]


def _values(appointment: Appointment) -> dict[str, Any]:
    return {
        "tenant_id": appointment.tenant_id,
        "subject_id": appointment.subject_id,
        "errand": appointment.errand,
        "next_at": appointment.next_at,
    }


def _read(row: Any) -> Appointment:
    return Appointment(
        tenant_id=row.tenant_id, subject_id=row.subject_id, errand=Errand(row.errand), next_at=row.next_at
    )
