"""Webhook subscriptions in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, Select, delete, func, select, text, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.endings import ending_columns, list_held, oldest_ending, prune_ended, read_ending
from connectors.adapters.postgres.sealed import read_sealed, sealed_columns
from connectors.adapters.postgres.tables import subscriptions
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.webhook import Subscription, SubscriptionStatus

_T = subscriptions.c
# As literals, so that the planner sees that the partial indexes match.
_PENDING = text("status = 'pending'")
_ENDING = text("status = 'ending'")
_OVER = text("status IN ('ended', 'left')")
_FOUND_OTHERWISE = (SubscriptionStatus.PENDING, SubscriptionStatus.ENDED, SubscriptionStatus.LEFT)
"""Pending ones are found without their name, and those that are over not at all."""
_INSERT = insert(subscriptions)
_UPSERT = _INSERT.on_conflict_do_update(
    index_elements=[_T.tenant_id, _T.id],
    set_={column.name: _INSERT.excluded[column.name] for column in _T if column.name not in ("tenant_id", "id")},
)


class PostgresSubscriptionStore:
    """`SubscriptionStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def save(self, subscription: Subscription) -> None:
        """See `SubscriptionStore.save`."""
        values = {
            "tenant_id": subscription.tenant_id,
            "id": subscription.id,
            "connection_id": subscription.connection_id,
            "provider": subscription.provider,
            "target": subscription.target,
            "status": subscription.status,
            "external_id": subscription.external_id,
            **sealed_columns("secret", subscription.secret),
            "expires_at": subscription.expires_at,
            "metadata": subscription.metadata,
            "error": subscription.error,
            "failures": subscription.failures,
            "checked_at": subscription.checked_at,
            "address": subscription.address,
            "grant_id": subscription.grant_id,
            "called_until": subscription.called_until,
            **ending_columns(subscription.ending),
            "created_at": subscription.created_at,
            "updated_at": subscription.updated_at,
        }
        self._transaction.run(_UPSERT, values)

    def get(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> Subscription | None:
        """See `SubscriptionStore.get`."""
        row = self._transaction.first(select(subscriptions).where(_T.tenant_id == tenant_id, _T.id == subscription_id))
        return None if row is None else _read(row)

    def delete(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> None:
        """See `SubscriptionStore.delete`."""
        self._transaction.run(delete(subscriptions).where(_T.tenant_id == tenant_id, _T.id == subscription_id))

    def list_of_connection(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_of_connection`."""
        return self._oldest_first(
            select(subscriptions).where(_T.tenant_id == tenant_id, _T.connection_id == connection_id)
        )

    def list_of_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_of_grant`."""
        return self._oldest_first(select(subscriptions).where(_T.tenant_id == tenant_id, _T.grant_id == grant_id))

    def list_held(self, tenant_id: TenantId | None, *, limit: int) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_held`."""
        return [_read(row) for row in list_held(self._transaction, subscriptions, _T.status, tenant_id, limit)]

    def prune(self, *, ended_before: datetime, limit: int) -> int:
        """See `SubscriptionStore.prune`."""
        return prune_ended(self._transaction, subscriptions, _OVER, ended_before, limit)

    def oldest_ending(self) -> datetime | None:
        """See `SubscriptionStore.oldest_ending`."""
        return oldest_ending(self._transaction, subscriptions, _ENDING)

    def list_candidates(
        self, tenant_id: TenantId, provider: ProviderSlug, external_id: str | None
    ) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_candidates`."""
        # Several selections, since with OR the planner reads all of the tenant's.
        of_provider = select(subscriptions).where(_T.tenant_id == tenant_id, _T.provider == provider)
        found = [of_provider.where(_PENDING), of_provider.where(_ENDING, _T.external_id.is_(None))]
        if external_id is not None:
            found.append(of_provider.where(_T.external_id == external_id, _T.status.not_in(_FOUND_OTHERWISE)))
        return self._oldest_first(union_all(*found))

    def list_expiring(self, *, before: datetime) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_expiring`."""
        statement = select(subscriptions).where(_T.status == SubscriptionStatus.ACTIVE, _T.expires_at < before)
        return [_read(row) for row in self._transaction.all(statement.order_by(_T.expires_at, _T.id))]

    def count_by_status(self) -> Mapping[tuple[ProviderSlug, SubscriptionStatus], int]:
        """See `SubscriptionStore.count_by_status`."""
        rows = self._transaction.all(
            select(_T.provider, _T.status, func.count().label("number"))
            .where(_T.status != SubscriptionStatus.ENDED)
            .group_by(_T.provider, _T.status)
        )
        return {(row.provider, SubscriptionStatus(row.status)): row.number for row in rows}

    def earliest_expiries(self) -> Mapping[ProviderSlug, datetime]:
        """See `SubscriptionStore.earliest_expiries`."""
        rows = self._transaction.all(
            select(_T.provider, func.min(_T.expires_at).label("first"))
            .where(_T.status == SubscriptionStatus.ACTIVE, _T.expires_at.is_not(None))
            .group_by(_T.provider)
        )
        return {row.provider: row.first for row in rows}

    def _oldest_first(self, statement: Select[Any] | CompoundSelect[Any]) -> Sequence[Subscription]:
        return [_read(row) for row in self._transaction.all(statement.order_by("created_at", "id"))]


def _read(row: Row[Any]) -> Subscription:
    return Subscription(
        id=row.id,
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        provider=row.provider,
        target=row.target,
        status=SubscriptionStatus(row.status),
        external_id=row.external_id,
        secret=read_sealed("secret", row),
        expires_at=row.expires_at,
        metadata=row.metadata,
        error=row.error,
        failures=row.failures,
        checked_at=row.checked_at,
        address=row.address,
        grant_id=row.grant_id,
        called_until=row.called_until,
        ending=read_ending(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
