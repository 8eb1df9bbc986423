"""Readers of single values in decoded foreign JSON. Each takes anything and returns a valid value or None.

Strict reading of whole objects into classes is in `structure.py`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from connectors.domain.model.signal import one_line

T = TypeVar("T")

NAME_LIMIT = 300
"""Characters of a name or address; what is longer is cut."""
URL_LIMIT = 2048
"""Characters; a longer link is not worth showing."""
LARGEST_NUMBER = (1 << 64) - 1
"""No vendor's number has more than 64 bits."""
LONGEST_LIFETIME = timedelta(days=3650)
"""No vendor's token lives longer; a larger number is damaged, and could exceed what datetime holds."""
LATEST_MILLIS = 253_402_300_799_999
"""The last millisecond of the year 9999, where datetime ends."""

_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)
"""A 64-bit number has at most 20 decimal digits. `int` would need seconds for very long texts."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ReadValue = Callable[[Any], T | None]
ReadId = ReadValue[str]


# --- objects and arrays ----------------------------------------------------------------------------------------------


def read_object(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def read_list(value: Any) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def read_objects(value: Any) -> list[Mapping[str, Any]]:
    """The JSON objects in the value if it is an array, else nothing."""
    return [item for item in read_list(value) if isinstance(item, Mapping)]


def read_each(value: Any, read: ReadValue[T]) -> list[T]:
    """What `read` returns for the items of an array, without None; nothing if the value is no array."""
    return [found for item in read_list(value) if (found := read(item)) is not None]


# --- texts -----------------------------------------------------------------------------------------------------------


def clean_text(text: str, half_pair: str = "?") -> str:
    """The text as it can be stored and sent as UTF-8: without NUL, each half of a surrogate pair replaced.

    Args:
        text: foreign text.
        half_pair: the replacement. Texts that are part of dedupe keys must keep the one that they had.
    """
    return _HALF_PAIR.sub(half_pair, text).replace("\0", "")


def read_text(value: Any, limit: int | None = None, half_pair: str = "?") -> str | None:
    """The value, cleaned and cut to `limit` characters, if it is a text that is not blank."""
    if not isinstance(value, str):
        return None
    text = clean_text(value, half_pair)[:limit]
    return text if text.strip() else None


def read_name(value: Any, limit: int = NAME_LIMIT) -> str | None:
    """A text for people, on one line and at most `limit` characters long."""
    text = read_text(value, 4 * limit)
    return None if text is None else " ".join(text.split())[:limit] or None


def read_line(value: Any) -> str | None:
    """The first line of a text, cut as titles are."""
    text = read_text(value)
    return None if text is None else one_line(text) or None


def read_url(value: Any) -> str | None:
    """The value if it is a web link that may be shown to a user."""
    if not isinstance(value, str) or len(value) > URL_LIMIT or not value.isprintable() or " " in value:
        return None
    return value if value.startswith(("https://", "http://")) else None


def id_reader(limit: int, *, characters: str | None = None, numbers: bool = False, spaces: bool = False) -> ReadId:
    """A reader of a vendor's identifiers: printable, not empty, not too long, and not a path segment `.` or `..`.

    Identifiers become part of dedupe keys, so what a vendor's reader accepts must not change.

    Args:
        limit: characters of the vendor's longest identifier, and some more.
        characters: the allowed ones, as inside the brackets of a regular expression; None for all printable ones.
        numbers: whether the vendor writes the same identifier sometimes as a number. It becomes a text.
        spaces: whether a space may occur.
    """
    pattern = None if characters is None else re.compile(f"[{characters}]+", re.ASCII)

    def read_id(value: Any) -> str | None:
        """The identifier as text; None if the value cannot be one."""
        if numbers and isinstance(value, int) and not isinstance(value, bool):
            return str(value) if 0 <= value <= LARGEST_NUMBER else None
        if not isinstance(value, str) or not 0 < len(value) <= limit or value in {".", ".."}:
            return None
        if not value.isprintable() or (" " in value and not spaces):
            return None
        return value if pattern is None or pattern.fullmatch(value) else None

    return read_id


# --- numbers and instants --------------------------------------------------------------------------------------------


def read_count(value: Any) -> int | None:
    """The value if it is a whole number of at least 0: a JSON number, or a text of digits, as 64-bit numbers are
    sent."""
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value <= LARGEST_NUMBER else None


def read_millis(value: Any) -> int | None:
    """Milliseconds after the epoch that a datetime can hold, as a number or a text of digits."""
    count = read_count(value)
    return None if count is None or count > LATEST_MILLIS else count


def read_millis_instant(value: Any) -> datetime | None:
    """The instant that many milliseconds after the epoch."""
    millis = read_millis(value)
    return None if millis is None else millis_instant(millis)


def millis_instant(millis: int) -> datetime:
    """The instant that many milliseconds after the epoch (0 to `LATEST_MILLIS`)."""
    return _EPOCH + timedelta(milliseconds=millis)


def instant_millis(at: datetime) -> int:
    """Whole milliseconds since the epoch."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def read_lifetime(value: Any, longest: timedelta = LONGEST_LIFETIME) -> timedelta | None:
    """A token's `expires_in` (RFC 6749 §5.1), as a number of seconds or a text of digits.

    Invalid values count as unknown, not as errors: they must not cost us a rotated token. A token that has expired is
    refreshed at its first 401.
    """
    seconds = value if isinstance(value, float) else read_count(value)
    if seconds is None or not 0 < seconds <= longest.total_seconds():
        return None
    return timedelta(seconds=seconds)


def read_expiry(value: Any, now: datetime) -> datetime | None:
    """When a token that arrives now with this `expires_in` expires; None if unknown."""
    lifetime = read_lifetime(value)
    return None if lifetime is None else now + lifetime
