"""The coverage ledger in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.tables import coverage, coverage_gaps
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.coverage import CoveragePath, Gap, GapCause, GapClosedBy, Interval
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.webhook import Recorded

_I = coverage.c
_G = coverage_gaps.c
_OPEN_GAP = insert(coverage_gaps).on_conflict_do_nothing()


class PostgresCoverageStore:
    """`CoverageStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_intervals(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Interval]:
        """See `CoverageStore.list_intervals`."""
        statement = select(coverage).where(_I.tenant_id == tenant_id, _I.connection_id == connection_id)
        rows = self._transaction.all(statement.order_by(_I.from_at, _I.family, _I.path))
        return [
            Interval(
                tenant_id=row.tenant_id,
                connection_id=row.connection_id,
                family=row.family,
                path=CoveragePath(row.path),
                from_at=row.from_at,
                to_at=row.to_at,
            )
            for row in rows
        ]

    def replace_intervals(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        path: CoveragePath,
        intervals: Mapping[str, Sequence[Interval]],
    ) -> None:
        """See `CoverageStore.replace_intervals`."""
        if not intervals:
            return
        self._transaction.run(
            delete(coverage).where(
                _I.tenant_id == tenant_id,
                _I.connection_id == connection_id,
                _I.path == path,
                _I.family.in_(list(intervals)),
            )
        )
        rows = [
            {
                "tenant_id": tenant_id,
                "connection_id": connection_id,
                "path": path,
                "family": family,
                "from_at": one.from_at,
                "to_at": one.to_at,
            }
            for family, proven in intervals.items()
            for one in proven
        ]
        if rows:
            self._transaction.run(insert(coverage).values(rows))

    def list_gaps(self, tenant_id: TenantId, connection_id: ConnectionId, *, is_open: bool = False) -> Sequence[Gap]:
        """See `CoverageStore.list_gaps`."""
        statement = select(coverage_gaps).where(_G.tenant_id == tenant_id, _G.connection_id == connection_id)
        if is_open:
            statement = statement.where(_G.closed_at.is_(None))
        return [_read(row) for row in self._transaction.all(statement.order_by(_G.from_at, _G.family, _G.id))]

    def open_gap(self, gap: Gap) -> Recorded:
        """See `CoverageStore.open_gap`."""
        return Recorded.NEW if self._transaction.count(_OPEN_GAP, _values(gap)) else Recorded.DUPLICATE

    def save_gap(self, gap: Gap) -> None:
        """See `CoverageStore.save_gap`."""
        self._transaction.run(
            update(coverage_gaps).where(_G.tenant_id == gap.tenant_id, _G.id == gap.id).values(_values(gap))
        )

    def count_open(self) -> int:
        """See `CoverageStore.count_open`."""
        statement = select(func.count()).select_from(coverage_gaps).where(_G.closed_at.is_(None))
        number: int = self._transaction.run(statement).scalar_one()
        return number

    def prune(self, *, closed_before: datetime) -> int:
        """See `CoverageStore.prune`."""
        return self._transaction.count(delete(coverage_gaps).where(_G.closed_at < closed_before))


def _values(gap: Gap) -> dict[str, Any]:
    return {
        "tenant_id": gap.tenant_id,
        "id": gap.id,
        "connection_id": gap.connection_id,
        "family": gap.family,
        "cause": gap.cause,
        "reference": gap.reference,
        "reason": gap.reason,
        "stream": gap.stream,
        "from_at": gap.from_at,
        "to_at": gap.to_at,
        "opened_at": gap.opened_at,
        "closed_at": gap.closed_at,
        "closed_by": gap.closed_by,
    }


def _read(row: Row[Any]) -> Gap:
    return Gap(
        id=row.id,
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        family=row.family,
        cause=GapCause(row.cause),
        reference=row.reference,
        reason=row.reason,
        stream=row.stream,
        from_at=row.from_at,
        to_at=row.to_at,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_by=None if row.closed_by is None else GapClosedBy(row.closed_by),
    )
