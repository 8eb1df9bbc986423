"""Schedule entries in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import schedules
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ids import TenantId
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.tasks import TaskKind

_T = schedules.c
_KEY = (_T.tenant_id, _T.subject_id, _T.kind)
_INSERT = insert(schedules)
_PLAN = _INSERT.on_conflict_do_update(index_elements=_KEY, set_={"next_at": _INSERT.excluded.next_at})
_ENSURE = _INSERT.on_conflict_do_nothing(index_elements=_KEY)


class PostgresScheduleStore:
    """`ScheduleStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def plan(self, entry: ScheduleEntry) -> None:
        """See `ScheduleStore.plan`."""
        self._transaction.run(_PLAN, _values(entry))

    def ensure(self, entry: ScheduleEntry) -> None:
        """See `ScheduleStore.ensure`."""
        self._transaction.run(_ENSURE, _values(entry))

    def cancel(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind | None = None) -> None:
        """See `ScheduleStore.cancel`."""
        statement = delete(schedules).where(_T.tenant_id == tenant_id, _T.subject_id == subject_id)
        self._transaction.run(statement if kind is None else statement.where(_T.kind == kind))

    def find(self, tenant_id: TenantId, subject_id: UUID, kind: TaskKind) -> ScheduleEntry | None:
        """See `ScheduleStore.find`."""
        row = self._transaction.first(
            select(schedules).where(_T.tenant_id == tenant_id, _T.subject_id == subject_id, _T.kind == kind)
        )
        return None if row is None else _read(row)

    def lock_due(self, kind: TaskKind, *, now: datetime, limit: int) -> Sequence[ScheduleEntry]:
        """See `ScheduleStore.lock_due`."""
        due = select(schedules).where(_T.kind == kind, _T.next_at <= now)
        rows = self._transaction.all(due.order_by(_T.next_at).limit(limit).with_for_update(skip_locked=True))
        return [_read(row) for row in rows]


def _values(entry: ScheduleEntry) -> dict[str, Any]:
    return {
        "tenant_id": entry.tenant_id,
        "subject_id": entry.subject_id,
        "kind": entry.kind,
        "next_at": entry.next_at,
    }


def _read(row: Any) -> ScheduleEntry:
    return ScheduleEntry(
        tenant_id=row.tenant_id, subject_id=row.subject_id, kind=TaskKind(row.kind), next_at=row.next_at
    )
