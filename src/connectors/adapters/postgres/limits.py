"""The vendors' limits in PostgreSQL, shared by all workers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from connectors.adapters.postgres.tables import rate_limits
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import key_text
from connectors.domain.model.limits import LimitState, Reservation

_T = rate_limits.c
_INSERT = insert(rate_limits)
_SEED = _INSERT.on_conflict_do_nothing(index_elements=[_T.key])
_SAVE = _INSERT.on_conflict_do_update(index_elements=[_T.key], set_={"next_at": _INSERT.excluded.next_at})
_PAUSE = _INSERT.on_conflict_do_update(
    index_elements=[_T.key],
    set_={"paused_until": func.greatest(rate_limits.c.paused_until, _INSERT.excluded.paused_until)},
)


class PostgresLimitStore:
    """`LimitStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def reserve_all(self, reservations: Sequence[Reservation], *, now: datetime, max_wait: timedelta) -> datetime:
        """See `LimitStore.reserve_all`."""
        named = {key_text(one.key): one for one in reservations}
        counted = sorted(key for key, one in named.items() if one.interval is not None)
        epoch = now - timedelta(days=1)
        seeds = [_row(key, LimitState(epoch, epoch)) for key in counted]
        if counted:
            # There must be a row to lock, otherwise two workers would both find none and both proceed.
            self._transaction.run(_SEED.values(seeds))
        states = self._load(sorted(named), is_locked=bool(counted))
        if not states.keys() >= set(counted):
            # A sweep ran in between. It does not see what we insert now.
            self._transaction.run(_SEED.values(seeds))
            states = self._load(sorted(named), is_locked=True)
        at = max((states[key].earliest_start(one, now) for key, one in named.items() if key in states), default=now)
        if at - now <= max_wait and counted:
            after = [_row(key, states[key].after(named[key], at)) for key in counted]
            self._transaction.run(_SAVE.values(after))
        return at

    def pause(self, key: str, *, until: datetime) -> None:
        """See `LimitStore.pause`."""
        self._transaction.run(_PAUSE.values(_row(key, LimitState(until, until))))

    def sweep(self, *, now: datetime) -> int:
        """See `LimitStore.sweep`."""
        return self._transaction.count(delete(rate_limits).where(and_(_T.next_at < now, _T.paused_until < now)))

    def _load(self, keys: Sequence[str], *, is_locked: bool) -> dict[str, LimitState]:
        # In the same order everywhere: two requests that share several budgets must not deadlock.
        statement = select(rate_limits).where(_T.key.in_(keys)).order_by(_T.key)
        rows = self._transaction.all(statement.with_for_update() if is_locked else statement)
        return {row.key: LimitState(row.next_at, row.paused_until) for row in rows}


def _row(key: str, state: LimitState) -> dict[str, object]:
    return {"key": key, "next_at": state.next_at, "paused_until": state.paused_until}
