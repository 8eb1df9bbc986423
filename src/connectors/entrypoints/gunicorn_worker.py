"""gunicorn's threaded worker; what it refuses is answered with a problem document, like every error of the API."""

import logging
import socket
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

from connectors.entrypoints.flask.tracing import TRACE_HEADER
from connectors.entrypoints.representation.encoding import encode
from connectors.entrypoints.representation.problem import CONTENT_TYPE, make_problem

log = logging.getLogger(__name__)


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn publishes no types
    """Serves the API, and answers malformed HTTP, which never reaches Flask, in the API's own form."""

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: BaseException) -> None:
        """Answer and log, without repeating anything of the request: it may hold a token or a code."""
        status, message = _refusal(exc)
        trace_id = uuid.uuid4().hex
        log.warning("request_refused", extra={"trace_id": trace_id, "reason": type(exc).__name__})
        try:
            client.sendall(_answer(status, message, trace_id))
        except OSError:
            log.debug("client_disconnected", extra={"trace_id": trace_id})


def _refusal(error: BaseException) -> tuple[HTTPStatus, str]:
    if isinstance(error, LimitRequestLine):
        return HTTPStatus.REQUEST_URI_TOO_LONG, "The URL is too long."
    if isinstance(error, LimitRequestHeaders):
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large, or too many."
    if isinstance(error, ParseException):
        return HTTPStatus.BAD_REQUEST, "This is not a well-formed HTTP request."
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; the trace id names it in our logs."


def _answer(status: HTTPStatus, message: str, trace_id: str) -> bytes:
    code = "VALIDATION_ERROR" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "INTERNAL_ERROR"
    body = encode(make_problem(code, message, status=status.value, trace_id=trace_id))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Connection: close\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"{TRACE_HEADER}: {trace_id}\r\n\r\n"
    )
    return head.encode("latin-1") + body
