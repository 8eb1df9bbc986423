"""Tenants: recorded, shown, erased with everything they have."""

import attrs

from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.endings.records import FIRST_LOOK, plan_end
from connectors.domain.model.connection import Connection, ReasonCode
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.paging import MAX_LIMIT, PageRequest
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory


@attrs.frozen(kw_only=True)
class TenantFlow:
    """Records, shows and erases tenants."""

    unit_of_work: UnitOfWorkFactory
    disconnect: DisconnectFlow
    clock: Clock

    def ensure(self, tenant_id: TenantId) -> tuple[Tenant, Recorded]:
        """The tenant, recorded if it was new.

        Raises:
            TenantNotFoundError: the nil UUID, which is no tenant.
        """
        if tenant_id == UNROUTED:
            raise TenantNotFoundError("The nil UUID is not a tenant.")
        with self.unit_of_work() as uow:
            recorded = uow.tenants.record(Tenant(id=tenant_id, created_at=self.clock.now()))
            return uow.tenants.get(tenant_id), recorded

    def get(self, tenant_id: TenantId) -> Tenant:
        """The tenant.

        Raises:
            TenantNotFoundError: it is not known here.
        """
        with self.unit_of_work() as uow:
            return uow.tenants.get(tenant_id)

    def erase(self, tenant_id: TenantId) -> None:
        """End all of the tenant's connections, and erase everything that it has here.

        A provider's refusal does not stop it: what has to go there is tried for a day, and only what is needed for that
        is kept so long.

        Raises:
            TenantNotFoundError: it is not known here.
        """
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id, lock=True)
            uow.tenants.mark_erased(tenant_id, at=uow.now())
            # If this process dies, a worker goes on.
            plan_end(uow, tenant_id, tenant_id, self.clock.now() + FIRST_LOOK)
        self.finish_erasure(tenant_id)

    def finish_erasure(self, tenant_id: TenantId) -> None:
        """Do what is left of an erasure that has begun. A tenant that was made again since stays as it is.

        Raises:
            InfrastructureError: our database failed. A worker tries again.
        """
        connections = self._connections(tenant_id)
        with self.unit_of_work() as uow:
            if not uow.tenants.is_being_erased(tenant_id):
                return
        for connection in connections:
            self.disconnect.end_connection(tenant_id, connection.id, code=ReasonCode.TENANT_ERASED)
        left = self._connections(tenant_id)
        with self.unit_of_work() as uow:
            if not uow.tenants.is_being_erased(tenant_id, lock=True):
                return
            # The oldest first, and before what belongs to them, as everywhere: else the deletion could deadlock.
            for connection in left:
                uow.connections.get(tenant_id, connection.id, lock=True)
            uow.tenants.erase(tenant_id)
            uow.schedules.cancel(tenant_id, tenant_id, TaskKind.END)

    def _connections(self, tenant_id: TenantId) -> list[Connection]:
        """All of the tenant's connections, the oldest first."""
        found: list[Connection] = []
        page = PageRequest(limit=MAX_LIMIT)
        while True:
            with self.unit_of_work() as uow:
                listed = uow.connections.list_page(tenant_id, page)
            found += listed.items
            if listed.next is None:
                return sorted(found, key=lambda one: (one.created_at, one.id))
            page = PageRequest(limit=MAX_LIMIT, after=listed.next)
