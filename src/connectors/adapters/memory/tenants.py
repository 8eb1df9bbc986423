"""Tenants in memory."""

from connectors.adapters.memory.database import MemoryDatabase
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded


class MemoryTenantStore:
    """`TenantStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def record(self, tenant: Tenant) -> Recorded:
        """See `TenantStore.record`."""
        if tenant.id == UNROUTED or self._database.tenants.get((tenant.id,)) is not None:
            return Recorded.DUPLICATE
        self._database.tenants.put((tenant.id,), tenant)
        return Recorded.NEW

    def get(self, tenant_id: TenantId) -> Tenant:
        """See `TenantStore.get`."""
        tenant = self._database.tenants.get((tenant_id,))
        if tenant is None:
            raise TenantNotFoundError("There is no such tenant.")
        return tenant

    def delete(self, tenant_id: TenantId) -> bool:
        """See `TenantStore.delete`."""
        if self._database.tenants.get((tenant_id,)) is None:
            return False
        self._database.erase_tenant(tenant_id)
        return True
