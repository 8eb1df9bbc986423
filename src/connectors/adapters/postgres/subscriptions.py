"""Webhook subscriptions in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.sealed import read_sealed, sealed_columns
from connectors.adapters.postgres.tables import subscriptions
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ids import ConnectionId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.webhook import Subscription, SubscriptionStatus

_T = subscriptions.c
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

    def list_candidates(
        self, tenant_id: TenantId, provider: ProviderSlug, external_id: str | None
    ) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_candidates`."""
        pending = _T.status == SubscriptionStatus.PENDING
        named = and_(_T.external_id == external_id, _T.status != SubscriptionStatus.ENDED)
        return self._oldest_first(
            select(subscriptions).where(
                _T.tenant_id == tenant_id,
                _T.provider == provider,
                pending if external_id is None else or_(pending, named),
            )
        )

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

    def _oldest_first(self, statement: Select[Any]) -> Sequence[Subscription]:
        return [_read(row) for row in self._transaction.all(statement.order_by(_T.created_at, _T.id))]


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
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
