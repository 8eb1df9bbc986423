"""What a vendor counts, and whose use of it counts together."""

from datetime import datetime, timedelta
from enum import StrEnum

import attrs


class LimitScope(StrEnum):
    """Whose requests a vendor counts together."""

    GRANT = "grant"
    """Those of one token pair: usually a user's."""
    ACCOUNT = "account"
    """Those for one external account (workspace, site, mailbox), whoever asks."""
    APP = "app"
    """All of ours at this vendor, across tenants."""


@attrs.frozen(kw_only=True)
class Budget:
    """One of a vendor's limits that a request counts against.

    In any stretch of `per`, no more than `requests + burst` are sent by all workers together: a package chooses both so
    that their sum is what the vendor allows. Without `requests` nothing is counted here; the budget only has a name,
    so that a refusal which names it (`RateLimitedError.scope`) holds back every request that would count against it.
    """

    name: str
    """The same as in `RateLimitedError.scope`."""
    limit_scope: LimitScope = LimitScope.GRANT
    requests: int | None = None
    per: timedelta = timedelta(minutes=1)
    burst: int = 1
    """How many may go out at once after a rest: at least what one page takes."""
    cost: int = 1
    """What this request counts for, where the vendor weighs them."""


@attrs.frozen(kw_only=True)
class Reservation:
    """What one request takes of one budget."""

    key: str
    """Whose budget it is."""
    interval: timedelta | None = None
    """The time in which what it takes grows back; None: it takes nothing, it only has to heed pauses."""
    tolerance: timedelta = timedelta(0)
    """How far ahead of their time requests may go out after a rest."""


def reservation_for(budget: Budget, key: str) -> Reservation:
    """What one request takes of the budget that this key names.

    An interval for each request, and as much tolerance as the burst is worth: the generic cell rate algorithm
    (ITU-T I.371), which needs to remember one instant a key.
    """
    if budget.requests is None:
        return Reservation(key=key)
    interval = budget.per / budget.requests
    # A costly request takes the more of the burst: less what it costs, so that together they keep to the sum.
    return Reservation(
        key=key, interval=interval * budget.cost, tolerance=interval * max(budget.burst - budget.cost, 0)
    )


@attrs.frozen
class LimitState:
    """What is remembered of one budget."""

    next_at: datetime
    """When it is whole again: the theoretical arrival time of the algorithm."""
    paused_until: datetime

    def earliest_start(self, reservation: Reservation, now: datetime) -> datetime:
        """When a request may go out."""
        earliest = max(now, self.paused_until)
        if reservation.interval is None:
            return earliest
        return max(earliest, self.next_at - reservation.tolerance)

    def after(self, reservation: Reservation, at: datetime) -> "LimitState":
        """The state once a request has gone out at that instant."""
        if reservation.interval is None:
            return self
        return LimitState(max(self.next_at, at) + reservation.interval, self.paused_until)
