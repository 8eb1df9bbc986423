"""Keyset pagination of our own lists: newest first, stable under inserts; a cursor is valid only for its own list."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs

from connectors.domain.model.errors import ValidationError
from connectors.domain.model.instant import rfc3339, utc

DEFAULT_LIMIT = 50
"""Items per page if the caller does not say (from the integration guide)."""
MAX_LIMIT = 100
"""The maximum number of items per page (from the integration guide)."""

T = TypeVar("T")


@attrs.frozen
class Position:
    """Where a page ended: the sort key of its last item."""

    at: datetime = attrs.field(converter=utc)
    id: UUID


@attrs.frozen(kw_only=True)
class PageRequest:
    """Which page: how many items, and after which position."""

    limit: int = attrs.field(default=DEFAULT_LIMIT, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_LIMIT)])
    after: Position | None = None


@attrs.frozen
class Page(Generic[T]):
    """Some items of a list, newest first, and where the next page starts."""

    items: tuple[T, ...]
    next: Position | None
    """None on the last page."""


def list_fingerprint(*parts: Any) -> str:
    """Ties a cursor to its list: a hash of the tenant and every filter."""
    text = json.dumps([None if part is None else str(part) for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_cursor(position: Position, fingerprint: str) -> str:
    """The position as an opaque text that `read_cursor` accepts for the same list."""
    document = [1, fingerprint, rfc3339(position.at), str(position.id)]
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(text: str, fingerprint: str) -> Position:
    """Where the previous page ended.

    A cursor holds nothing secret and grants no access: a forged one only moves within the caller's own list, so it is
    validated, not signed.

    Raises:
        ValidationError: cut off, altered, of another version, or made for other filters or another tenant.
    """
    try:
        document = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        version, made_for, at, identifier = document
        if version != 1 or made_for != fingerprint:
            raise ValueError
        return Position(datetime.fromisoformat(at), UUID(identifier))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        details = [{"field": "cursor", "message": "is not a cursor of this list with these filters"}]
        raise ValidationError("The cursor is not valid.", details=details) from error
