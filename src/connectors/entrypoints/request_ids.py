"""The ids in a request's path and in its tenant header."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs

from connectors.domain.model.errors import (
    ConnectionNotFoundError,
    NotFoundError,
    RequestRejectedError,
    TenantHeaderRequiredError,
    TenantNotFoundError,
)
from connectors.domain.model.ids import TenantId

TENANT_HEADER = "X-Tenant-Id"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class InputError(ValueError):
    """One value is wrong. The message may be shown to the caller."""


@attrs.frozen
class PathParameter:
    """A variable part of the path."""

    description: str
    missing: type[RequestRejectedError] | None
    """The error for an unknown one, and for a malformed UUID. None: the handler's own."""
    message: str = ""
    is_text: bool = False
    """Whether it is a text instead of a UUID."""
    has_slashes: bool = False
    """Whether the text may hold slashes."""


PATH_PARAMETERS: Mapping[str, PathParameter] = {
    "provider": PathParameter("The provider's slug.", None, is_text=True),
    "tenant_id": PathParameter("The tenant.", TenantNotFoundError, "There is no such tenant."),
    "connection_id": PathParameter("The connection.", ConnectionNotFoundError, "There is no such connection."),
    "url_key": PathParameter("The key of the connection's URL.", None, is_text=True),
    "signal_id": PathParameter("The signal.", NotFoundError, "There is no such signal."),
    "job_id": PathParameter("The job.", NotFoundError, "There is no such job."),
    "stream_key": PathParameter(
        "The stream's `key`, percent-encoded; `discovery` for the discovery of streams.",
        NotFoundError,
        is_text=True,
        has_slashes=True,
    ),
    "delivery_id": PathParameter("Our id of the delivery.", NotFoundError, "There is no such delivery."),
}
"""Every name of a path parameter; it means the same in all paths."""


def read_uuid(text: Any) -> UUID:
    """The UUID in its canonical form of 36 characters, in any case; no braces, URNs or bare hex.

    Raises:
        InputError: anything else.
    """
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise InputError("is not a UUID")
    return UUID(text)


def read_path(path: Mapping[str, str]) -> dict[str, Any]:
    """The path's parameters by name: UUIDs, except those that are texts.

    Raises:
        RequestRejectedError: one is not a UUID; the class is the parameter's `missing`.
    """
    values: dict[str, Any] = {}
    for name, text in path.items():
        parameter = PATH_PARAMETERS[name]
        if parameter.is_text or parameter.missing is None:
            values[name] = text
            continue
        try:
            values[name] = read_uuid(text)
        except InputError:
            raise parameter.missing(parameter.message) from None
    return values


def read_tenant_header(value: str) -> TenantId:
    """The tenant that the value of `X-Tenant-Id` names; it may be unknown here.

    Raises:
        TenantHeaderRequiredError: it is empty.
        TenantNotFoundError: it is not a UUID.
    """
    text = value.strip()
    if not text:
        raise TenantHeaderRequiredError(f"The header {TENANT_HEADER} is missing.")
    try:
        return TenantId(read_uuid(text))
    except InputError:
        raise TenantNotFoundError("There is no such tenant.", next_step=f"{TENANT_HEADER} is not a UUID.") from None
