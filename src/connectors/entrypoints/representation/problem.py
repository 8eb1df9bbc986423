"""The form of every error response of the API (RFC 9457), and the table from errors to statuses."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any

import attrs
from msgspec import UNSET, Meta, UnsetType

from connectors.domain.model.errors import ConnectorsError, RateLimitedError, TooManyDeliveriesError

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
"""Seconds after which a caller may try again when our own database or vault has failed, or another call is at it."""

MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "NOT_FOUND": "There is nothing at this path.",
        "METHOD_NOT_ALLOWED": "This path does not take this method.",
        "PAYLOAD_TOO_LARGE": "The body is too large.",
        "UNSUPPORTED_MEDIA_TYPE": "The body's Content-Type is not application/json.",
        "VALIDATION_ERROR": "The request is malformed.",
        "INTERNAL_ERROR": "Something went wrong here; the trace id names it in our logs.",
    }
)
"""What happened, for codes that an answer can have without an error of ours."""


@attrs.frozen(kw_only=True, slots=False)
class Problem:
    """What went wrong (RFC 9457). Branch on `code`."""

    type: Annotated[str, Meta(description="A URN that ends in the code's name.")]
    title: Annotated[str, Meta(description="The code, in words.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What happened, and what can be done about it where we know.")]
    code: Annotated[str, Meta(description="Stable: clients branch on it.", examples=["VALIDATION_ERROR"])]
    message: Annotated[str, Meta(description="What happened.")]
    trace_id: Annotated[str, Meta(description="Names this request in our logs; also in `X-Trace-Id`.")]
    details: Annotated[Sequence[Mapping[str, Any]], Meta(description="One for each fault.")] | UnsetType = UNSET
    retry_after: Annotated[int, Meta(ge=0, description="Seconds; also in `Retry-After`.")] | UnsetType = UNSET


def make_problem(
    code: str,
    message: str,
    *,
    trace_id: str,
    status: int | None = None,
    next_step: str | None = None,
    details: Sequence[Mapping[str, Any]] = (),
    retry_after: int | None = None,
) -> Problem:
    """The problem, its type and title derived from its code.

    Args:
        code: stable, in capitals.
        message: what happened, without secrets.
        trace_id: of the request.
        status: of the HTTP response; None for the code's own.
        next_step: what the caller can do, if we know.
        details: one for each fault.
        retry_after: seconds until the caller may try again; None if we do not know.
    """
    return Problem(
        type=f"urn:poblysh:problem:{code.lower().replace('_', '-')}",
        title=code.replace("_", " ").capitalize(),
        status=STATUS[code].value if status is None else status,
        detail=message if next_step is None else f"{message} {next_step}",
        code=code,
        message=message,
        trace_id=trace_id,
        details=details or UNSET,
        retry_after=UNSET if retry_after is None else retry_after,
    )


def find_problem(error: Exception, *, now: datetime, trace_id: str) -> Problem | None:
    """The problem that answers the error; None for a bug, whose text may quote anything.

    Args:
        error: any.
        now: aware UTC instant; `retry_after` counts from it.
        trace_id: of the request.
    """
    if not isinstance(error, ConnectorsError) or error.code == "INTERNAL_ERROR":
        return None
    return make_problem(
        error.code,
        error.message,
        trace_id=trace_id,
        next_step=error.next_step,
        details=error.details,
        retry_after=_retry_after(error, now),
    )


def _retry_after(error: ConnectorsError, now: datetime) -> int | None:
    if isinstance(error, RateLimitedError):
        return max(0, math.ceil((error.retry_at - now).total_seconds()))
    if isinstance(error, TooManyDeliveriesError):
        return error.retry_after
    return OUTAGE_RETRY_AFTER if error.code == "SERVICE_UNAVAILABLE" else None
