"""Foreign JSON, one guarded step at a time: every function takes anything and gives None or something sound."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.domain.model.instant import from_epoch_seconds

ID_LIMIT = 1024
"""Characters. Google documents calendar and event ids up to 1024; nothing that we key on is longer."""
URL_LIMIT = 2048
"""Characters; a longer link is of no use to anybody who would click it."""
DIGITS = re.compile(r"[0-9]{1,20}")
"""A uint64 in decimal: at most 20 digits, so `int` never meets a number that takes it seconds."""


def read_object(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def read_objects(value: Any) -> list[Mapping[str, Any]]:
    """The JSON objects in the value if it is an array, else nothing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read_texts(value: Any) -> list[str]:
    """The identifiers in the value if it is an array, else nothing."""
    return [text for item in value if (text := read_id(item)) is not None] if isinstance(value, list) else []


def read_text(value: Any) -> str | None:
    """The value if it is a text with something in it. Lone surrogates, which JSON can carry, become `?`."""
    if not isinstance(value, str):
        return None
    text = value.encode("utf-8", "replace").decode().replace("\0", "")
    return text if text.strip() else None


def read_id(value: Any) -> str | None:
    """The value if it can be an identifier: printable, not empty, not huge, and no step within a path."""
    if not isinstance(value, str) or not 0 < len(value) <= ID_LIMIT or not value.isprintable():
        return None
    if value in {".", ".."}:
        return None
    return value


def read_url(value: Any) -> str | None:
    """The value if it is a web link that may be shown to a user."""
    if not isinstance(value, str) or len(value) > URL_LIMIT or not value.isprintable() or " " in value:
        return None
    return value if value.startswith(("https://", "http://")) else None


def read_count(value: Any) -> int | None:
    """The value if it is an integer of at least 0, as a JSON number or, as int64 and uint64 travel, as a text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value < 1 << 64 else None
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    return None


def read_millis(value: Any) -> datetime | None:
    """The instant that many milliseconds after the epoch (channel expirations, `internalDate`)."""
    count = read_count(value)
    if count is None:
        return None
    try:
        return from_epoch_seconds(count // 1000) + timedelta(milliseconds=count % 1000)
    except (ValueError, OverflowError):
        return None


def read_http_date(value: Any) -> datetime | None:
    """The instant of an HTTP-date (RFC 9110 §5.6.7)."""
    if not isinstance(value, str):
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
