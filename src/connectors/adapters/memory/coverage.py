"""The coverage ledger in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored
from connectors.domain.model.coverage import CoveragePath, Gap, Interval
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.webhook import Recorded


class MemoryCoverageStore:
    """`CoverageStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._intervals = database.intervals
        self._gaps = database.gaps

    def list_intervals(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Interval]:
        """See `CoverageStore.list_intervals`."""
        found = [
            interval
            for key, intervals in self._intervals.items()
            if key[:2] == (tenant_id, connection_id)
            for interval in intervals
        ]
        return sorted(found, key=lambda one: (one.from_at, one.family, one.path))

    def replace_intervals(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        path: CoveragePath,
        intervals: Mapping[str, Sequence[Interval]],
    ) -> None:
        """See `CoverageStore.replace_intervals`."""
        self._database.require_tenant(tenant_id)
        for family, proven in intervals.items():
            self._intervals.put((tenant_id, connection_id, path, family), tuple(as_stored(one) for one in proven))

    def list_gaps(self, tenant_id: TenantId, connection_id: ConnectionId, *, is_open: bool = False) -> Sequence[Gap]:
        """See `CoverageStore.list_gaps`."""
        rows = self._gaps.find("connection", (tenant_id, connection_id))
        return sorted(
            (row for row in rows if not is_open or row.closed_at is None),
            key=lambda row: (row.from_at, row.family, row.id),
        )

    def open_gap(self, gap: Gap) -> Recorded:
        """See `CoverageStore.open_gap`."""
        row = as_stored(gap)
        for other in self._gaps.find("connection", (row.tenant_id, row.connection_id)):
            is_same = (other.family, other.cause, other.reference) == (row.family, row.cause, row.reference)
            if is_same and (other.closed_at is None or row.reference):
                return Recorded.DUPLICATE
        self._database.require_tenant(row.tenant_id)
        self._gaps.put((row.tenant_id, row.id), row)
        return Recorded.NEW

    def save_gap(self, gap: Gap) -> None:
        """See `CoverageStore.save_gap`."""
        if self._gaps.get((gap.tenant_id, gap.id)) is not None:
            self._gaps.put((gap.tenant_id, gap.id), as_stored(gap))

    def count_open(self) -> int:
        """See `CoverageStore.count_open`."""
        return sum(row.closed_at is None for row in self._gaps.values())

    def prune(self, *, closed_before: datetime) -> int:
        """See `CoverageStore.prune`."""
        old = [row for row in self._gaps.values() if row.closed_at is not None and row.closed_at < closed_before]
        for row in old:
            self._gaps.remove((row.tenant_id, row.id))
        return len(old)
