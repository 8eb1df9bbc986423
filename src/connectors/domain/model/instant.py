"""Instants: always timezone-aware datetimes in UTC."""

from datetime import UTC, datetime
from typing import Any


def utc(value: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        ValueError: the datetime is naive; guessing its time zone would shift events.
    """
    if value.tzinfo is None:
        raise ValueError("a datetime without a time zone is not an instant")
    return value.astimezone(UTC)


def optional_utc(value: datetime | None) -> datetime | None:
    """`utc` that accepts None."""
    return None if value is None else utc(value)


def from_epoch_seconds(value: float) -> datetime:
    """The instant so many seconds after 1970-01-01T00:00Z.

    Raises:
        ValueError: not a number, or outside the years 1 to 9999.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("epoch seconds must be a number")  # noqa: TRY004 - one error for every bad value
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise ValueError("epoch seconds out of range") from error


def read_instant(value: Any) -> datetime | None:
    """The instant that an RFC 3339 / ISO 8601 text names, or None if it is not such a text or has no time zone.

    Args:
        value: foreign data of any type. `2024-04-05T10:00:00.000+0000` (Jira) is accepted too.
    """
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        return None
    try:
        return parsed.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def epoch_seconds(value: datetime) -> int:
    """Whole seconds since 1970-01-01T00:00Z, the form of instants in dedupe keys."""
    return int(value.timestamp())


def rfc3339(value: datetime) -> str:
    """`2026-01-02T03:04:05.678901Z`: the form of every instant that leaves this service; no fraction if it is zero."""
    return utc(value).isoformat().replace("+00:00", "Z")
