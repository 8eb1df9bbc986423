"""Encodes views as JSON."""

import json
from typing import Any

import msgspec

JSON = "application/json"


def encode(view: Any) -> bytes:
    """The view as UTF-8 JSON.

    Provider payloads may hold what the fast encoder refuses (integers beyond 64 bits, lone surrogates). The slow
    encoder takes those, because a list must not fail for one odd item.
    """
    try:
        return msgspec.json.encode(view)
    except (OverflowError, UnicodeEncodeError):
        return json.dumps(msgspec.to_builtins(view), separators=(",", ":")).encode("ascii")
