"""HTTP-dates.

Source: RFC 9110 §5.6.7.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_DATE = 64
"""Characters; the longest of the three forms has about 30."""


def read_http_date(text: str | None) -> datetime | None:
    """The instant of an HTTP-date in any of its three forms; None for other text. Without a zone it is UTC."""
    if text is None or len(text) > LONGEST_DATE:
        return None
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
