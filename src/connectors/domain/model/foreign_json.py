"""The one decoder of the JSON that vendors send and answer."""

import json
import math
from typing import Any
from urllib.parse import parse_qsl

from connectors.domain.model.errors import UnexpectedResponseError


def read_json(text: bytes | str) -> Any:
    """What the JSON stands for.

    Its texts may hold NUL and halves of surrogate pairs: vendors cut texts in the middle of a character. Of a name that
    occurs twice in an object, the last one counts. NaN, Infinity and 1e999 become null, as in the database: a number
    that nobody needs must not cost a delivery or a rotated token.

    Raises:
        UnexpectedResponseError: it is not JSON (RFC 8259), is nested too deep, or has a number of thousands of digits.
    """
    try:
        return json.loads(text, parse_constant=_null, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UnexpectedResponseError("The body is not JSON.") from error


def read_json_object(text: bytes | str) -> dict[str, Any]:
    """The JSON object.

    Raises:
        UnexpectedResponseError: see `read_json`; or it is JSON of another type.
    """
    document = read_json(text)
    if not isinstance(document, dict):
        raise UnexpectedResponseError("The body is JSON, but not an object.")
    return document


def read_form_member(body: bytes) -> str:
    """The one text in a form (`application/x-www-form-urlencoded`): a member's value, or its name where it has none.

    Raises:
        UnexpectedResponseError: it is no such form, or has several members.
    """
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1)
    except ValueError as error:
        raise UnexpectedResponseError("The body is not a form with one member.") from error
    name, value = fields[0] if fields else ("", "")
    return value or name


def _null(_: str) -> None:
    return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
