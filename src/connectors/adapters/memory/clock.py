"""A clock that moves only when told to."""

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock for tests: only `sleep` and `advance` move it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Start at this instant."""
        return self._now

    def advance(self, duration: timedelta) -> None:
        """Move the clock forward."""
        with self._lock:
            self._now += duration

    sleep = advance
