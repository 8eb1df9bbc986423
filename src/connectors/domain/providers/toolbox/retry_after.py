"""`Retry-After`: when a vendor accepts requests again.

| value | meaning |
|---|---|
| a whole number of seconds, an HTTP-date | that instant, from `SHORTEST_WAIT` to `LONGEST_WAIT` after now |
| 0, a date in the past | `SHORTEST_WAIT`: a waiting job counts no failure, so "at once" would ask in a loop |
| a longer number, a later date | `LONGEST_WAIT`: quotas reset within a day, so the value is damaged |
| nothing, "-5", "1.5", "garbage" | None: neither form of RFC 9110, so the caller uses the vendor's usual pause |

Source: RFC 9110 §10.2.3.
"""

import re
from datetime import datetime, timedelta

from connectors.domain.providers.toolbox.http_dates import read_http_date

SHORTEST_WAIT = timedelta(seconds=1)
"""The unit of the header."""
LONGEST_WAIT = timedelta(days=1)
"""The longest window of any of our vendors' limits."""

_SECONDS = re.compile(r"[0-9]+", re.ASCII)
_MOST_DIGITS = 9
"""31 years; longer texts never go to `int`."""


def read_retry_after(value: str | None, now: datetime) -> datetime | None:
    """When the vendor accepts another request; None if the header is missing or unreadable.

    Args:
        value: the header's, None where it is missing.
        now: aware UTC instant of arrival.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0") or "0"
        return bounded(now + (timedelta(seconds=int(digits)) if len(digits) <= _MOST_DIGITS else LONGEST_WAIT), now)
    at = read_http_date(text)
    return None if at is None else bounded(at, now)


def bounded(at: datetime, now: datetime) -> datetime:
    """The instant that a vendor names, limited to between `SHORTEST_WAIT` and `LONGEST_WAIT` from now."""
    return min(max(at, now + SHORTEST_WAIT), now + LONGEST_WAIT)
