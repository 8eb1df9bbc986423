"""Grants and their refresh leases in PostgreSQL.

The lease is in the grant's row. One UPDATE takes it; its WHERE fails while somebody else's lease is valid. It returns a
fencing token, which must still be the row's when the holder writes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, null, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.endings import ending_columns, list_held, oldest_ending, prune_ended, read_ending
from connectors.adapters.postgres.sealed import read_sealed, sealed_columns
from connectors.adapters.postgres.tables import connections, grants, subscriptions
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import Grant, GrantState, RefreshLease
from connectors.domain.model.secret import SealedSecret
from connectors.domain.model.webhook import SubscriptionStatus

_T = grants.c
_INSERT = insert(grants)
_IS_NEWER = _INSERT.excluded.version > _T.version
_KEPT = ("tenant_id", "id", "created_at", "leased_until", "fencing_token")
_UPSERT = _INSERT.on_conflict_do_update(
    index_elements=[_T.tenant_id, _T.id],
    set_={
        **{column.name: _INSERT.excluded[column.name] for column in _T if column.name not in _KEPT},
        # The next number, so that a holder of the cleared lease is refused.
        "leased_until": case((_IS_NEWER, null()), else_=_T.leased_until),
        "fencing_token": _T.fencing_token + case((_IS_NEWER, 1), else_=0),
    },
)
# As literals, so that the planner sees that the partial indexes match.
_LIVE = text("state = 'live'")
_ENDING = text("state = 'ending'")
_OVER = text("state IN ('ended', 'left')")
_USABLE = (GrantState.LIVE, GrantState.ENDING)
_LIVING = (ConnectionStatus.ACTIVE, ConnectionStatus.DISABLED)


class PostgresGrantStore:
    """`GrantStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def save(self, grant: Grant) -> None:
        """See `GrantStore.save`."""
        values = {
            "tenant_id": grant.tenant_id,
            "id": grant.id,
            "provider": grant.provider,
            "state": grant.state,
            "grant_key": grant.grant_key,
            **sealed_columns("token_set", grant.token_set),
            "expires_at": grant.expires_at,
            "refresh_expires_at": grant.refresh_expires_at,
            "version": grant.version,
            "refresh_attempted_at": grant.refresh_attempted_at,
            "refresh_sent_at": grant.refresh_sent_at,
            **ending_columns(grant.ending),
            "created_at": grant.created_at,
            "updated_at": grant.updated_at,
        }
        self._transaction.run(_UPSERT, values)

    def get(self, tenant_id: TenantId, grant_id: GrantId, *, lock: bool = False) -> Grant | None:
        """See `GrantStore.get`."""
        statement = select(grants).where(_T.tenant_id == tenant_id, _T.id == grant_id)
        return _found(self._transaction.first(statement.with_for_update() if lock else statement))

    def find_live(self, tenant_id: TenantId, provider: ProviderSlug, grant_key: str) -> Grant | None:
        """See `GrantStore.find_live`."""
        is_it = (_T.tenant_id == tenant_id, _T.provider == provider, _T.grant_key == grant_key)
        return _found(self._transaction.first(select(grants).where(*is_it, _LIVE)))

    def is_lived_on(self, grant_key: str, *, besides: GrantId) -> bool:
        """See `GrantStore.is_lived_on`."""
        user, hook = connections.c, subscriptions.c
        lives = exists().where(user.tenant_id == _T.tenant_id, user.grant_id == _T.id, user.status.in_(_LIVING))
        has_hook = exists().where(
            hook.tenant_id == _T.tenant_id, hook.grant_id == _T.id, hook.status == SubscriptionStatus.ENDING
        )
        is_needed = and_(_T.state == GrantState.LIVE, lives) | and_(_T.state == GrantState.ENDING, has_hook)
        others = select(_T.id).where(_T.grant_key == grant_key, _T.id != besides, is_needed)
        return self._transaction.first(others.limit(1)) is not None

    def list_held(self, tenant_id: TenantId | None, *, limit: int) -> Sequence[Grant]:
        """See `GrantStore.list_held`."""
        return [_read(row) for row in list_held(self._transaction, grants, _T.state, tenant_id, limit)]

    def prune(self, *, ended_before: datetime, limit: int) -> int:
        """See `GrantStore.prune`."""
        return prune_ended(self._transaction, grants, _OVER, ended_before, limit)

    def count_by_state(self) -> Mapping[tuple[ProviderSlug, GrantState], int]:
        """See `GrantStore.count_by_state`."""
        rows = self._transaction.all(
            select(_T.provider, _T.state, func.count().label("number"))
            .where(_T.state != GrantState.ENDED)
            .group_by(_T.provider, _T.state)
        )
        return {(row.provider, GrantState(row.state)): row.number for row in rows}

    def oldest_ending(self) -> datetime | None:
        """See `GrantStore.oldest_ending`."""
        return oldest_ending(self._transaction, grants, _ENDING)

    def claim_refresh(
        self, tenant_id: TenantId, grant_id: GrantId, *, now: datetime, until: datetime, hold: timedelta
    ) -> RefreshLease | None:
        """See `GrantStore.claim_refresh`."""
        row = self._transaction.first(
            update(grants)
            .where(
                _T.tenant_id == tenant_id,
                _T.id == grant_id,
                _T.state.in_(_USABLE),
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
        _T.state.in_(_USABLE),
        _T.leased_until.is_not(None),
    )


def _found(row: Row[Any] | None) -> Grant | None:
    return None if row is None else _read(row)


def _read(row: Row[Any]) -> Grant:
    return Grant(
        id=row.id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        state=GrantState(row.state),
        grant_key=row.grant_key,
        token_set=read_sealed("token_set", row),
        expires_at=row.expires_at,
        refresh_expires_at=row.refresh_expires_at,
        version=row.version,
        refresh_attempted_at=row.refresh_attempted_at,
        refresh_sent_at=row.refresh_sent_at,
        ending=read_ending(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
