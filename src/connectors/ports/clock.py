"""Time, as an argument."""

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Return after that long. For short waits only: long ones are stored, not slept through."""
        ...
