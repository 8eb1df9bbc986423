"""One bounded HTTP exchange. Everything that goes out passes here.

It uses the `HTTPAdapter` of requests without a `Session`: a session adds what must not happen here (cookies kept from
one tenant's call to the next, redirects, proxies and netrc from the environment). The adapter and its urllib3 pools are
thread-safe.
"""

import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import requests
import urllib3
from requests.adapters import HTTPAdapter

from connectors.adapters.requests.quiet import silence_libraries
from connectors.adapters.system.values import is_loopback
from connectors.domain.model.errors import (
    ConnectorsError,
    ProviderUnavailableError,
    SettingsError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpResponse

USER_AGENT = f"poblysh-connectors/{version('poblysh-connectors')}"

_CHUNK = 65_536
"""Bytes per read: large enough that Python is not the bottleneck, small compared with the limit that it may exceed."""

_DISTINCT_HOSTS = 32
"""Hosts whose connections are kept open: eight providers with a handful of hosts each."""


@attrs.frozen(kw_only=True)
class OutboundLimits:
    """Limits of one exchange."""

    timeout: timedelta = timedelta(seconds=30)
    """For the whole response, checked whenever a part of it arrives; a silence of this length ends it too."""
    connect_timeout: timedelta = timedelta(seconds=10)
    """For the TCP connection and the TLS handshake; never longer than `timeout`."""
    max_bytes: int = 33_554_432
    """Of the body, after decompression."""
    connections_per_host: int = 16
    """Kept open for reuse; more may be open at a time."""
    ca_file: Path | None = None
    """Certificates to trust instead of the bundled ones."""


class Transport:
    """Sends a prepared request and reads the response within limits. Safe to share between threads."""

    def __init__(self, limits: OutboundLimits | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing is opened yet.

        Args:
            limits: None for the defaults.
            monotonic: a clock in seconds that never goes back.

        Raises:
            SettingsError: the certificate file is missing.
        """
        self._limits = limits or OutboundLimits()
        self._monotonic = monotonic
        ca_file = self._limits.ca_file
        if ca_file is not None and not ca_file.is_file():
            raise SettingsError(f"POBLYSH_OUTBOUND_CA_FILE is {str(ca_file)!r}, expected a file with certificates")
        self._verify: bool | str = str(ca_file) if ca_file is not None else True
        self._adapter = HTTPAdapter(
            pool_connections=_DISTINCT_HOSTS, pool_maxsize=self._limits.connections_per_host, max_retries=0
        )
        silence_libraries()

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def exchange(self, request: requests.Request) -> HttpResponse:
        """The response, whatever its status; a redirect is a response too.

        Args:
            request: complete; only `User-Agent`, `Accept` and `Accept-Encoding` are added if they are missing.

        Raises:
            ProviderUnavailableError: no connection, timeout, or the response was cut off. Its outcome is unknown unless
                the request has certainly not left.
            UnexpectedResponseError: the request cannot be sent over HTTP, or the response is too large or cannot be
                decoded.
        """
        host = _checked_host(request.url)
        timeout = self._limits.timeout.total_seconds()
        deadline = self._monotonic() + timeout
        try:
            prepared = request.prepare()
            for name, value in (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate")):
                prepared.headers.setdefault(name, value)
            connect_timeout = min(timeout, self._limits.connect_timeout.total_seconds())
            with self._adapter.send(
                prepared, stream=True, timeout=(connect_timeout, timeout), verify=self._verify
            ) as response:
                body = self._read_body(response.raw, deadline, host)
                # urllib3 joins header fields of the same name with a comma, as RFC 9110 §5.3 allows.
                return HttpResponse(
                    status=response.status_code, headers=dict(response.headers), body=body, url=prepared.url or ""
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError, OSError) as error:
            # The original exceptions quote whole URLs and header values, which must not reach a log, not even as a
            # cause.
            raise _translated(error, host) from None

    def _read_body(self, raw: urllib3.BaseHTTPResponse, deadline: float, host: str) -> bytes:
        """The decompressed body. `read1` returns what has arrived: a slow sender cannot hold us past the deadline."""
        limit = self._limits.max_bytes
        body = bytearray()
        while chunk := raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > limit:
                raise UnexpectedResponseError(f"{host} answered with more than {limit} bytes", outcome_unknown=True)
            if self._monotonic() > deadline:
                raise ProviderUnavailableError(f"{host} took too long to answer", outcome_unknown=True)
        return bytes(body)


def _checked_host(url: str) -> str:
    """The URL's host, for messages; requires https everywhere except on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise UnexpectedResponseError("a URL that is not https was about to be called; it was not")
    return host


def _translated(error: Exception, host: str) -> ConnectorsError:
    unknown = not _never_left(error)
    match error:
        case requests.exceptions.ConnectTimeout():
            return ProviderUnavailableError(f"{host} did not accept a connection in time")
        case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError() | TimeoutError():
            return ProviderUnavailableError(f"{host} took too long to answer", outcome_unknown=True)
        case requests.exceptions.SSLError() | urllib3.exceptions.SSLError():
            text = f"no trusted TLS connection to {host} could be made"
            return ProviderUnavailableError(text, outcome_unknown=unknown)
        case urllib3.exceptions.DecodeError():
            text = f"{host} answered with a body that cannot be decoded as declared"
            return UnexpectedResponseError(text, outcome_unknown=True)
        case requests.exceptions.InvalidHeader() | UnicodeError():
            return UnexpectedResponseError(f"a request to {host} has a header that HTTP cannot carry")
        case (
            requests.exceptions.InvalidURL()
            | requests.exceptions.InvalidSchema()
            | requests.exceptions.MissingSchema()
            | urllib3.exceptions.LocationValueError()
        ):
            return UnexpectedResponseError(f"a URL at {host} is malformed")
        case urllib3.exceptions.ProtocolError():
            return ProviderUnavailableError(f"{host} cut off its response", outcome_unknown=True)
        case _:
            return ProviderUnavailableError(f"{host} could not be reached", outcome_unknown=unknown)


_BEFORE_SENDING = (
    requests.exceptions.ConnectTimeout,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,  # refused, no route, no such name
    ssl.SSLCertVerificationError,
)
"""Errors of making the connection. Any other may come after the request has left."""


def _never_left(error: BaseException) -> bool:
    """Whether the request has certainly not been sent: the error is one of making the connection, or wraps one."""
    inner = [getattr(error, "reason", None), *error.args]
    return isinstance(error, _BEFORE_SENDING) or any(
        _never_left(one) for one in inner if isinstance(one, BaseException) and one is not error
    )
