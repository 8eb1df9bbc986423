"""Grants and their refresh leases in memory."""

from datetime import datetime, timedelta

import attrs

from connectors.adapters.memory.database import GrantRow, MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import Grant, RefreshLease
from connectors.domain.model.secret import SealedSecret


class MemoryGrantStore:
    """`GrantStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.grants

    def save(self, grant: Grant) -> Grant:
        """See `GrantStore.save`."""
        self._database.require_tenant(grant.tenant_id)
        grant = attrs.evolve(as_stored(grant), grant_key=key_text(grant.grant_key))
        there = self._find_row(grant.tenant_id, grant.provider, grant.grant_key)
        if there is not None:
            grant = attrs.evolve(
                grant, id=there.grant.id, created_at=there.grant.created_at, version=there.grant.version + 1
            )
        elif self._rows.get((grant.tenant_id, grant.id)) is not None:
            raise ConflictError("Another grant has this id.")
        grant = attrs.evolve(grant, refresh_attempted_at=None, refresh_sent_at=None)
        # The next number, so that a holder of the cleared lease is refused.
        self._put(GrantRow(grant, 0 if there is None else there.fencing_token + 1))
        return grant

    def get(self, tenant_id: TenantId, grant_id: GrantId) -> Grant | None:
        """See `GrantStore.get`."""
        row = self._rows.get((tenant_id, grant_id))
        return None if row is None else row.grant

    def find_by_key(
        self,
        tenant_id: TenantId,
        provider: ProviderSlug,
        grant_key: str,
        *,
        lock: bool = False,  # noqa: ARG002 - the unit of work holds the lock
    ) -> Grant | None:
        """See `GrantStore.find_by_key`."""
        row = self._find_row(tenant_id, provider, key_text(grant_key))
        return None if row is None else row.grant

    def delete(self, tenant_id: TenantId, grant_id: GrantId) -> bool:
        """See `GrantStore.delete`."""
        return self._rows.remove((tenant_id, grant_id)) is not None

    def count_by_key(self, grant_key: str) -> int:
        """See `GrantStore.count_by_key`."""
        return len(self._rows.find("consent", key_text(grant_key)))

    def claim_refresh(
        self, tenant_id: TenantId, grant_id: GrantId, *, now: datetime, until: datetime, hold: timedelta
    ) -> RefreshLease | None:
        """See `GrantStore.claim_refresh`."""
        row = self._rows.get((tenant_id, grant_id))
        if row is None:
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

    def _find_row(self, tenant_id: TenantId, provider: ProviderSlug, grant_key: str) -> GrantRow | None:
        return next(iter(self._rows.find("key", (tenant_id, provider, grant_key))), None)

    def _held(self, tenant_id: TenantId, lease: RefreshLease) -> GrantRow | None:
        row = self._rows.get((tenant_id, lease.grant_id))
        if row is None or row.leased_until is None or row.fencing_token != lease.fencing_token:
            return None
        return row

    def _put(self, row: GrantRow) -> None:
        self._rows.put((row.grant.tenant_id, row.grant.id), row)
