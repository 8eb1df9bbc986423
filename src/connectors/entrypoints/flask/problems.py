"""The table from errors to HTTP answers. Every error is a problem document (RFC 9457)."""

import logging
import math
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from connectors.domain.model.errors import (
    ConnectorsError,
    DeliveryRejectedError,
    InfrastructureError,
    RateLimitedError,
    RequestRejectedError,
    UnauthorizedError,
)
from connectors.entrypoints.flask.responses import json_response
from connectors.entrypoints.flask.tracing import current_trace_id
from connectors.entrypoints.representation.problem import make_problem
from connectors.ports.clock import Clock

CONTENT_TYPE = "application/problem+json"

STATUS: Mapping[str, HTTPStatus] = MappingProxyType(
    {
        "VALIDATION_ERROR": HTTPStatus.BAD_REQUEST,
        "TENANT_HEADER_REQUIRED": HTTPStatus.BAD_REQUEST,
        "OAUTH_STATE_INVALID": HTTPStatus.BAD_REQUEST,
        "OAUTH_DENIED": HTTPStatus.BAD_REQUEST,
        "UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
        "INVALID_SIGNATURE": HTTPStatus.UNAUTHORIZED,
        "FORBIDDEN": HTTPStatus.FORBIDDEN,
        "TENANT_NOT_FOUND": HTTPStatus.NOT_FOUND,
        "CONNECTION_NOT_FOUND": HTTPStatus.NOT_FOUND,
        "PROVIDER_NOT_SUPPORTED": HTTPStatus.NOT_FOUND,
        "NOT_FOUND": HTTPStatus.NOT_FOUND,
        "METHOD_NOT_ALLOWED": HTTPStatus.METHOD_NOT_ALLOWED,
        "CONFLICT": HTTPStatus.CONFLICT,
        # The user or an operator has to change something first, so the retry that a 5xx invites would not help.
        "REAUTHORIZATION_REQUIRED": HTTPStatus.CONFLICT,
        "PROVIDER_NOT_CONFIGURED": HTTPStatus.CONFLICT,
        "PAYLOAD_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "RATE_LIMITED": HTTPStatus.TOO_MANY_REQUESTS,
        "PROVIDER_ERROR": HTTPStatus.BAD_GATEWAY,
        # Not 429: our caller has not sent too many requests.
        "PROVIDER_RATE_LIMITED": HTTPStatus.SERVICE_UNAVAILABLE,
        "SERVICE_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
        "INTERNAL_ERROR": HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
"""Every error code and its status."""

OUTAGE_RETRY_AFTER = 5
"""Seconds after which a caller may try again when our own database or vault has failed."""

_CODES_OF_FRAMEWORK: Mapping[int, str] = MappingProxyType(
    {
        HTTPStatus.NOT_FOUND: "NOT_FOUND",
        HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
    }
)
"""Codes of Flask's own errors; any other 4xx is a VALIDATION_ERROR."""

_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "NOT_FOUND": "There is nothing at this path.",
        "METHOD_NOT_ALLOWED": "This path does not take this method.",
        "PAYLOAD_TOO_LARGE": "The body is too large.",
        "UNSUPPORTED_MEDIA_TYPE": "The body's Content-Type is not application/json.",
        "VALIDATION_ERROR": "The request is malformed.",
        "INTERNAL_ERROR": "Something went wrong here; the trace id names it in our logs.",
    }
)

log = logging.getLogger(__name__)


class TooManyDeliveriesError(RequestRejectedError):
    """A webhook URL was called more often than its rate limit allows."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds."""


def install(app: Flask, clock: Clock) -> None:
    """Answer every error of the app with a problem document."""

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException):
            return _answer_framework(error)
        if isinstance(error, ConnectorsError) and error.code != "INTERNAL_ERROR":
            return _answer_ours(error, clock.now())
        log.error("request_crashed", exc_info=error)
        return _problem("INTERNAL_ERROR", _MESSAGES["INTERNAL_ERROR"])


def _answer_ours(error: ConnectorsError, now: datetime) -> Response:
    if isinstance(error, InfrastructureError):
        log.error("infrastructure_failed", extra={"reason": error.message}, exc_info=error)
    response = _problem(
        error.code, error.message, error=error, retry_after=_retry_after(error, now), status=STATUS[error.code]
    )
    if isinstance(error, UnauthorizedError):
        # RFC 6750 §3.1: no error code when no token was presented.
        presented = "Authorization" in request.headers
        response.headers["WWW-Authenticate"] = 'Bearer realm="connectors"' + (
            ', error="invalid_token"' if presented else ""
        )
    elif isinstance(error, DeliveryRejectedError):
        response.headers["WWW-Authenticate"] = 'Signature realm="webhooks"'
    return response


def _retry_after(error: ConnectorsError, now: datetime) -> int | None:
    if isinstance(error, RateLimitedError):
        return max(0, math.ceil((error.retry_at - now).total_seconds()))
    if isinstance(error, TooManyDeliveriesError):
        return error.retry_after
    return OUTAGE_RETRY_AFTER if isinstance(error, InfrastructureError) else None


def _answer_framework(error: HTTPException) -> Response | HTTPException:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status < HTTPStatus.BAD_REQUEST:
        return error
    code = _CODES_OF_FRAMEWORK.get(
        status, "VALIDATION_ERROR" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "INTERNAL_ERROR"
    )
    response = _problem(code, _MESSAGES[code], status=status)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _problem(
    code: str,
    message: str,
    *,
    error: ConnectorsError | None = None,
    retry_after: int | None = None,
    status: HTTPStatus | None = None,
) -> Response:
    status = STATUS[code] if status is None else status
    problem = make_problem(
        code,
        message,
        status=status.value,
        trace_id=current_trace_id(),
        next_step=None if error is None else error.next_step,
        details=() if error is None else error.details,
        retry_after=retry_after,
    )
    response = json_response(problem, status, CONTENT_TYPE)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response
