"""The rate limit of webhook URLs. It counts per process: a limit that asks the database would not relieve it."""

import math
import time

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from connectors.domain.model.errors import TooManyDeliveriesError


class DeliveryLimiter:
    """Counts deliveries by key, in windows of fixed length."""

    def __init__(self, rate: str | None) -> None:
        """Start at zero.

        Args:
            rate: such as `600/minute`; None for no limit.

        Raises:
            ValueError: the rate is malformed.
        """
        self._rate = None if rate is None else parse(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, *key: str) -> None:
        """Count one delivery.

        Raises:
            TooManyDeliveriesError: it exceeds the rate; the error says when the next window begins.
        """
        if self._rate is None or self._limiter.hit(self._rate, *key):
            return
        # The library counts by the wall clock, so the remaining time is measured by it too.
        remaining = self._limiter.get_window_stats(self._rate, *key).reset_time - time.time()
        raise TooManyDeliveriesError("Too many deliveries to this URL.", retry_after=max(1, math.ceil(remaining)))
