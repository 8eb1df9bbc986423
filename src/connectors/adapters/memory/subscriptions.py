"""Webhook subscriptions in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.webhook import Subscription, SubscriptionStatus

_HELD = (SubscriptionStatus.ENDING, SubscriptionStatus.LEFT)
_GONE = (SubscriptionStatus.ENDED, SubscriptionStatus.LEFT)


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

    def list_of_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_of_grant`."""
        return _oldest_first(self._rows.find("grant", (tenant_id, grant_id)))

    def list_held(self, tenant_id: TenantId | None, *, limit: int) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_held`."""
        found = [
            (one.ending.since, one.id, one)
            for one in self._rows.values()
            if one.status in _HELD and one.ending is not None and tenant_id in {None, one.tenant_id}
        ]
        return [one for *_, one in sorted(found, key=lambda item: item[:2])[:limit]]

    def prune(self, *, ended_before: datetime, limit: int) -> int:
        """See `SubscriptionStore.prune`."""
        old = [row for row in self._rows.values() if row.status in _GONE and row.updated_at < ended_before][:limit]
        for row in old:
            self._rows.remove((row.tenant_id, row.id))
        return len(old)

    def oldest_ending(self) -> datetime | None:
        """See `SubscriptionStore.oldest_ending`."""
        return min((row.ending.since for row in self._rows.values() if row.is_ending and row.ending), default=None)

    def list_candidates(
        self, tenant_id: TenantId, provider: ProviderSlug, external_id: str | None
    ) -> Sequence[Subscription]:
        """See `SubscriptionStore.list_candidates`."""
        named = None if external_id is None else key_text(external_id)
        return _oldest_first(
            row
            for row in self._rows.find("provider", (tenant_id, provider))
            if row.status is SubscriptionStatus.PENDING
            or (row.is_ending and row.external_id is None)
            or (row.status not in _GONE and named is not None and row.external_id == named)
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
