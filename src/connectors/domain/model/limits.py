"""Vendors' rate limits, and whose requests they count together."""

from datetime import datetime, timedelta
from enum import StrEnum

import attrs


class LimitScope(StrEnum):
    """Whose requests a vendor counts together."""

    GRANT = "grant"
    """Those of one token pair: usually a user's."""
    ACCOUNT = "account"
    """Those for one external account (workspace, site, mailbox), whoever sends them."""
    APP = "app"
    """All of ours at this vendor, across tenants."""


@attrs.frozen(kw_only=True)
class Budget:
    """One of a vendor's limits that a request counts against.

    In any period of `per`, all workers together send at most `requests + burst`; the provider package chooses both so
    that their sum is what the vendor allows. Without `requests` nothing is counted here; the budget only has a name, so
    that a refusal which names it (`RateLimitedError.scope`) holds back every request that would count against it.
    """

    name: str
    """The name used in `RateLimitedError.scope`."""
    limit_scope: LimitScope = LimitScope.GRANT
    requests: int | None = None
    per: timedelta = timedelta(minutes=1)
    burst: int = 1
    """How many requests may be sent at once after a pause: at least as many as one page takes."""
    cost: int = 1
    """How much this request counts, where the vendor weighs requests."""


@attrs.frozen(kw_only=True)
class Reservation:
    """What one request reserves from one budget."""

    key: str
    """Identifies the budget and its owner."""
    interval: timedelta | None = None
    """How long the reserved amount takes to become available again; None: nothing is reserved, only pauses apply."""
    tolerance: timedelta = timedelta(0)
    """How far ahead of schedule requests may be sent after a pause."""


def reservation_for(budget: Budget, key: str) -> Reservation:
    """What one request reserves from the budget that this key names.

    An interval per request, and a tolerance that corresponds to the burst: the generic cell rate algorithm (ITU-T
    I.371), which stores a single instant per key.
    """
    if budget.requests is None:
        return Reservation(key=key)
    interval = budget.per / budget.requests
    # A costly request uses more of the burst: its cost is subtracted, so that requests + burst is still the maximum.
    return Reservation(
        key=key, interval=interval * budget.cost, tolerance=interval * max(budget.burst - budget.cost, 0)
    )


@attrs.frozen
class LimitState:
    """The stored state of one budget."""

    next_at: datetime
    """When the whole budget is available again: the algorithm's theoretical arrival time."""
    paused_until: datetime

    def earliest_start(self, reservation: Reservation, now: datetime) -> datetime:
        """When a request may be sent."""
        earliest = max(now, self.paused_until)
        if reservation.interval is None:
            return earliest
        return max(earliest, self.next_at - reservation.tolerance)

    def after(self, reservation: Reservation, at: datetime) -> "LimitState":
        """The state after a request was sent at that instant."""
        if reservation.interval is None:
            return self
        return LimitState(max(self.next_at, at) + reservation.interval, self.paused_until)
