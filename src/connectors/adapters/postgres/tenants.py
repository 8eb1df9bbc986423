"""Tenants in PostgreSQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import METADATA, connections, grants, schedules, subscriptions, tenants
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.errors import ConflictError, TenantNotFoundError
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded, SubscriptionStatus

_T = tenants.c
_INSERT = insert(tenants).on_conflict_do_nothing(index_elements=[_T.id])
_KEPT = {tenants, connections, grants, subscriptions, schedules}
"""The tables that are needed to end what a tenant has at providers."""
_IS_ENDING = or_(
    exists().where(
        grants.c.tenant_id == _T.id, grants.c.state.in_((GrantState.NEW, GrantState.LIVE, GrantState.ENDING))
    ),
    exists().where(
        subscriptions.c.tenant_id == _T.id,
        subscriptions.c.status.in_((SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDING)),
        subscriptions.c.grant_id.is_not(None),
    ),
)


class PostgresTenantStore:
    """`TenantStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def record(self, tenant: Tenant) -> Recorded:
        """See `TenantStore.record`."""
        # Locked first, so that the deletion sees every grant and subscription whose insert held it up.
        is_erased = self._transaction.first(_erased(tenant.id).with_for_update()) is not None
        # Everything of the tenant is deleted with it: each table's foreign key says ON DELETE CASCADE.
        if is_erased and not self._transaction.count(delete(tenants).where(_T.id == tenant.id, ~_IS_ENDING)):
            raise ConflictError("This tenant is being erased. It can be made again once nothing of it is left.")
        is_new = self._transaction.count(_INSERT, {"id": tenant.id, "created_at": tenant.created_at}) > 0
        return Recorded.NEW if is_new else Recorded.DUPLICATE

    def get(self, tenant_id: TenantId, *, lock: bool = False) -> Tenant:
        """See `TenantStore.get`."""
        statement = select(tenants).where(_T.id == tenant_id, _T.id != UNROUTED, _T.erased_at.is_(None))
        # NO KEY UPDATE: others may go on to insert rows that reference the tenant.
        row = self._transaction.first(statement.with_for_update(key_share=True) if lock else statement)
        if row is None:
            raise TenantNotFoundError("There is no such tenant.")
        return Tenant(id=row.id, created_at=row.created_at)

    def mark_erased(self, tenant_id: TenantId, *, at: datetime) -> None:
        """See `TenantStore.mark_erased`."""
        self._transaction.run(update(tenants).where(_T.id == tenant_id, _T.id != UNROUTED).values(erased_at=at))

    def is_being_erased(self, tenant_id: TenantId, *, lock: bool = False) -> bool:
        """See `TenantStore.is_being_erased`."""
        statement = _erased(tenant_id)
        return self._transaction.first(statement.with_for_update(key_share=True) if lock else statement) is not None

    def erase(self, tenant_id: TenantId) -> None:
        """See `TenantStore.erase`."""
        for table in reversed(METADATA.sorted_tables):
            if "tenant_id" in table.c and table not in _KEPT:
                self._transaction.run(delete(table).where(table.c.tenant_id == tenant_id))
        due = schedules.c
        self._transaction.run(delete(schedules).where(due.tenant_id == tenant_id, due.kind != TaskKind.END))

    def forget_erased(self, *, erased_before: datetime) -> int:
        """See `TenantStore.forget_erased`."""
        return self._transaction.count(delete(tenants).where(_T.erased_at < erased_before, ~_IS_ENDING))


def _erased(tenant_id: TenantId) -> Select[Any]:
    return select(_T.id).where(_T.id == tenant_id, _T.erased_at.is_not(None))
