"""Readers of provider options. Their errors do not quote the text, which may be a secret."""

import re
from collections.abc import Iterable
from typing import TypeVar

from connectors.domain.providers.contract import Reader

T = TypeVar("T")

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def whole_number(least: int, most: int, what: str = "a whole number") -> Reader[int]:
    """A whole number from `least` (0 or more) to `most`; `what` names it in errors."""

    def read(text: str) -> int:
        # The length is checked first: int() raises another error for thousands of digits.
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise ValueError(f"not a whole number from {least} to {most}")
        return int(text)

    return Reader(read, f"{what} from {least} to {most}")


def yes_or_no() -> Reader[bool]:
    """True or false."""

    def read(text: str) -> bool:
        if text.lower() not in _YES | _NO:
            raise ValueError("neither true nor false")
        return text.lower() in _YES

    return Reader(read, "true or false")


def choice(words: Iterable[str]) -> Reader[str]:
    """One of the words, which are lower-case; the case of the text does not matter."""
    allowed = tuple(words)

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError("not one of the words")
        return text.lower()

    return Reader(read, f"one of {', '.join(allowed)}")


def text_of(what: str) -> Reader[str]:
    """Any printable text; `what` names it in errors."""

    def read(text: str) -> str:
        if not text.isprintable():
            raise ValueError("it has characters that cannot be printed")
        return text

    return Reader(read, what)


def pattern(regex: str, what: str) -> Reader[str]:
    """Text that matches the whole regular expression; `what` describes it in errors."""
    compiled = re.compile(regex, re.ASCII)

    def read(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError("it does not have the expected form")
        return text

    return Reader(read, what)


def several(reader: Reader[T], what: str) -> Reader[tuple[T, ...]]:
    """At least one, separated by commas, each read by `reader`; `what` names them in errors."""

    def read(text: str) -> tuple[T, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise ValueError("there is nothing between two commas")
        return tuple(reader.read(part) for part in parts)

    return Reader(read, f"{what}, separated by commas")
