"""Snapshots in memory."""

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import key_text, stored_json
from connectors.domain.model.ids import ConnectionId, TenantId


class MemorySnapshotStore:
    """`SnapshotStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.snapshots

    def load(
        self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """See `SnapshotStore.load`."""
        found = {}
        for key in keys:
            state = self._rows.get((tenant_id, connection_id, key_text(key)))
            if state is not None:
                found[key] = state
        return found

    def save(
        self, tenant_id: TenantId, connection_id: ConnectionId, states: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        """See `SnapshotStore.save`."""
        for key, state in states.items():
            row_key = (tenant_id, connection_id, key_text(key))
            if state is None:
                self._rows.remove(row_key)
            else:
                self._database.require_tenant(tenant_id)
                self._rows.put(row_key, stored_json(state))
