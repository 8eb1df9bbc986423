"""The clock."""

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """The current instant, aware, UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Return after `duration`. For short waits only; long waits are stored instead."""
        ...
