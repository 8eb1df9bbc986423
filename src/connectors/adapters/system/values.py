"""Readers of the text of one setting. Each raises ValueError without quoting the text, which may be a secret."""

import os
import re
import ssl
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import attrs

from connectors.domain.model.schedule import LONGEST_INTERVAL
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import Reader
from connectors.domain.providers.toolbox.options import whole_number

PROVIDER_PLACEHOLDER = "{provider}"
_HIGHEST_PORT = 65535
_LONGEST_HOST = 253
"""Characters (RFC 1123 §2.1)."""
_LABEL = re.compile("[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SCOPE = re.compile(r"[!#-\[\]-~]+")
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
        # libpq also accepts passwords and key files in the query, so the query is not shown.
        return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def default_workers() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_bind(text: str) -> Bind:
    """`host:port`; an IPv6 address is in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _HIGHEST_PORT:
        raise ValueError("no host, or no port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return Bind(str(IPv6Address(host[1:-1])), int(port))
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if not is_host_name(host):
        raise ValueError("not a host name or address")
    return Bind(host, int(port))


def read_database_url(text: str) -> DatabaseUrl:
    """`postgresql://…`. We choose the driver, so `postgresql+psycopg://` is refused."""
    parts = _split(text)
    if parts.scheme not in _DATABASE_SCHEMES or not text[len(parts.scheme) :].startswith("://"):
        raise ValueError("it does not begin with postgresql://")
    # Imported only if there is a URL: the import takes a tenth of a second.
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        conninfo_to_dict(text)
    except ProgrammingError:
        raise ValueError("PostgreSQL does not understand a part of it") from None
    return DatabaseUrl(Secret(f"postgresql{text[len(parts.scheme) :]}"))


def read_path(text: str) -> Path:
    """A path, made absolute; `~` is the home directory."""
    if "\0" in text:
        raise ValueError("it has a NUL character")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("there is no such user") from None


def read_certificates(text: str) -> Path:
    """The path of a file with at least one certificate in PEM, made absolute."""
    path = read_path(text)
    try:
        found = ssl.create_default_context(cafile=str(path)).get_ca_certs()
    except OSError:
        found = []
    if not found:
        raise ValueError("there is no such file, or no certificate in it")
    return path


def read_base_url(text: str) -> str:
    """An absolute URL that paths can be appended to: https, or http on loopback, with scheme and host in lower case.

    It has no user information, query, fragment or final slash, and, because its path is compared with those of calls,
    no escapes and no dot segments.
    """
    parts = _checked_web_url(text)
    if parts.query or "?" in text:
        raise ValueError("it has a query")
    if "%" in parts.path or not {".", ".."}.isdisjoint(parts.path.split("/")):
        raise ValueError("its path has dot segments or escapes")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def read_redirect_uri(text: str) -> str:
    """An OAuth redirect URI (RFC 6749 §3.1.2), possibly with `{provider}` in its path or query."""
    parts = _checked_web_url(text)
    if PROVIDER_PLACEHOLDER in parts.netloc:
        raise ValueError("the placeholder may not be in the host")
    if any(bracket in text.replace(PROVIDER_PLACEHOLDER, "") for bracket in "{}"):
        raise ValueError("{provider} is the only placeholder")
    return text


def read_redirect_uris(text: str) -> tuple[str, ...]:
    """Redirect URIs, separated by commas."""
    return tuple(read_redirect_uri(part) for part in _parts(text))


def read_secret(text: str) -> Secret:
    """One secret."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # The environment had bytes that are not UTF-8; every use of the secret would fail.
        raise ValueError("it is not UTF-8") from None
    return Secret(text)


def read_secrets(text: str) -> tuple[Secret, ...]:
    """Secrets, separated by commas, the newest first."""
    return tuple(read_secret(part) for part in _parts(text))


def read_scopes(text: str) -> tuple[str, ...]:
    """Scopes (RFC 6749 §3.3), separated by spaces or commas, without repetitions, in the given order."""
    scopes = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not scopes or not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError("it has no scope, or characters that a scope cannot have")
    return scopes


def read_word(text: str) -> str:
    """Printable ASCII without spaces, as client ids are (RFC 6749 appendix A.1, and no vendor uses a space)."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has spaces, control characters or characters outside ASCII")
    return text


def is_host_name(text: str) -> bool:
    """Whether the text has the form of a host name or IPv4 address (RFC 1123 §2.1; some networks also use `_`)."""
    return len(text) <= _LONGEST_HOST and all(_LABEL.fullmatch(label) for label in text.split("."))


def is_loopback(host: str) -> bool:
    """Whether the host is surely this machine, whatever name servers say: `localhost`, 127.0.0.0/8 or ::1."""
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
    # `urlsplit` silently drops tabs and newlines, so we would check another URL than we call.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has spaces, control characters or characters outside ASCII")
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:
        # The original message quotes the text, and so half of the password in `postgresql://user:pass/word@host`.
        raise ValueError("not a URL; special characters in a password need percent-encoding") from None
    return parts


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _checked_web_url(text: str) -> SplitResult:
    parts = _split(text)
    if not parts.hostname or "@" in parts.netloc or "\\" in text or "#" in text:
        raise ValueError("not an absolute URL without user information and fragment")
    if not is_host_name(parts.hostname) and not _is_ipv6(parts.hostname):
        raise ValueError("its host is not a name or address")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("it is not https")
    return parts


def _timespan(unit: str, most: int, expected: str) -> Reader[timedelta]:
    number = whole_number(1, most)
    return Reader(lambda text: timedelta(**{unit: number.read(text)}), expected)


BIND = Reader(read_bind, "host:port, for example 127.0.0.1:8080 or [::1]:8080")
SECONDS = _timespan("seconds", int(LONGEST_INTERVAL.total_seconds()), "whole seconds from 1 to a year of them")
HOURS = _timespan("hours", 720, "whole hours from 1 to 720")
DAYS = _timespan("days", 36_525, "whole days from 1 to 36525")
JOBS = "jobs at once"
BYTES = whole_number(1, 10**9, "bytes")
