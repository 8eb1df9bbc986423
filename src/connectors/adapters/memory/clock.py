"""Time that stands still until it is told to pass."""

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock for tests: sleeping and `advance` move it, nothing else does."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Where it stands."""
        return self._now

    def advance(self, duration: timedelta) -> None:
        """Let that much time pass."""
        with self._lock:
            self._now += duration

    sleep = advance
