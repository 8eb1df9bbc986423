"""Grants and their refresh leases in memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from connectors.adapters.memory.database import GrantRow, MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import Grant, GrantState, RefreshLease
from connectors.domain.model.secret import SealedSecret

_USABLE = (GrantState.LIVE, GrantState.ENDING)
_HELD = (GrantState.ENDING, GrantState.LEFT)
_GONE = (GrantState.ENDED, GrantState.LEFT)
_LIVING = (ConnectionStatus.ACTIVE, ConnectionStatus.DISABLED)


class MemoryGrantStore:
    """`GrantStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.grants

    def save(self, grant: Grant) -> None:
        """See `GrantStore.save`."""
        self._database.require_tenant(grant.tenant_id)
        grant = as_stored(grant)
        if grant.grant_key is not None:
            grant = attrs.evolve(grant, grant_key=key_text(grant.grant_key))
            live = self.find_live(grant.tenant_id, grant.provider, grant.grant_key or "")
            if grant.state is GrantState.LIVE and live is not None and live.id != grant.id:
                raise ConflictError("Another live grant has this key.")
        there = self._rows.get((grant.tenant_id, grant.id))
        if there is None:
            self._put(GrantRow(grant))
        elif grant.version > there.grant.version:
            # The next number, so that a holder of the cleared lease is refused.
            self._put(GrantRow(attrs.evolve(grant, created_at=there.grant.created_at), there.fencing_token + 1))
        else:
            self._put(attrs.evolve(there, grant=attrs.evolve(grant, created_at=there.grant.created_at)))

    def get(
        self,
        tenant_id: TenantId,
        grant_id: GrantId,
        *,
        lock: bool = False,  # noqa: ARG002 - the unit of work holds the lock
    ) -> Grant | None:
        """See `GrantStore.get`."""
        row = self._rows.get((tenant_id, grant_id))
        return None if row is None else row.grant

    def find_live(self, tenant_id: TenantId, provider: ProviderSlug, grant_key: str) -> Grant | None:
        """See `GrantStore.find_live`."""
        found = self._rows.find("key", (tenant_id, provider, key_text(grant_key)))
        return next((row.grant for row in found if row.grant.state is GrantState.LIVE), None)

    def is_lived_on(self, grant_key: str, *, besides: GrantId) -> bool:
        """See `GrantStore.is_lived_on`."""
        found = (row.grant for row in self._rows.find("consent", key_text(grant_key)))
        return any(self._is_needed(one) for one in found if one.id != besides)

    def _is_needed(self, grant: Grant) -> bool:
        at = (grant.tenant_id, grant.id)
        if grant.state is GrantState.ENDING:
            return any(one.is_ending for one in self._database.subscriptions.find("grant", at))
        users = self._database.connections.find("grant", at)
        return grant.state is GrantState.LIVE and any(one.status in _LIVING for one in users)

    def list_held(self, tenant_id: TenantId | None, *, limit: int) -> Sequence[Grant]:
        """See `GrantStore.list_held`."""
        found = [
            (one.ending.since, one.id, one)
            for one in (row.grant for row in self._rows.values())
            if one.state in _HELD and one.ending is not None and tenant_id in {None, one.tenant_id}
        ]
        return [one for *_, one in sorted(found, key=lambda item: item[:2])[:limit]]

    def prune(self, *, ended_before: datetime, limit: int) -> int:
        """See `GrantStore.prune`."""
        grants = (row.grant for row in self._rows.values())
        old = [one for one in grants if one.state in _GONE and one.updated_at < ended_before][:limit]
        for one in old:
            self._rows.remove((one.tenant_id, one.id))
        return len(old)

    def count_by_state(self) -> Mapping[tuple[ProviderSlug, GrantState], int]:
        """See `GrantStore.count_by_state`."""
        grants = (row.grant for row in self._rows.values())
        return Counter((one.provider, one.state) for one in grants if one.state is not GrantState.ENDED)

    def oldest_ending(self) -> datetime | None:
        """See `GrantStore.oldest_ending`."""
        grants = [row.grant for row in self._rows.values() if row.grant.state is GrantState.ENDING]
        return min((one.ending.since for one in grants if one.ending is not None), default=None)

    def claim_refresh(
        self, tenant_id: TenantId, grant_id: GrantId, *, now: datetime, until: datetime, hold: timedelta
    ) -> RefreshLease | None:
        """See `GrantStore.claim_refresh`."""
        row = self._rows.get((tenant_id, grant_id))
        if row is None or row.grant.state not in _USABLE:
            return None
        longer = timedelta(0) if row.grant.refresh_attempted_at is None else hold
        if row.leased_until is not None and row.leased_until + longer > now:
            return None
        lease = RefreshLease(grant_id=grant_id, fencing_token=row.fencing_token + 1, expires_at=until)
        self._put(GrantRow(row.grant, lease.fencing_token, lease.expires_at))
        return lease

    def record_attempt(self, tenant_id: TenantId, lease: RefreshLease, *, now: datetime) -> bool:
        """See `GrantStore.record_attempt`."""
        row = self._held(tenant_id, lease)
        if row is None or row.leased_until is None or row.leased_until <= now:
            return False
        first = row.grant.refresh_attempted_at or now
        self._put(attrs.evolve(row, grant=attrs.evolve(row.grant, refresh_attempted_at=first, refresh_sent_at=now)))
        return True

    def record_refreshed(
        self,
        tenant_id: TenantId,
        lease: RefreshLease,
        token_set: SealedSecret,
        *,
        expires_at: datetime | None,
        refresh_expires_at: datetime | None,
        at: datetime,
    ) -> Grant | None:
        """See `GrantStore.record_refreshed`."""
        # An expired lease that nobody has taken over still counts: the rotated pair is the only one that works.
        row = self._held(tenant_id, lease)
        if row is None:
            return None
        grant = attrs.evolve(
            row.grant,
            token_set=token_set,
            expires_at=expires_at,
            refresh_expires_at=refresh_expires_at,
            version=row.grant.version + 1,
            refresh_attempted_at=None,
            refresh_sent_at=None,
            updated_at=at,
        )
        self._put(GrantRow(grant, row.fencing_token))
        return grant

    def release(self, tenant_id: TenantId, lease: RefreshLease, *, attempt_settled: bool) -> None:
        """See `GrantStore.release`."""
        row = self._held(tenant_id, lease)
        if row is not None:
            grant = row.grant
            if attempt_settled:
                grant = attrs.evolve(grant, refresh_attempted_at=None, refresh_sent_at=None)
            self._put(GrantRow(grant, row.fencing_token))

    def _held(self, tenant_id: TenantId, lease: RefreshLease) -> GrantRow | None:
        row = self._rows.get((tenant_id, lease.grant_id))
        if row is None or row.leased_until is None or row.fencing_token != lease.fencing_token:
            return None
        return row if row.grant.state in _USABLE else None

    def _put(self, row: GrantRow) -> None:
        self._rows.put((row.grant.tenant_id, row.grant.id), row)
