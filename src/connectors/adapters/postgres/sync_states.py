"""Cursors and snapshots in PostgreSQL."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import snapshots, sync_states
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import encode_json, key_text
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import SyncState

# All states of a page are passed as one JSON document: one statement for any number of them.
_SAVE_SNAPSHOTS = text("""
    INSERT INTO snapshots (tenant_id, connection_id, key, state)
    SELECT :tenant_id, :connection_id, key, state
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS new (key text, state jsonb)
    ON CONFLICT (tenant_id, connection_id, key) DO UPDATE SET state = excluded.state
""")
_S = snapshots.c
_INSERT = insert(sync_states)
_SAVE_CURSOR = _INSERT.on_conflict_do_update(
    index_elements=[sync_states.c.tenant_id, sync_states.c.connection_id, sync_states.c.target],
    set_={"cursor": _INSERT.excluded.cursor, "read_until": _INSERT.excluded.read_until},
)
_LOAD_CURSOR = select(sync_states.c.cursor, sync_states.c.read_until).where(
    sync_states.c.tenant_id == bindparam("tenant"),
    sync_states.c.connection_id == bindparam("connection"),
    sync_states.c.target == bindparam("of_target"),
)


class PostgresSnapshotStore:
    """`SnapshotStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def load(
        self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """See `SnapshotStore.load`."""
        asked = {key: key_text(key) for key in keys}
        if not asked:
            return {}
        rows = self._transaction.all(
            select(_S.key, _S.state).where(
                _S.tenant_id == tenant_id, _S.connection_id == connection_id, _S.key.in_(set(asked.values()))
            )
        )
        found = {row.key: row.state for row in rows}
        return {key: found[stored] for key, stored in asked.items() if stored in found}

    def save(
        self, tenant_id: TenantId, connection_id: ConnectionId, states: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        """See `SnapshotStore.save`."""
        # By stored key, in the same order everywhere: no row occurs twice in a statement, and two writers do not
        # deadlock.
        stored = {key_text(key): state for key, state in states.items()}
        forgotten = [key for key, state in stored.items() if state is None]
        if forgotten:
            self._transaction.run(
                delete(snapshots).where(
                    _S.tenant_id == tenant_id, _S.connection_id == connection_id, _S.key.in_(forgotten)
                )
            )
        rows = [{"key": key, "state": state} for key, state in sorted(stored.items()) if state is not None]
        if rows:
            values = {"tenant_id": tenant_id, "connection_id": connection_id, "rows": encode_json(rows)}
            self._transaction.run(_SAVE_SNAPSHOTS, values)


class PostgresSyncStateStore:
    """`SyncStateStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def load(self, tenant_id: TenantId, connection_id: ConnectionId, target: str = "") -> SyncState | None:
        """See `SyncStateStore.load`."""
        values = {"tenant": tenant_id, "connection": connection_id, "of_target": target}
        row = self._transaction.first(_LOAD_CURSOR, values)
        return None if row is None else SyncState(cursor=row.cursor, read_until=row.read_until)

    def save(self, tenant_id: TenantId, connection_id: ConnectionId, state: SyncState, target: str = "") -> None:
        """See `SyncStateStore.save`."""
        values = {
            "tenant_id": tenant_id,
            "connection_id": connection_id,
            "target": target,
            "cursor": state.cursor,
            "read_until": state.read_until,
        }
        self._transaction.run(_SAVE_CURSOR, values)
