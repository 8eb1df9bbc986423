"""An operation of the API as a value, from which routes, checks and the OpenAPI document are derived."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, TypeAlias
from uuid import UUID

import attrs
from flask import Response

from connectors.adapters.system.operators import Operator, Permission
from connectors.domain.model.ids import TenantId
from connectors.entrypoints.flask.request_models import NoHeaders, NoQuery
from connectors.entrypoints.flask.service import Service
from connectors.entrypoints.request_ids import PATH_PARAMETERS


class Auth(Enum):
    """Who may call an operation."""

    PUBLIC = "public"
    OPERATOR = "operator"
    """With an operator token."""
    TENANT = "tenant"
    """With an operator token, for the tenant of `X-Tenant-Id`."""
    SENDER = "sender"
    """A webhook's sender: the flow verifies the delivery."""


@attrs.frozen(kw_only=True)
class Call:
    """One checked request, the argument of a handler."""

    service: Service
    path: Mapping[str, Any]
    """Path parameters: UUIDs, except those that are texts."""
    operator: Operator | None = None
    tenant_id: TenantId | None = None
    query: Any = None
    """An instance of the operation's query class."""
    headers: Any = None
    """An instance of the operation's header class."""
    body: Any = None
    """An instance of the operation's body class."""

    @property
    def tenant(self) -> TenantId:
        """The tenant of an operation with `Auth.TENANT`."""
        assert self.tenant_id is not None  # noqa: S101 - dispatch has checked it
        return self.tenant_id


@attrs.frozen
class Answer:
    """A view and its status."""

    view: Any
    """None for an answer without a body."""
    status: HTTPStatus = HTTPStatus.OK


Handler: TypeAlias = Callable[[Call], Answer | Response]


@attrs.frozen(kw_only=True)
class Operation:
    """One method on one path."""

    handler: Handler
    method: str
    path: str
    """With `{names}` of `PATH_PARAMETERS`."""
    tag: str
    summary: str
    auth: Auth
    permission: Permission | None
    query: type | None
    """None: the query is ignored."""
    open_query: bool
    """Whether unknown parameters are accepted."""
    headers: type
    """Its own headers: `idempotency_key` is `Idempotency-Key`. Others are ignored."""
    body: type | None
    answers: Mapping[HTTPStatus, Any]
    """The view class of each success; None for an empty body, `bytes` for a body that is not a view."""
    media_type: str
    errors: Sequence[str]
    """Error codes beyond those that the other members imply."""
    creates_tenant: bool
    """Whether an unknown tenant is created."""
    allows_head: bool
    """Whether HEAD is answered as GET is; not where GET changes something."""

    @property
    def id(self) -> str:
        """Its name in the OpenAPI document."""
        return self.handler.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    def codes(self) -> frozenset[str]:
        """Every error code that it can answer with."""
        codes = {"INTERNAL_ERROR", *self.errors}
        if self.query is not None or self.headers is not NoHeaders:
            codes |= {"VALIDATION_ERROR"}
        if self.body is not None:
            codes |= {"VALIDATION_ERROR", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
        if self.auth in {Auth.OPERATOR, Auth.TENANT}:
            codes |= {"UNAUTHORIZED", "FORBIDDEN", "SERVICE_UNAVAILABLE"}
        if self.auth is Auth.TENANT:
            codes |= {"TENANT_HEADER_REQUIRED", "TENANT_NOT_FOUND"}
        for name in self.parameters:
            missing = PATH_PARAMETERS[name].missing
            codes.add("PROVIDER_NOT_SUPPORTED" if missing is None else missing.code)
        return frozenset(codes)


def operation(
    method: str,
    path: str,
    *,
    tag: str,
    summary: str,
    answers: Mapping[HTTPStatus, Any],
    auth: Auth = Auth.PUBLIC,
    permission: Permission | None = None,
    query: type | None = NoQuery,
    open_query: bool = False,
    headers: type = NoHeaders,
    body: type | None = None,
    media_type: str = "application/json",
    errors: Sequence[str] = (),
    creates_tenant: bool = False,
    allows_head: bool = True,
) -> Callable[[Handler], Operation]:
    """Turn a handler into an operation. Its name becomes the operation's id, its docstring the description."""

    def decorate(handler: Handler) -> Operation:
        return Operation(
            handler=handler,
            method=method,
            path=path,
            tag=tag,
            summary=summary,
            auth=auth,
            permission=permission,
            query=query,
            open_query=open_query,
            headers=headers,
            body=body,
            answers=answers,
            media_type=media_type,
            errors=errors,
            creates_tenant=creates_tenant,
            allows_head=allows_head,
        )

    return decorate


def path_id(call: Call, name: str) -> UUID:
    """A path parameter that is a UUID."""
    value: UUID = call.path[name]
    return value
