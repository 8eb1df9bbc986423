"""The form of every error response of the API (RFC 9457)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import attrs
from msgspec import UNSET, Meta, UnsetType


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
    status: int,
    trace_id: str,
    next_step: str | None = None,
    details: Sequence[Mapping[str, Any]] = (),
    retry_after: int | None = None,
) -> Problem:
    """The problem, its type and title derived from its code.

    Args:
        code: stable, in capitals.
        message: what happened, without secrets.
        status: of the HTTP response.
        trace_id: of the request.
        next_step: what the caller can do, if we know.
        details: one for each fault.
        retry_after: seconds until the caller may try again; None if we do not know.
    """
    return Problem(
        type=f"urn:poblysh:problem:{code.lower().replace('_', '-')}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=message if next_step is None else f"{message} {next_step}",
        code=code,
        message=message,
        trace_id=trace_id,
        details=details or UNSET,
        retry_after=UNSET if retry_after is None else retry_after,
    )
