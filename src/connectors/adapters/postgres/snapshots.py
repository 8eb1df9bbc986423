"""Snapshots in PostgreSQL."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select, text

from connectors.adapters.postgres.tables import snapshots
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import encode_json, key_text
from connectors.domain.model.ids import ConnectionId, TenantId

# All states of a page are passed as one JSON document: one statement for any number of them.
_SAVE_SNAPSHOTS = text("""
    INSERT INTO snapshots (tenant_id, connection_id, key, state)
    SELECT :tenant_id, :connection_id, key, state
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS new (key text, state jsonb)
    ON CONFLICT (tenant_id, connection_id, key) DO UPDATE SET state = excluded.state
""")
_S = snapshots.c


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
