"""Requests to the classes of `request_models`, or an error that names every fault."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import GenericAlias
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl
from uuid import UUID

import attrs
import cattrs
import msgspec
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from flask import request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from connectors.domain.model.errors import ValidationError
from connectors.domain.model.instant import utc
from connectors.entrypoints.request_ids import InputError, read_uuid

T = TypeVar("T")

MAX_PARAMETERS = 100
"""A query with more parameters is refused: no operation has so many."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]+)?(?:(Z)|([-+ ])([0-9]{2}:[0-9]{2}))",
    re.IGNORECASE,
)
_LEAP_SECOND = "60"


# --- single values -------------------------------------------------------------------------------------------------


def read_timestamp(text: Any) -> datetime:
    """The instant of an RFC 3339 timestamp, in UTC.

    A space before the offset is read as `+`, because an unescaped `+` in a query becomes one, and no valid timestamp
    has a space there. A leap second is the first instant of the next minute. Digits past microseconds are dropped.

    Raises:
        InputError: malformed, without a zone, or outside the years 1 to 9999.
    """
    match = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InputError("is not an RFC 3339 timestamp with its zone, such as 2026-01-02T03:04:05Z")
    day, minute, second, fraction, zulu, sign, offset = match.groups()
    leap = second == _LEAP_SECOND
    zone = "+00:00" if zulu else f"{'-' if sign == '-' else '+'}{offset}"
    try:
        parsed = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{fraction or ''}{zone}")
        return utc(parsed.replace(microsecond=0) + timedelta(seconds=1) if leap else parsed)
    except (ValueError, OverflowError):
        raise InputError("is not a date and time that exists") from None


def _read_integer(text: Any) -> int:
    if not isinstance(text, str) or not _INTEGER.fullmatch(text):
        raise InputError("is not an integer")
    return int(text)


def _read_number(value: Any) -> int:
    # To Python, JSON's true is the integer 1.
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError("is not an integer")
    return value


def _read_boolean(text: Any) -> bool:
    if text not in {"true", "false"}:
        raise InputError("is neither true nor false")
    return bool(text == "true")


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("is not a string")
    if "\0" in value:
        raise InputError("contains a NUL character")
    return value


def _read_text_or_choice(value: Any, kind: type[str]) -> str:
    if not issubclass(kind, StrEnum):
        return _read_text(value)
    try:
        return kind(value)
    except ValueError:
        # Some vocabularies are long: the OpenAPI document and GET /providers list them.
        raise InputError(f"is not one of: {', '.join(kind)}") from None


# --- the converter -------------------------------------------------------------------------------------------------


def _checked(kind: Any, converter: cattrs.Converter) -> Any:
    """A hook for `Annotated[…, Meta(…)]`: structures the inner type, then checks the constraints."""
    inner, *notes = get_args(kind)
    metas = [note for note in notes if isinstance(note, msgspec.Meta)]

    def structure(value: Any, _: Any) -> Any:
        result = converter.structure(value, inner)
        for meta in metas:
            _check(result, meta)
        return result

    return structure


def _check(value: Any, meta: msgspec.Meta) -> None:
    if meta.ge is not None and value < meta.ge:
        raise InputError(f"is less than {meta.ge}")
    if meta.le is not None and value > meta.le:
        raise InputError(f"is more than {meta.le}")
    if meta.min_length is not None and len(value) < meta.min_length:
        raise InputError("is empty" if meta.min_length == 1 else f"is shorter than {meta.min_length}")
    if meta.max_length is not None and len(value) > meta.max_length:
        raise InputError(f"is longer than {meta.max_length}")
    if meta.pattern is not None and not re.search(meta.pattern, value):
        raise InputError("has characters that it may not have")


def _read_array(value: Any, kind: Any, converter: cattrs.Converter) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError("is not an array")
    items: Any = GenericAlias(list, get_args(kind)[:1])
    return tuple(converter.structure(value, items))


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _make_converter(*, text_only: bool) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    # A hook for str is used for its subclasses too: the StrEnums.
    converter.register_structure_hook(str, _read_text_or_choice)
    converter.register_structure_hook(UUID, lambda value, _: read_uuid(value))
    converter.register_structure_hook(datetime, lambda value, _: read_timestamp(value))
    converter.register_structure_hook_func(
        lambda kind: _origin(kind) is tuple, lambda value, kind: _read_array(value, kind, converter)
    )
    converter.register_structure_hook_factory(
        lambda kind: _origin(kind) is Annotated, lambda kind: _checked(kind, converter)
    )
    if text_only:
        converter.register_structure_hook(int, lambda value, _: _read_integer(value))
        converter.register_structure_hook(bool, lambda value, _: _read_boolean(value))
    else:
        converter.register_structure_hook(int, lambda value, _: _read_number(value))
    return converter


_QUERY = _make_converter(text_only=True)
_BODY = _make_converter(text_only=False)


# --- queries and bodies --------------------------------------------------------------------------------------------


def read_parameters(query_string: bytes) -> dict[str, str]:
    """The query's parameters, each once.

    Raises:
        ValidationError: not UTF-8, a NUL character, a parameter given twice, or too many parameters.
    """
    try:
        pairs = parse_qsl(query_string.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise ValidationError("The query is not UTF-8.") from None
    except ValueError:
        raise ValidationError(f"The query has more than {MAX_PARAMETERS} parameters.") from None
    parameters: dict[str, str] = {}
    faults = []
    for name, value in pairs:
        if name in parameters:
            faults.append({"field": _shown(name), "message": "is given more than once"})
        if "\0" in name or "\0" in value:
            faults.append({"field": _shown(name), "message": "contains a NUL character"})
        parameters[name] = value
    if faults:
        raise ValidationError("The query is not valid.", details=faults)
    return parameters


def read_query(query_string: bytes, kind: type[T]) -> T:
    """The query as the class says.

    Raises:
        ValidationError: unknown, repeated or malformed parameters; `details` names each.
    """
    return _structure(_QUERY, read_parameters(query_string), kind, "The query is not valid.")


def read_headers(find: Callable[[str], str | None], kind: type[T]) -> T:
    """The headers that the class knows; others are ignored.

    Args:
        find: gives the value of the request's header with a name, or None.
        kind: the class.

    Raises:
        ValidationError: malformed headers; `details` names each.
    """
    found = {name: find(header_name(name)) for name in parameter_names(kind)}
    given = {name: value for name, value in found.items() if value is not None}
    return _structure(_QUERY, given, kind, "A header is not valid.", shown=header_name)


def header_name(name: str) -> str:
    """The HTTP name of a header class's member: `idempotency_key` is `Idempotency-Key`."""
    return "-".join(part.capitalize() for part in name.split("_"))


def read_whole_body(limit: int) -> bytes:
    """The current request's body: all of its bytes, unparsed, or an error, never a part of them.

    Werkzeug by itself silently cuts a body without a length at its limit, and one whose sender disconnects where it
    breaks off. A relayed delivery would then be stored cut, because its signature is not checked.

    Args:
        limit: bytes.

    Raises:
        RequestEntityTooLarge: it is longer. If its declared length is, it is not read at all.
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
        # Each HTTP server has its own errors for malformed chunks. What the bytes cause is the sender's fault.
        raise BadRequest from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BadRequest
    return body


def read_body(body: bytes, kind: type[T]) -> T:
    """The JSON body as the class says; an empty body is an empty object.

    Raises:
        ValidationError: not JSON, not an object, unknown or malformed members; `details` names each.
    """
    try:
        document = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValidationError("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise ValidationError("The body is not a JSON object.")
    return _structure(_BODY, document, kind, "The body is not valid.")


def _structure(
    converter: cattrs.Converter,
    document: Mapping[str, Any],
    kind: type[T],
    message: str,
    *,
    shown: Callable[[str], str] = str,
) -> T:
    try:
        return converter.structure(document, kind)
    except (ClassValidationError, IterableValidationError) as error:
        details = [{"field": shown(field), "message": reason} for field, reason in _faults(error, "")]
        raise ValidationError(message, details=details) from None


def _faults(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """Every fault in an error of cattrs, with its path: `options.repositories[2]`."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        for inner, inner_path in _inner_errors(error, path):
            yield from _faults(inner, inner_path)
    elif isinstance(error, ForbiddenExtraKeysError):
        for name in sorted(error.extra_fields):
            yield _shown(_below(path, name)), "is not known"
    elif isinstance(error, KeyError):
        yield _below(path, str(error.args[0])), "is required"
    elif isinstance(error, InputError):
        yield path, str(error)
    else:
        # cattrs met a value that has no members to read.
        yield path, "has the wrong type"


def _inner_errors(
    error: ClassValidationError | IterableValidationError, path: str
) -> Iterator[tuple[BaseException, str]]:
    """The errors in a group, each with its path."""
    if isinstance(error, ClassValidationError):
        members, others = error.group_exceptions()
        yield from ((inner, _below(path, note.name)) for inner, note in members)
    else:
        items, others = error.group_exceptions()
        yield from ((inner, f"{path}[{note.index}]") for inner, note in items)
    yield from ((inner, path) for inner in others)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(name: str) -> str:
    """A name that the caller chose, made safe to repeat."""
    return "".join(char if char.isprintable() else "?" for char in name)[:100]


def parameter_names(kind: type) -> tuple[str, ...]:
    """The names that a query or header class knows."""
    return tuple(field.name for field in attrs.fields(kind))
