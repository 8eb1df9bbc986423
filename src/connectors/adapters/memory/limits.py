"""The vendors' limits in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.domain.model.limits import LimitState, Reservation


class MemoryLimitStore:
    """`LimitStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._rows = database.limits

    def reserve_all(self, reservations: Sequence[Reservation], *, now: datetime, max_wait: timedelta) -> datetime:
        """See `LimitStore.reserve_all`."""
        states = {one.key: self._state(one.key, now) for one in reservations}
        at = max((states[one.key].earliest_start(one, now) for one in reservations), default=now)
        if at - now <= max_wait:
            for one in reservations:
                states[one.key] = states[one.key].after(one, at)
                if one.interval is not None:
                    self._rows.put((one.key,), states[one.key])
        return at

    def pause(self, key: str, *, until: datetime) -> None:
        """See `LimitStore.pause`."""
        state = self._state(key, until)
        self._rows.put((key,), attrs.evolve(state, paused_until=max(state.paused_until, until)))

    def sweep(self, *, now: datetime) -> int:
        """See `LimitStore.sweep`."""
        expired = [key for key, row in self._rows.items() if row.next_at < now and row.paused_until < now]
        for key in expired:
            self._rows.remove(key)
        return len(expired)

    def _state(self, key: str, now: datetime) -> LimitState:
        epoch = now - timedelta(days=1)
        return self._rows.get((key,)) or LimitState(epoch, epoch)
