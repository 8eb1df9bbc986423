"""A clock that tests can move, so that they do not wait for a token to expire."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class SandboxClock:
    """Real time plus an offset; with `start`, a clock that stands still.

    Args:
        start: an aware instant at which the clock stands still until advanced; None follows the real time.

    Raises:
        ValueError: `start` has no time zone.
    """

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            msg = "the clock needs an aware instant"
            raise ValueError(msg)
        self._lock = threading.Lock()
        self._frozen_at = None if start is None else start.astimezone(UTC)
        self._offset = timedelta()
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """The sandbox's current instant, aware, UTC."""
        with self._lock:
            return (self._frozen_at or datetime.now(UTC)) + self._offset

    def advance(self, by: timedelta) -> datetime:
        """Move the clock forward (or back), call the listeners, and return the new instant."""
        with self._lock:
            self._offset += by
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()
        return self.now()

    def sleep(self, duration: timedelta) -> None:
        """Hold this thread for `duration` of real time."""
        time.sleep(duration.total_seconds())

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every `advance`."""
        with self._lock:
            self._listeners.append(listener)
