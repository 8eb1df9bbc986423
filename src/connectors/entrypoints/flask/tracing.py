"""A trace id for each request: in its log lines, its problem document and its `X-Trace-Id` header."""

import logging
import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

from connectors.domain.model.trace import TRACE_ID

TRACE_HEADER = "X-Trace-Id"

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

log = logging.getLogger(__name__)


def read_trace_id(traceparent: str | None) -> str | None:
    """The caller's trace id, 32 hex digits, or None if the header is missing or malformed.

    Source: W3C Trace Context §3.2 (all-zero ids and version `ff` are invalid; later versions may append fields).
    """
    match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent.strip())
    return None if match is None else match[1]


def current_trace_id() -> str:
    """The current request's trace id."""
    # A request that could not be opened has none yet.
    trace_id: str = g.setdefault("trace_id", uuid.uuid4().hex)
    return trace_id


def install(app: Flask) -> None:
    """Give every request a trace id and log one line for it."""

    @app.before_request
    def begin() -> None:
        g.trace_id = read_trace_id(request.headers.get("traceparent")) or uuid.uuid4().hex
        g.started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=g.trace_id)
        TRACE_ID.set(g.trace_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[TRACE_HEADER] = current_trace_id()
        started = g.get("started")
        # The route, never the URL: a query may hold an authorization code.
        rule = None if request.url_rule is None else request.url_rule.rule
        log.info(
            "http_request",
            extra={
                "http_method": request.method,
                "route": rule,
                "http_status": response.status_code,
                "milliseconds": None if started is None else round((time.perf_counter() - started) * 1000, 1),
            },
        )
        return response

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        structlog.contextvars.clear_contextvars()
        TRACE_ID.set(None)
