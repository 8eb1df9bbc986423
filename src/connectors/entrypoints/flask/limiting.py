"""The rate limits of webhook URLs. They count per process: limits that ask the database would not relieve it.

What was verified counts for its tenant. What was not counts for the client's address and in total, so that unsigned
posts cannot use up what a tenant's signed deliveries may. An address that has just sent something verified is let past
the total: a flood from elsewhere does not shut the vendors out.
"""

import math
import threading
from collections import Counter
from collections.abc import Iterable

from limits import parse

from connectors.domain.model.errors import TooManyDeliveriesError
from connectors.domain.model.ids import ProviderSlug, TenantId
from connectors.domain.model.instant import epoch_seconds
from connectors.ports.clock import Clock

ADDRESS_SHARE = 20
"""An address may fail to prove itself at a twentieth of the rate: ten times a second at the default of 12,000 a minute.
One that also sends verified deliveries may do so at the full rate: it may be a vendor's, or a proxy's."""

MAX_ADDRESSES = 10_000
"""How many addresses are remembered for a window. What comes from more of them counts in the total only."""


class DeliveryLimiter:
    """Counts deliveries in windows of fixed length."""

    def __init__(self, rate: str | None, clock: Clock) -> None:
        """Start at zero.

        Args:
            rate: such as `600/minute`; None for no limit.
            clock: tells which window it is.

        Raises:
            ValueError: the rate is malformed.
        """
        item = None if rate is None else parse(rate)
        self._limit = math.inf if item is None else item.amount
        self._address_limit = math.inf if item is None else max(1, item.amount // ADDRESS_SHARE)
        self._seconds = 1 if item is None else item.get_expiry()
        self._clock = clock
        self._lock = threading.Lock()
        self._window: int | None = None
        self._verified: Counter[tuple[ProviderSlug, TenantId]] = Counter()
        self._unverified: Counter[str] = Counter()
        self._total = 0
        self._proven: set[str] = set()
        self._proven_before: set[str] = set()
        """Addresses of verified deliveries, of this window and the one before it."""

    def admit(self, address: str) -> None:
        """Let a request be verified.

        Raises:
            TooManyDeliveriesError: too many before it proved nothing; the error says when the next window begins.
        """
        with self._lock:
            self._turn()
            is_proven = self._is_proven(address)
            limit = self._limit if is_proven else self._address_limit
            if self._unverified[address] >= limit or (self._total >= self._limit and not is_proven):
                self._refuse()

    def count_unverified(self, address: str) -> None:
        """Count a request that has proven nothing."""
        with self._lock:
            self._turn()
            if address in self._unverified or len(self._unverified) < MAX_ADDRESSES:
                self._unverified[address] += 1
            if not self._is_proven(address):
                self._total += 1

    def count_verified(self, address: str, provider: ProviderSlug, tenants: Iterable[TenantId]) -> None:
        """Count a verified delivery for its tenants.

        Raises:
            TooManyDeliveriesError: none of them may get more now; the error says when the next window begins.
        """
        with self._lock:
            self._turn()
            if len(self._proven) < MAX_ADDRESSES:
                self._proven.add(address)
            keys = [(provider, tenant_id) for tenant_id in tenants]
            self._verified.update(keys)
            if all(self._verified[key] > self._limit for key in keys):
                self._refuse()

    def _is_proven(self, address: str) -> bool:
        return address in self._proven or address in self._proven_before

    def _turn(self) -> None:
        """Begin a new window if it is time."""
        window = int(epoch_seconds(self._clock.now()) // self._seconds)
        if window == self._window:
            return
        is_next = self._window is not None and window == self._window + 1
        self._proven_before, self._proven = (self._proven if is_next else set()), set()
        self._verified, self._unverified, self._total, self._window = Counter(), Counter(), 0, window

    def _refuse(self) -> None:
        remaining = self._seconds - epoch_seconds(self._clock.now()) % self._seconds
        raise TooManyDeliveriesError("Too many deliveries.", retry_after=max(1, math.ceil(remaining)))
