"""A request's body: all of its bytes, or an error, never a part of them."""

from flask import request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge


def read_whole_body(limit: int) -> bytes:
    """Exactly the bytes that were sent, parsed by nobody.

    Werkzeug by itself ends a body without a length at its limit, and one whose sender went away where it broke off,
    without a word. A relayed delivery would then be kept cut, because nobody checks its signature.

    Args:
        limit: bytes.

    Raises:
        RequestEntityTooLarge: it is longer. With a declared length it is not read at all.
        BadRequest: it ended before its declared length, or its chunks are malformed.
    """
    declared = request.content_length
    if declared is not None and declared > limit:
        raise RequestEntityTooLarge
    request.max_content_length = limit + 1
    try:
        body = request.get_data(cache=False, parse_form_data=False)
    except HTTPException:
        raise
    except Exception as error:
        # Each HTTP server has errors of its own for malformed chunks; what the sender's bytes provoke is the sender's.
        raise BadRequest from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BadRequest
    return body
