"""Reads foreign JSON into attrs classes, with errors that name the field.

Types are strict (`"5"` is not a number, `true` is not 1). Fields that a class does not list are ignored. Readers of
single values that never raise are in `foreign.py`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import from_epoch_seconds, read_instant
from connectors.domain.providers.toolbox.foreign import clean_text

T = TypeVar("T")

LARGEST_NUMBER = 2**63 - 1
"""Ids have at most 64 bits; longer numbers are no ids, and would make dedupe keys of any length."""


def read(document: Any, shape: type[T], what: str) -> T:
    """The document as `shape`.

    Args:
        document: foreign JSON of any type.
        shape: an attrs class with the fields to read.
        what: whose document it is, for the error: "GitHub's issue".

    Raises:
        UnexpectedResponseError: a field is missing or of another type; the message and `details` name each.
    """
    try:
        return _CONVERTER.structure(document, shape)
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError) as error:
        faults = cattrs.transform_error(error)
        raise UnexpectedResponseError(
            f"{what} is not as documented: {'; '.join(faults[:3])}",
            details=[{"field": fault.rpartition("@ ")[2], "message": fault} for fault in faults],
        ) from error


def read_rows(document: Mapping[str, Any], name: str, whose: str) -> list[Any]:
    """The rows of a list.

    Args:
        document: an answer that should hold the list.
        name: the list's member.
        whose: the vendor, for the error.

    Raises:
        UnexpectedResponseError: there is no list, which is not the same as an empty one: nothing was read.
    """
    rows = document.get(name)
    if not isinstance(rows, list):
        raise UnexpectedResponseError(f"{whose}'s answer has no list of {name}.")
    return rows


def _structure_int(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a whole number")
    if not 0 <= value <= LARGEST_NUMBER:
        raise ValueError("out of range")
    return value


def _structure_bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _structure_text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return clean_text(value)  # the payload keeps the original


def _structure_instant(value: Any, _: Any) -> datetime:
    if isinstance(value, int) and not isinstance(value, bool):
        return from_epoch_seconds(value)
    instant = read_instant(value)
    if instant is None:
        raise ValueError("not an instant with a zone")
    return instant


def _structure_object(shape: type[T]) -> Callable[[Any, Any], T]:
    fields = make_dict_structure_fn(shape, _CONVERTER)

    def structure(value: Any, _: Any) -> T:
        # Checked here: the generated function accepts anything with `in` and indexing, text included.
        if not isinstance(value, Mapping):
            raise TypeError("not an object")
        return fields(value, shape)

    return structure


_CONVERTER = cattrs.Converter()
_CONVERTER.register_structure_hook(int, _structure_int)
_CONVERTER.register_structure_hook(bool, _structure_bool)
_CONVERTER.register_structure_hook(str, _structure_text)
_CONVERTER.register_structure_hook(datetime, _structure_instant)
_CONVERTER.register_structure_hook_factory(attrs.has, _structure_object)
