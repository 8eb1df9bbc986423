"""The machine's clock."""

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Tells the time of the machine (port `Clock`)."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """Return after that long."""
        time.sleep(duration.total_seconds())
