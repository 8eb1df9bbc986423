"""Signals in memory."""

from collections.abc import Sequence

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.ids import SignalId, TenantId
from connectors.domain.model.paging import Page, PageRequest
from connectors.domain.model.signal import Signal, SignalFilter


class MemorySignalStore:
    """`SignalStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.signals

    def record_all(self, signals: Sequence[Signal]) -> frozenset[SignalId]:
        """See `SignalStore.record_all`."""
        new = set()
        for signal in signals:
            self._database.require_tenant(signal.tenant_id)
            dedupe_key = key_text(signal.dedupe_key)
            if self._rows.find("dedupe", (signal.tenant_id, signal.provider, dedupe_key)):
                continue
            if self._rows.get((signal.tenant_id, signal.id)) is not None:
                raise ConflictError("Another signal has this id.")
            row = attrs.evolve(as_stored(signal), dedupe_key=dedupe_key)
            self._rows.put((row.tenant_id, row.id), row)
            new.add(row.id)
        return frozenset(new)

    def get(self, tenant_id: TenantId, signal_id: SignalId) -> Signal:
        """See `SignalStore.get`."""
        row = self._rows.get((tenant_id, signal_id))
        if row is None:
            raise NotFoundError("The tenant has no such signal.")
        return row

    def list_page(
        self, tenant_id: TenantId, page: PageRequest, where: SignalFilter, *, with_payload: bool = False
    ) -> Page[Signal]:
        """See `SignalStore.list_page`."""
        found = self._rows.page(tenant_id, page, lambda row: _matches(row, where))
        if with_payload:
            return found
        return Page(tuple(attrs.evolve(row, payload=None) for row in found.items), found.next)

    def list_arrived(self, tenant_id: TenantId, *, after: SignalId, limit: int) -> Sequence[Signal]:
        """See `SignalStore.list_arrived`."""
        rows = [row for row in self._rows.newest_first(tenant_id) if row.id > after]
        return [attrs.evolve(row, payload=None) for row in sorted(rows, key=lambda row: row.id)[:limit]]


def _matches(row: Signal, where: SignalFilter) -> bool:
    return (
        where.provider in (None, row.provider)
        and where.connection_id in (None, row.connection_id)
        and where.kind in (None, row.kind)
        and (where.occurred_after is None or row.occurred_at > where.occurred_after)
        and (where.occurred_before is None or row.occurred_at < where.occurred_before)
    )
