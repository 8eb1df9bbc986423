"""Views to HTTP answers."""

from typing import Any

from flask import Response

from connectors.entrypoints.representation.encoding import JSON, encode


def json_response(view: Any, status: int = 200, content_type: str = JSON) -> Response:
    """An answer with the view as its body."""
    return Response(encode(view), status=status, content_type=content_type)
