"""Views to JSON bytes."""

import json
from typing import Any

import msgspec
from flask import Response

JSON = "application/json"


def encode(view: Any) -> bytes:
    """The view as UTF-8 JSON.

    Provider payloads may hold what the fast encoder refuses (integers beyond 64 bits, lone surrogates): those go
    through the slow one, because a list must not fail for one odd item.
    """
    try:
        return msgspec.json.encode(view)
    except (OverflowError, UnicodeEncodeError):
        return json.dumps(msgspec.to_builtins(view), separators=(",", ":")).encode("ascii")


def json_response(view: Any, status: int = 200, content_type: str = JSON) -> Response:
    """An answer with the view as its body."""
    return Response(encode(view), status=status, content_type=content_type)
