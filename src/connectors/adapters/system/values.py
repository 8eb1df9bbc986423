"""Reading the text of one setting. Every reader raises ValueError without repeating the text, which may be a secret."""

import os
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import attrs

from connectors.domain.model.schedule import LONGEST_INTERVAL
from connectors.domain.model.secret import Secret

PROVIDER_PLACEHOLDER = "{provider}"
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
LOG_FORMATS = ("auto", "json", "console")

_HIGHEST_PORT = 65535
_DATABASE_SCHEMES = frozenset({"postgresql", "postgres"})


@attrs.frozen
class Bind:
    """Where to listen."""

    host: str
    port: int
    """0 lets the system choose."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class DatabaseUrl:
    """A `postgresql://` URL; only `secret` has the password."""

    secret: Secret

    def __str__(self) -> str:
        parts = urlsplit(self.secret.reveal())
        user = (
            f"{parts.username}:***@" if parts.password is not None else f"{parts.username}@" if parts.username else ""
        )
        # libpq also takes passwords and key files in the query, so none of it is shown.
        return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def default_workers() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_bind(text: str) -> Bind:
    """`host:port`; an IPv6 address stands in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _HIGHEST_PORT:
        raise ValueError("no host, or no port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return Bind(str(IPv6Address(host[1:-1])), int(port))
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if not all(character.isalnum() or character in ".-_" for character in host):
        raise ValueError("not a host name or address")
    return Bind(host, int(port))


def read_database_url(text: str) -> DatabaseUrl:
    """`postgresql://…`; the driver is ours to choose, so `postgresql+psycopg://` is refused."""
    parts = _split(text)
    if parts.scheme not in _DATABASE_SCHEMES:
        raise ValueError("its scheme is not postgresql")
    return DatabaseUrl(Secret(f"postgresql{text[len(parts.scheme) :]}"))


def read_path(text: str) -> Path:
    """A path, made absolute; `~` is the home directory."""
    return Path(text).expanduser().absolute()


def read_file(text: str) -> Path:
    """The path of a file that is there, made absolute."""
    path = read_path(text)
    if not path.is_file():
        raise ValueError("there is no such file")
    return path


def read_url(text: str) -> str:
    """An absolute URL without user information, query, fragment or final slash: https, or http on loopback."""
    parts = _checked_web_url(text)
    if parts.query or "?" in text:
        raise ValueError("it has a query")
    return text.rstrip("/")


def read_redirect_uri(text: str) -> str:
    """An OAuth redirect URI (RFC 6749 §3.1.2), possibly with `{provider}` in its path or query."""
    parts = _checked_web_url(text)
    if PROVIDER_PLACEHOLDER in parts.netloc:
        raise ValueError("the placeholder may not stand in the host")
    if any(bracket in text.replace(PROVIDER_PLACEHOLDER, "") for bracket in "{}"):
        raise ValueError("{provider} is the only placeholder")
    return text


def read_redirect_uris(text: str) -> tuple[str, ...]:
    """Redirect URIs, separated by commas."""
    return tuple(read_redirect_uri(part) for part in _parts(text))


def read_secrets(text: str) -> tuple[Secret, ...]:
    """Secrets, separated by commas, the newest first."""
    return tuple(Secret(part) for part in _parts(text))


def read_scopes(text: str) -> tuple[str, ...]:
    """Scopes, separated by spaces or commas; each once, in the order given."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def read_word(text: str) -> str:
    """Printable ASCII without spaces, as client ids are (RFC 6749 appendix A.1, and no vendor uses a space)."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has spaces, control characters or characters outside ASCII")
    return text


def read_count(text: str, *, least: int = 1, most: int = 10**9) -> int:
    """A whole number within bounds."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not least <= int(text) <= most:
        raise ValueError(f"not a whole number from {least} to {most}")
    return int(text)


def read_seconds(text: str) -> timedelta:
    """Whole seconds, at most as long as the longest interval."""
    return timedelta(seconds=read_count(text, most=int(LONGEST_INTERVAL.total_seconds())))


def read_days(text: str) -> timedelta:
    """Whole days, at most a century."""
    return timedelta(days=read_count(text, most=36_525))


def read_choice(text: str, choices: tuple[str, ...]) -> str:
    """One of the words, in any capitals."""
    if text.lower() not in choices:
        raise ValueError("not one of the words")
    return text.lower()


def is_loopback(host: str) -> bool:
    """Whether the host is this machine without asking any name server: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ValueError("there is nothing between two commas")
    return parts


def _split(text: str) -> SplitResult:
    # `urlsplit` silently drops tabs and newlines, so what we checked would not be what we call.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has spaces, control characters or characters outside ASCII")
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError:
        # The original message quotes the text: of `postgresql://user:pass/word@host`, half of the password.
        raise ValueError("not a URL; special characters in a password need percent-encoding") from None
    return parts


def _checked_web_url(text: str) -> SplitResult:
    parts = _split(text)
    if not parts.hostname or "@" in parts.netloc or "\\" in text or "#" in text:
        raise ValueError("not an absolute URL without user information and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("it is not https")
    return parts
