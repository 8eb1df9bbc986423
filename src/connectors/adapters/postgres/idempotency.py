"""Answers stored under idempotency keys, in PostgreSQL."""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import idempotency_keys
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import key_text
from connectors.domain.model.idempotency import IdempotentAnswer
from connectors.domain.model.ids import TenantId

_T = idempotency_keys.c


class PostgresIdempotencyStore:
    """`IdempotencyStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def record(self, answer: IdempotentAnswer) -> IdempotentAnswer:
        """See `IdempotencyStore.record`."""
        values = {
            "tenant_id": answer.tenant_id,
            "key": answer.key,
            "fingerprint": answer.fingerprint,
            "job_ids": list(answer.job_ids),
            "created_at": answer.created_at,
        }
        statement = insert(idempotency_keys).on_conflict_do_nothing(index_elements=[_T.tenant_id, _T.key])
        if self._transaction.count(statement, values):
            return answer
        return self.find(answer.tenant_id, answer.key) or answer

    def find(self, tenant_id: TenantId, key: str) -> IdempotentAnswer | None:
        """See `IdempotencyStore.find`."""
        # A row that does not exist cannot be locked; a number made from tenant and key is locked instead.
        name = func.hashtextextended(f"{tenant_id}:{key_text(key)}", 0)
        self._transaction.run(select(func.pg_advisory_xact_lock(name)))
        row = self._transaction.first(select(idempotency_keys).where(_T.tenant_id == tenant_id, _T.key == key))
        if row is None:
            return None
        return IdempotentAnswer(
            tenant_id=row.tenant_id,
            key=row.key,
            fingerprint=row.fingerprint,
            job_ids=tuple(row.job_ids),
            created_at=row.created_at,
        )

    def sweep(self, *, created_before: datetime) -> int:
        """See `IdempotencyStore.sweep`."""
        return self._transaction.count(delete(idempotency_keys).where(_T.created_at < created_before))
