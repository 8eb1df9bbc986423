"""What every store can keep: foreign text and JSON, made storable without losing the rest.

PostgreSQL refuses U+0000 in text and JSONB, and UTF-8 has no lone surrogates; JSON from providers may hold both. Each
such character becomes U+FFFD. The stores in memory do the same, so that what works there works in production.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import attrs
import msgspec

from connectors.domain.model.connection import ExternalAccount

JSON_DEPTH = 400
"""Levels of nesting that are kept; anything deeper becomes null. Deeper JSON exhausts the stacks of encoders and
databases."""
KEY_LENGTH = 465
"""The maximum length of an indexed text, in characters. An index row holds 2,704 bytes, a character up to 4."""

_KEPT = (UUID, datetime, Enum, bytes, int)
"""Of these every value can be stored as it is."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()

T = TypeVar("T")


def clean_text(text: str) -> str:
    """The text with U+FFFD for every NUL and lone surrogate."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


def key_text(text: str) -> str:
    """The text as it is indexed: cleaned; if it is longer than `KEY_LENGTH`, cut and filled up with its SHA-256.

    The result maps to itself: a key that was read back finds its row.
    """
    clean = clean_text(text)
    if len(clean) <= KEY_LENGTH:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()
    return f"{clean[: KEY_LENGTH - len(digest) - 1]}#{digest}"


def encode_json(value: Any) -> str:
    """The value as JSON that JSONB accepts. Infinite numbers and NaN become null."""
    try:
        encoded = _ENCODER.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError, TypeError):
        # Lone surrogates, integers beyond 64 bits, extreme nesting, exotic mappings: rare, so a second pass is
        # acceptable.
        return _encode_cleaned(value)
    # A text that spells out backslash-u-0000 also takes the slow path, which leaves it unchanged.
    return _encode_cleaned(value) if b"\\u0000" in encoded else encoded.decode()


def decode_json(text: str | bytes) -> Any:
    """The value that `encode_json` wrote."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text)


def stored_json(value: T) -> T:
    """A copy of JSON data as a store returns it."""
    copy: T = decode_json(encode_json(value))
    return copy


def as_stored(row: T) -> T:
    """A copy of an attrs object as a store returns it: texts cleaned, mappings copied."""
    changes = {}
    for name in _field_names(type(row)):  # type: ignore[arg-type]  # every class is hashable
        value = getattr(row, name)
        new = _stored_value(value)
        if new is not value:
            changes[name] = new
    return attrs.evolve(row, **changes) if changes else row  # type: ignore[misc]  # as above


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


def account_host(account: ExternalAccount) -> str | None:
    """The lower-case host of the account's URL, by which app-level webhooks may name it."""
    try:
        host = urlsplit(account.url or "").hostname
    except ValueError:
        return None
    return key_text(host) if host else None


def account_email(account: ExternalAccount) -> str | None:
    """The lower-case `email` of the account's metadata, by which app-level webhooks may name it."""
    email = account.metadata.get("email")
    return key_text(email.lower()) if isinstance(email, str) and email else None


def _stored_value(value: Any) -> Any:
    if value is None or isinstance(value, _KEPT):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return stored_json(dict(value))
    if isinstance(value, tuple):
        return tuple(_stored_value(item) for item in value)
    return as_stored(value) if attrs.has(type(value)) else value


def _encode_cleaned(value: Any) -> str:
    return json.dumps(_cleaned(value, 0), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= JSON_DEPTH:
        return None if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, depth + 1) for item in value]
    return value
