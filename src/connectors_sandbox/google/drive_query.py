"""The part of Drive's search language that listings by time need."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from connectors_sandbox.google.drive import File
from connectors_sandbox.google.errors import invalid

TOKEN: Final = re.compile(r"\s*(\(|\)|<=|>=|!=|=|<|>|'(?:[^'\\]|\\.)*'|[A-Za-z]+)")
Test = Callable[[File], bool]


def parse_query(text: str) -> Test:
    """A predicate on files.

    Raises:
        GoogleError: 400 `invalid`, for a query that cannot be parsed.
    """
    words: list[str] = []
    rest = text.strip()
    while rest:
        found = TOKEN.match(rest)
        if found is None:
            raise invalid("Invalid Value", "q")
        words.append(found.group(1))
        rest = rest[found.end() :]
    if not words:
        return lambda _: True
    test, left = _any(words)
    if left:
        raise invalid("Invalid Value", "q")
    return test


def _any(words: list[str]) -> tuple[Test, list[str]]:
    test, words = _all(words)
    while words and words[0] == "or":
        other, words = _all(words[1:])
        test = _either(test, other)
    return test, words


def _all(words: list[str]) -> tuple[Test, list[str]]:
    test, words = _one(words)
    while words and words[0] == "and":
        other, words = _one(words[1:])
        test = _both(test, other)
    return test, words


def _either(left: Test, right: Test) -> Test:
    return lambda file: left(file) or right(file)


def _both(left: Test, right: Test) -> Test:
    return lambda file: left(file) and right(file)


def _one(words: list[str]) -> tuple[Test, list[str]]:
    if words and words[0] == "(":
        test, words = _any(words[1:])
        if not words or words[0] != ")":
            raise invalid("Invalid Value", "q")
        return test, words[1:]
    if len(words) < 3:  # noqa: PLR2004 - field, operator, value
        raise invalid("Invalid Value", "q")
    field, operator, value = words[:3]
    return _comparison(field, operator, value), words[3:]


def _comparison(field: str, operator: str, value: str) -> Test:
    if field == "trashed" and operator in {"=", "!="} and value in {"true", "false"}:
        wanted = (value == "true") == (operator == "=")
        return lambda file: file.is_trashed is wanted
    if field == "mimeType" and operator in {"=", "!="} and value.startswith("'"):
        return lambda file: (file.mime_type == value[1:-1]) is (operator == "=")
    times: dict[str, Callable[[datetime, datetime], bool]] = {
        "<=": lambda left, right: left <= right,
        ">=": lambda left, right: left >= right,
        "<": lambda left, right: left < right,
        ">": lambda left, right: left > right,
    }
    if field in {"modifiedTime", "createdTime"} and operator in times:
        try:
            at = datetime.fromisoformat(value.strip("'"))
        except ValueError as error:
            raise invalid("Invalid Value", "q") from error
        compare = times[operator]
        return lambda file: compare(file.modified_at if field == "modifiedTime" else file.created_at, at)
    raise invalid("Invalid Value", "q")
