"""The machine's clock."""

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's time (port `Clock`)."""

    def now(self) -> datetime:
        """The current instant, aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """Return after that long."""
        time.sleep(duration.total_seconds())
