"""Tenants in memory."""

from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.domain.model.errors import ConflictError, TenantNotFoundError
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded, SubscriptionStatus

_UNFINISHED_GRANTS = (GrantState.NEW, GrantState.LIVE, GrantState.ENDING)
_UNFINISHED = (SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDING)


class MemoryTenantStore:
    """`TenantStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def record(self, tenant: Tenant) -> Recorded:
        """See `TenantStore.record`."""
        present = self._database.tenants.get((tenant.id,))
        if tenant.id == UNROUTED or (present is not None and present.erased_at is None):
            return Recorded.DUPLICATE
        if present is not None:
            if self._is_ending(tenant.id):
                raise ConflictError("This tenant is being erased. It can be made again once nothing of it is left.")
            self._database.erase_tenant(tenant.id)
        self._database.tenants.put((tenant.id,), tenant)
        return Recorded.NEW

    def get(
        self,
        tenant_id: TenantId,
        *,
        lock: bool = False,  # noqa: ARG002 - the unit of work holds the lock
    ) -> Tenant:
        """See `TenantStore.get`."""
        tenant = self._database.tenants.get((tenant_id,))
        if tenant is None or tenant.erased_at is not None:
            raise TenantNotFoundError("There is no such tenant.")
        return tenant

    def mark_erased(self, tenant_id: TenantId, *, at: datetime) -> None:
        """See `TenantStore.mark_erased`."""
        tenant = self._database.tenants.get((tenant_id,))
        if tenant is not None:
            self._database.tenants.put((tenant_id,), attrs.evolve(tenant, erased_at=at))

    def is_being_erased(
        self,
        tenant_id: TenantId,
        *,
        lock: bool = False,  # noqa: ARG002 - the unit of work holds the lock
    ) -> bool:
        """See `TenantStore.is_being_erased`."""
        tenant = self._database.tenants.get((tenant_id,))
        return tenant is not None and tenant.erased_at is not None

    def erase(self, tenant_id: TenantId) -> None:
        """See `TenantStore.erase`."""
        self._database.erase_data(tenant_id)

    def forget_erased(self, *, erased_before: datetime) -> int:
        """See `TenantStore.forget_erased`."""
        gone = [
            one.id
            for one in self._database.tenants.values()
            if one.erased_at is not None and one.erased_at < erased_before and not self._is_ending(one.id)
        ]
        for tenant_id in gone:
            self._database.erase_tenant(tenant_id)
        return len(gone)

    def _is_ending(self, tenant_id: TenantId) -> bool:
        database = self._database
        grants = (row.grant for row in database.grants.values())
        return any(one.tenant_id == tenant_id and one.state in _UNFINISHED_GRANTS for one in grants) or any(
            one.tenant_id == tenant_id and one.status in _UNFINISHED and one.grant_id is not None
            for one in database.subscriptions.values()
        )
