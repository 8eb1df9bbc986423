"""Tenants in PostgreSQL."""

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import tenants
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded

_INSERT = insert(tenants).on_conflict_do_nothing(index_elements=[tenants.c.id])
_GET = select(tenants).where(tenants.c.id == bindparam("tenant"), tenants.c.id != UNROUTED)
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

    def get(self, tenant_id: TenantId) -> Tenant:
        """See `TenantStore.get`."""
        row = self._transaction.first(_GET, {"tenant": tenant_id})
        if row is None:
            raise TenantNotFoundError("There is no such tenant.")
        return Tenant(id=row.id, created_at=row.created_at)

    def delete(self, tenant_id: TenantId) -> bool:
        """See `TenantStore.delete`."""
        return self._transaction.count(_DELETE, {"tenant": tenant_id}) > 0
