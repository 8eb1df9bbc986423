"""Tenants in PostgreSQL."""

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import tenants
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded

_INSERT = insert(tenants).on_conflict_do_nothing(index_elements=[tenants.c.id])
_FIND = select(tenants).where(tenants.c.id == bindparam("tenant"), tenants.c.id != UNROUTED)
# Everything of the tenant is deleted with it: each table's foreign key says ON DELETE CASCADE.
_DELETE = delete(tenants).where(tenants.c.id == bindparam("tenant"), tenants.c.id != UNROUTED)


class PostgresTenantStore:
    """`TenantStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def record(self, tenant: Tenant) -> Recorded:
        """See `TenantStore.record`."""
        added = self._transaction.count(_INSERT, {"id": tenant.id, "created_at": tenant.created_at})
        return Recorded.NEW if added else Recorded.DUPLICATE

    def find(self, tenant_id: TenantId) -> Tenant | None:
        """See `TenantStore.find`."""
        row = self._transaction.first(_FIND, {"tenant": tenant_id})
        return None if row is None else Tenant(id=row.id, created_at=row.created_at)

    def delete(self, tenant_id: TenantId) -> bool:
        """See `TenantStore.delete`."""
        return self._transaction.count(_DELETE, {"tenant": tenant_id}) > 0
