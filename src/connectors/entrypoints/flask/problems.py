"""Errors to HTTP answers. Every error is a problem document (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from flask import Flask, Response, request
from msgspec import UNSET
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from connectors.domain.model.errors import DeliveryRejectedError, InfrastructureError, UnauthorizedError
from connectors.entrypoints.flask.responses import json_response
from connectors.entrypoints.flask.tracing import current_trace_id
from connectors.entrypoints.representation.problem import (
    CONTENT_TYPE,
    MESSAGES,
    Problem,
    find_problem,
    make_problem,
)
from connectors.ports.clock import Clock

_CODES_OF_FRAMEWORK: Mapping[int, str] = MappingProxyType(
    {
        HTTPStatus.NOT_FOUND: "NOT_FOUND",
        HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
    }
)
"""Codes of Flask's own errors; any other 4xx is a VALIDATION_ERROR."""

log = logging.getLogger(__name__)


def install(app: Flask, clock: Clock) -> None:
    """Answer every error of the app with a problem document."""

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException):
            return _answer_framework(error)
        problem = find_problem(error, now=clock.now(), trace_id=current_trace_id())
        if problem is None:
            log.error("request_crashed", exc_info=error)
            return _respond(make_problem("INTERNAL_ERROR", MESSAGES["INTERNAL_ERROR"], trace_id=current_trace_id()))
        if isinstance(error, InfrastructureError):
            log.error("infrastructure_failed", extra={"reason": error.message}, exc_info=error)
        response = _respond(problem)
        if isinstance(error, UnauthorizedError):
            # RFC 6750 §3.1: no error code when no token was presented.
            presented = "Authorization" in request.headers
            response.headers["WWW-Authenticate"] = 'Bearer realm="connectors"' + (
                ', error="invalid_token"' if presented else ""
            )
        elif isinstance(error, DeliveryRejectedError):
            response.headers["WWW-Authenticate"] = 'Signature realm="webhooks"'
        return response


def _answer_framework(error: HTTPException) -> Response | HTTPException:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status < HTTPStatus.BAD_REQUEST:
        return error
    code = _CODES_OF_FRAMEWORK.get(
        status, "VALIDATION_ERROR" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "INTERNAL_ERROR"
    )
    response = _respond(make_problem(code, MESSAGES[code], trace_id=current_trace_id(), status=status.value))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _respond(problem: Problem) -> Response:
    response = json_response(problem, problem.status, CONTENT_TYPE)
    if problem.retry_after is not UNSET:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response
