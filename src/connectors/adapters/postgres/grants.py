"""Grants and their refresh leases in PostgreSQL.

The lease is in the grant's row. One UPDATE takes it; its WHERE fails while somebody else's lease is valid. It returns a
fencing token, which must still be the row's when the holder writes.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.sealed import read_sealed, sealed_columns
from connectors.adapters.postgres.tables import grants
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.errors import VaultError
from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import Grant, RefreshLease
from connectors.domain.model.secret import SealedSecret

_T = grants.c
_INSERT = insert(grants)
_UPSERT = _INSERT.on_conflict_do_update(
    index_elements=[_T.tenant_id, _T.provider, _T.grant_key],
    set_={
        **{
            name: _INSERT.excluded[name]
            for name in (
                "token_set_key_id",
                "token_set_nonce",
                "token_set_ciphertext",
                "expires_at",
                "refresh_expires_at",
                "updated_at",
            )
        },
        "version": _T.version + 1,
        "refresh_attempted_at": null(),
        "refresh_sent_at": null(),
        "leased_until": null(),
        # The next number, so that a holder of the cleared lease is refused.
        "fencing_token": _T.fencing_token + 1,
    },
).returning(grants)


class PostgresGrantStore:
    """`GrantStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def save(self, grant: Grant) -> Grant:
        """See `GrantStore.save`."""
        values = {
            "tenant_id": grant.tenant_id,
            "id": grant.id,
            "provider": grant.provider,
            "grant_key": grant.grant_key,
            **sealed_columns("token_set", grant.token_set),
            "expires_at": grant.expires_at,
            "refresh_expires_at": grant.refresh_expires_at,
            "version": grant.version,
            "created_at": grant.created_at,
            "updated_at": grant.updated_at,
        }
        return _read(self._transaction.run(_UPSERT, values).one())

    def get(self, tenant_id: TenantId, grant_id: GrantId) -> Grant | None:
        """See `GrantStore.get`."""
        return _found(self._transaction.first(select(grants).where(_T.tenant_id == tenant_id, _T.id == grant_id)))

    def find_by_key(
        self, tenant_id: TenantId, provider: ProviderSlug, grant_key: str, *, lock: bool = False
    ) -> Grant | None:
        """See `GrantStore.find_by_key`."""
        statement = select(grants).where(_T.tenant_id == tenant_id, _T.provider == provider, _T.grant_key == grant_key)
        return _found(self._transaction.first(statement.with_for_update() if lock else statement))

    def delete(self, tenant_id: TenantId, grant_id: GrantId) -> bool:
        """See `GrantStore.delete`."""
        return self._transaction.count(delete(grants).where(_T.tenant_id == tenant_id, _T.id == grant_id)) > 0

    def count_by_key(self, grant_key: str) -> int:
        """See `GrantStore.count_by_key`."""
        counted: int = self._transaction.run(
            select(func.count()).select_from(grants).where(_T.grant_key == grant_key)
        ).scalar_one()
        return counted

    def claim_refresh(
        self, tenant_id: TenantId, grant_id: GrantId, *, now: datetime, until: datetime, hold: timedelta
    ) -> RefreshLease | None:
        """See `GrantStore.claim_refresh`."""
        row = self._transaction.first(
            update(grants)
            .where(
                _T.tenant_id == tenant_id,
                _T.id == grant_id,
                or_(
                    _T.leased_until.is_(None),
                    and_(_T.leased_until <= now, _T.refresh_attempted_at.is_(None)),
                    _T.leased_until <= now - hold,
                ),
            )
            .values(leased_until=until, fencing_token=_T.fencing_token + 1)
            .returning(_T.fencing_token)
        )
        if row is None:
            return None
        return RefreshLease(grant_id=grant_id, fencing_token=row.fencing_token, expires_at=until)

    def record_attempt(self, tenant_id: TenantId, lease: RefreshLease, *, now: datetime) -> bool:
        """See `GrantStore.record_attempt`."""
        statement = update(grants).where(_held(tenant_id, lease), _T.leased_until > now)
        first = func.coalesce(_T.refresh_attempted_at, now)
        return self._transaction.count(statement.values(refresh_attempted_at=first, refresh_sent_at=now)) > 0

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
        return _found(
            self._transaction.first(
                update(grants)
                .where(_held(tenant_id, lease))
                .values(
                    **sealed_columns("token_set", token_set),
                    expires_at=expires_at,
                    refresh_expires_at=refresh_expires_at,
                    version=_T.version + 1,
                    refresh_attempted_at=None,
                    refresh_sent_at=None,
                    leased_until=None,
                    updated_at=at,
                )
                .returning(grants)
            )
        )

    def release(self, tenant_id: TenantId, lease: RefreshLease, *, attempt_settled: bool) -> None:
        """See `GrantStore.release`."""
        statement = update(grants).where(_held(tenant_id, lease)).values(leased_until=None)
        settled = {"refresh_attempted_at": None, "refresh_sent_at": None} if attempt_settled else {}
        self._transaction.run(statement.values(**settled))


def _held(tenant_id: TenantId, lease: RefreshLease) -> ColumnElement[bool]:
    return and_(
        _T.tenant_id == tenant_id,
        _T.id == lease.grant_id,
        _T.fencing_token == lease.fencing_token,
        _T.leased_until.is_not(None),
    )


def _found(row: Row[Any] | None) -> Grant | None:
    return None if row is None else _read(row)


def _read(row: Row[Any]) -> Grant:
    token_set = read_sealed("token_set", row)
    if token_set is None:
        raise VaultError("A grant has lost its token set.")
    return Grant(
        id=row.id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        grant_key=row.grant_key,
        token_set=token_set,
        expires_at=row.expires_at,
        refresh_expires_at=row.refresh_expires_at,
        version=row.version,
        refresh_attempted_at=row.refresh_attempted_at,
        refresh_sent_at=row.refresh_sent_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
