"""Foreign JSON, one guarded step at a time: every function takes anything and gives None or something sound."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

ID_LIMIT = 256
"""Characters. Zoho's longest ids, of chats and messages, have about 50."""
NAME_LIMIT = 300
"""Characters of a name or address; what is longer is cut."""
DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)
"""A 64-bit number in decimal: at most 20 digits, so `int` never meets a number that takes it seconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_MILLIS = 253_402_300_799_999
"""The last millisecond of the year 9999, where datetime ends."""


def read_object(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def read_objects(value: Any) -> list[Mapping[str, Any]]:
    """The JSON objects in the value if it is an array, else nothing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read_list(value: Any) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def read_text(value: Any) -> str | None:
    """The value if it is a text with something in it. Lone surrogates, which JSON can carry, become `?`."""
    if not isinstance(value, str):
        return None
    text = value.encode("utf-8", "replace").decode().replace("\0", "")
    return text if text.strip() else None


def read_name(value: Any) -> str | None:
    """A text for people, on one line and of a sane length."""
    text = read_text(value)
    return None if text is None else " ".join(text[: 4 * NAME_LIMIT].split())[:NAME_LIMIT] or None


def read_id(value: Any) -> str | None:
    """An identifier as text. Zoho writes the same 64-bit ids as numbers here and as texts there."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if 0 <= value < 1 << 64 else None
    if not isinstance(value, str) or not 0 < len(value) <= ID_LIMIT or not value.isprintable() or " " in value:
        return None
    return value


def read_count(value: Any) -> int | None:
    """The value if it is an integer of at least 0, as a JSON number or as a text of digits."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value < 1 << 64 else None
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    return None


def read_millis(value: Any) -> int | None:
    """Milliseconds after the epoch that a datetime can hold, as a number or a text of digits."""
    count = read_count(value)
    return None if count is None or count > LATEST_MILLIS else count


def millis_instant(millis: int) -> datetime:
    """The instant that many milliseconds after the epoch (0 to `LATEST_MILLIS`)."""
    return EPOCH + timedelta(milliseconds=millis)


def instant_millis(at: datetime) -> int:
    """Whole milliseconds since the epoch."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def read_retry_after(value: str | None, now: datetime) -> datetime | None:
    """When another request is welcome (RFC 9110 §10.2.3), None where the header is missing or unreadable."""
    text = (value or "").strip()
    if re.fullmatch("[0-9]{1,6}", text, re.ASCII):
        return now + timedelta(seconds=int(text))
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC), now)
