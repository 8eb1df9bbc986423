"""Where a setting's text comes from, and how a wrong one is reported."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import attrs

from connectors.adapters.aesgcm.keys import KeyRing
from connectors.adapters.system.operators import OperatorTokens
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import Reader

PREFIX = "POBLYSH_"
MASK = "***"

_SHOWN_LENGTH = 80
"""Characters of a wrong value that an error repeats: enough to recognise it, on one line."""

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class SettingRow:
    """One line of `connectors settings`."""

    name: str
    value: str | None
    """The effective value, secrets masked; None if there is none."""
    source: str
    """`environment`, `.env`, `default`, or `fallback NAME` of the shared setting that it came from."""


@attrs.frozen(kw_only=True)
class UnknownVariable:
    """A `POBLYSH_…` variable that no setting uses."""

    name: str
    suggestion: str | None
    """The setting that was probably meant."""

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{self.name} is set, but there is no such setting{hint}"


class SettingSources:
    """The process's environment, then the `.env` file. Blank values count as unset."""

    def __init__(self, environ: Mapping[str, str], dotenv: Mapping[str, str]) -> None:
        """Use the process's variables, which take precedence, and those of the `.env` file."""
        self._layers = tuple((name, _ours(layer)) for name, layer in (("environment", environ), (".env", dotenv)))

    def texts(self) -> dict[str, str]:
        """Every `POBLYSH_…` variable that is set."""
        return {name: text for _, layer in reversed(self._layers) for name, text in layer.items()}

    def find(self, name: str) -> str | None:
        """The variable's text, or None."""
        return next((layer[name] for _, layer in self._layers if name in layer), None)

    def source_of(self, name: str) -> str:
        """`environment`, `.env` or `default`."""
        return next((source for source, layer in self._layers if name in layer), "default")

    def unknown(self, known: Iterable[str]) -> tuple[UnknownVariable, ...]:
        """Variables with our prefix that are not among the known names, each with the most similar known name."""
        names = {name.removeprefix(PREFIX) for name in known}
        found = {name.removeprefix(PREFIX) for name in self.texts()}
        return tuple(
            UnknownVariable(name=PREFIX + name, suggestion=_nearest(name, names)) for name in sorted(found - names)
        )


def read_setting(name: str, text: str, reader: Reader[T], *, is_secret: bool = False, is_option: bool = False) -> T:
    """The value of the variable, which is set to this text.

    Args:
        name: the variable's name.
        text: its value.
        reader: reads it.
        is_secret: neither the text nor a part of it is repeated in the error.
        is_option: the reader may come from another distribution, whose errors may quote the text.

    Raises:
        SettingsError: one line with the variable, its value and what is expected.
    """
    try:
        return reader.read(text)
    except ValueError as error:
        # Our own readers of secrets leave the secret out of their errors; other errors may quote it (a URL's password).
        reason = f" ({error})" if is_secret and not is_option else ""
    except Exception as error:
        if not is_option:
            raise
        reason = f" (its reader failed: {type(error).__name__})"
    found = _quoted(text, is_secret=is_secret)
    raise SettingsError(f"{name} is {found}{reason}, expected {' '.join(reader.expected.split())}") from None


def shown(value: Any) -> str | None:
    """A setting's value in a form that people may see."""
    match value:
        case None | ():
            return None
        case Secret():
            return MASK
        case KeyRing():
            return ", ".join(f"{key_id}:{MASK}" for key_id in value.ids)
        case OperatorTokens():
            return str(value)
        case tuple():
            return ", ".join(shown(part) or "" for part in value)
        case bool():
            return str(value).lower()
        case _:
            # A path may have any characters, also those that no terminal can show.
            text = str(value)
            return text if text.isprintable() else repr(text)


def _nearest(name: str, names: Iterable[str]) -> str | None:
    # Without the prefix, which alone would make any two names similar.
    matches = difflib.get_close_matches(name, sorted(names), n=1)
    return PREFIX + matches[0] if matches else None


def _ours(layer: Mapping[str, str]) -> dict[str, str]:
    return {name: text.strip() for name, text in layer.items() if name.startswith(PREFIX) and text.strip()}


def _quoted(text: str, *, is_secret: bool) -> str:
    # User information in a URL is a secret, in whatever setting.
    if is_secret or "@" in text:
        return f"{MASK} ({len(text)} characters)"
    return repr(text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…")
