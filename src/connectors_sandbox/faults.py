"""Faults on demand: how a provider's failures look over HTTP.

The middleware runs before Flask, so that a fault can replace a response, damage it, or cut the connection before or
after the world has acted (the lost response of a token refresh).
"""

import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import attrs
from flask import json
from werkzeug.wrappers import Request, Response

from connectors_sandbox.clock import SandboxClock

MAX_DELAY_SECONDS: Final = 30.0
"""A fault never holds a server thread longer than this."""

SLOW_BODY_CHUNKS: Final = 10
"""The number of pieces of a slow body."""

HTML_BODY: Final = (
    "<html>\n<head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center></body>\n</html>\n"
)
"""A gateway's error page."""


class FaultKind(Enum):
    """How the exchange fails."""

    ANSWER = "answer"
    """A different response; the world is not called."""
    RESET = "reset"
    """The connection is reset before the world acts."""
    LOST_ANSWER = "lost_answer"
    """The world acts, then the connection is reset."""
    TRUNCATED = "truncated"
    """Half of the body, with a matching Content-Length: broken JSON."""
    CUT = "cut"
    """Half of the body under the full Content-Length, then the end of the stream."""
    SLOW = "slow"
    """The body arrives in pieces over `seconds`."""
    DELAY = "delay"
    """The right response, `seconds` late."""


def _bounded(seconds: float) -> float:
    return min(float(seconds), MAX_DELAY_SECONDS)


@attrs.define(eq=False)
class Fault:
    """One fault, and when it applies.

    `path` is a shell pattern (`fnmatch`, `*` crosses slashes) below the provider's mount; `times` None means until
    cleared; `skip` lets that many matching requests pass first.
    """

    provider: str
    path: str = "*"
    method: str | None = None
    kind: FaultKind = attrs.field(default=FaultKind.ANSWER, converter=FaultKind)
    status: int = 500
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: Any = None
    """A str or bytes is sent as it is, anything else as JSON; None is an empty body."""
    html: bool = False
    """Answer a gateway's HTML page instead of `body`."""
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    seconds: float = attrs.field(default=0.0, converter=_bounded)
    hits: int = attrs.field(default=0, init=False)

    def matches(self, provider: str, method: str, path: str) -> bool:
        """Whether the fault matches this request, regardless of probability and counters."""
        return self.provider == provider and self.method in (None, method) and fnmatchcase(path, self.path)

    def to_response(self) -> Response:
        """The response that replaces the world's."""
        if self.html:
            title = f"{self.status} {HTTPStatus(self.status).phrase}"
            response = Response(HTML_BODY.format(title=title), self.status, mimetype="text/html")
        elif self.body is None or isinstance(self.body, str | bytes):
            response = Response(self.body or b"", self.status, mimetype="application/json")
        else:
            response = Response(json.dumps(self.body), self.status, mimetype="application/json")
        response.headers.update(dict(self.headers))
        return response


class FaultBook:
    """The active faults; each request asks for one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault after the existing ones; the first that matches a request is used."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self, provider: str | None = None) -> None:
        """Remove every fault, or those of one provider."""
        with self._lock:
            self._faults = [fault for fault in self._faults if provider not in (None, fault.provider)]

    def active(self) -> tuple[Fault, ...]:
        """The faults that may still apply."""
        with self._lock:
            return tuple(self._faults)

    def take(self, provider: str, method: str, path: str) -> Fault | None:
        """The fault for this request, counted down, or None."""
        with self._lock:
            for fault in self._faults:
                if not fault.matches(provider, method, path):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.probability < 1 and self._rng.random() >= fault.probability:
                    continue
                fault.hits += 1
                if fault.times is not None and fault.hits >= fault.times:
                    self._faults.remove(fault)
                return fault
        return None


class FaultMiddleware:
    """WSGI middleware: lets a request through, or applies a fault; reports every outcome to `record`."""

    def __init__(
        self,
        app: WSGIApplication,
        faults: FaultBook,
        clock: SandboxClock,
        record: Callable[[str, Request, str, int], None],
    ) -> None:
        self._app = app
        self._faults = faults
        self._clock = clock
        self._record = record

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        request = Request(environ)
        provider, _, rest = request.path.lstrip("/").partition("/")
        path = f"/{rest}"
        fault = self._faults.take(provider, request.method, path)
        if fault is None:

            def start(status: str, *answer: Any) -> Any:
                self._record(provider, request, path, int(status.split(maxsplit=1)[0]))
                return start_response(status, *answer)

            return self._app(environ, start)
        if fault.kind is FaultKind.RESET:
            self._record(provider, request, path, 0)
            reset_connection(environ)
        if fault.kind is FaultKind.DELAY:
            self._clock.sleep(timedelta(seconds=fault.seconds))
        if fault.kind is FaultKind.ANSWER:
            response = fault.to_response()
        else:
            response = Response.from_app(self._app, environ, buffered=True)
        if fault.kind is FaultKind.LOST_ANSWER:
            self._record(provider, request, path, 0)
            reset_connection(environ)
        self._record(provider, request, path, response.status_code)
        return _apply(response, fault, self._clock)(environ, start_response)


def _apply(response: Response, fault: Fault, clock: SandboxClock) -> Response:
    """The response after the fault."""
    match fault.kind:
        case FaultKind.TRUNCATED:
            body = response.get_data()
            response.set_data(body[: len(body) // 2])
        case FaultKind.CUT:
            body = response.get_data()
            headers = response.headers.copy()
            headers["Content-Length"] = str(len(body))
            return Response(iter([body[: len(body) // 2]]), response.status_code, headers)
        case FaultKind.SLOW:
            return Response(_drip(response.get_data(), fault.seconds, clock), response.status_code, response.headers)
        case _:
            pass
    return response


def _drip(body: bytes, seconds: float, clock: SandboxClock) -> Iterator[bytes]:
    """The body in pieces, spread over `seconds`."""
    size = max(1, -(-len(body) // SLOW_BODY_CHUNKS))
    for start in range(0, len(body), size):
        clock.sleep(timedelta(seconds=seconds) / SLOW_BODY_CHUNKS)
        yield body[start : start + size]


def reset_connection(environ: WSGIEnvironment) -> None:
    """Close the client's socket with a TCP reset.

    Raises:
        ConnectionResetError: always; the server treats it as a dropped client, a test client raises it.
    """
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        # With a linger time of zero, close() sends RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Detached, because the server's own file objects would keep the descriptor open until after a regular FIN.
        os.close(connection.detach())
    msg = "the sandbox reset this connection on purpose"
    raise ConnectionResetError(msg)
