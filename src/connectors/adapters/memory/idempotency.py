"""Answers stored under idempotency keys, in memory."""

from datetime import datetime

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.idempotency import IdempotentAnswer
from connectors.domain.model.ids import TenantId


class MemoryIdempotencyStore:
    """`IdempotencyStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.idempotency

    def record(self, answer: IdempotentAnswer) -> IdempotentAnswer:
        """See `IdempotencyStore.record`."""
        there = self.find(answer.tenant_id, answer.key)
        if there is not None:
            return there
        self._database.require_tenant(answer.tenant_id)
        row = as_stored(answer)
        self._rows.put((answer.tenant_id, key_text(answer.key)), row)
        return row

    def find(self, tenant_id: TenantId, key: str) -> IdempotentAnswer | None:
        """See `IdempotencyStore.find`."""
        return self._rows.get((tenant_id, key_text(key)))

    def sweep(self, *, created_before: datetime) -> int:
        """See `IdempotencyStore.sweep`."""
        old = [key for key, row in self._rows.items() if row.created_at < created_before]
        for key in old:
            self._rows.remove(key)
        return len(old)
