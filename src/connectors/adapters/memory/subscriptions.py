"""Webhook subscriptions in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.ids import ConnectionId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.webhook import Subscription, SubscriptionStatus


class MemorySubscriptionStore:
    """`SubscriptionStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.subscriptions

    def save(self, subscription: Subscription) -> None:
        """See `SubscriptionStore.save`."""
        self._database.require_tenant(subscription.tenant_id)
        row = as_stored(subscription)
        if row.external_id is not None:
            row = attrs.evolve(row, external_id=key_text(row.external_id))
        self._rows.put((row.tenant_id, row.id), row)

    def get(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> Subscription | None:
        """See `SubscriptionStore.get`."""
        return self._rows.get((tenant_id, subscription_id))

    def delete(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> None:
        """See `SubscriptionStore.delete`."""
        self._rows.remove((tenant_id, subscription_id))

    def list_of_connection(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_of_connection`."""
        return _oldest_first(self._rows.find("connection", (tenant_id, connection_id)))

    def list_candidates(
        self, tenant_id: TenantId, provider: ProviderSlug, external_id: str | None
    ) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_candidates`."""
        named = None if external_id is None else key_text(external_id)
        return _oldest_first(
            row
            for row in self._rows.find("provider", (tenant_id, provider))
            if row.status is SubscriptionStatus.PENDING
            or (row.status is not SubscriptionStatus.ENDED and named is not None and row.external_id == named)
        )

    def list_expiring(self, *, before: datetime) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_expiring`."""
        due = [
            (row.expires_at, row.id, row)
            for row in self._rows.values()
            if row.status is SubscriptionStatus.ACTIVE and row.expires_at is not None and row.expires_at < before
        ]
        return [row for _, _, row in sorted(due, key=lambda item: item[:2])]

    def count_by_status(self) -> Mapping[tuple[ProviderSlug, SubscriptionStatus], int]:
        """See `SubscriptionStore.count_by_status`."""
        rows = (row for row in self._rows.values() if row.status is not SubscriptionStatus.ENDED)
        return Counter((row.provider, row.status) for row in rows)

    def earliest_expiries(self) -> Mapping[ProviderSlug, datetime]:
        """See `SubscriptionStore.earliest_expiries`."""
        found: dict[ProviderSlug, datetime] = {}
        for row in self._rows.values():
            if row.status is SubscriptionStatus.ACTIVE and row.expires_at is not None:
                found[row.provider] = min(row.expires_at, found.get(row.provider, row.expires_at))
        return found


def _oldest_first(rows: Iterable[Subscription]) -> Sequence[Subscription]:
    return sorted(rows, key=lambda row: (row.created_at, row.id))
