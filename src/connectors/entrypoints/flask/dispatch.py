"""From a request to a checked call and back, by the same steps in the same order for every operation.

1. The caller: token, then permission.
2. The tenant: header, then whether the caller may act for it, then whether it exists.
3. The path, the query, the operation's own headers, the body.
4. The handler.
"""

from collections.abc import Mapping
from typing import Any

from flask import Response, request
from structlog.contextvars import bind_contextvars
from werkzeug.exceptions import UnsupportedMediaType

from connectors.adapters.system.operators import Operator
from connectors.domain.model.errors import (
    ForbiddenError,
    RequestRejectedError,
    TenantNotFoundError,
    UnauthorizedError,
)
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.entrypoints.flask.operations import Auth, Call, Operation
from connectors.entrypoints.flask.request_models import NoQuery
from connectors.entrypoints.flask.request_parsing import (
    parameter_names,
    read_body,
    read_headers,
    read_parameters,
    read_query,
    read_whole_body,
)
from connectors.entrypoints.flask.responses import json_response
from connectors.entrypoints.flask.service import Service
from connectors.entrypoints.representation.encoding import JSON
from connectors.entrypoints.request_ids import TENANT_HEADER, read_path, read_tenant_header


def serve(service: Service, operation: Operation, path: Mapping[str, str]) -> Response:
    """The operation's answer to the current request.

    Raises:
        ConnectorsError: any error; `problems` answers it.
    """
    operator = authorize(service, operation) if operation.auth in {Auth.OPERATOR, Auth.TENANT} else None
    tenant_id = read_tenant(operator) if operation.auth is Auth.TENANT and operator is not None else None
    if tenant_id is not None:
        bind_contextvars(tenant_id=str(tenant_id))
    try:
        answer = operation.handler(_call(service, operation, path, operator, tenant_id))
    except RequestRejectedError:
        if tenant_id is not None and not operation.creates_tenant:
            # An unknown tenant gets 404 instead of the fault. Checked here, it costs good requests nothing.
            service.connectors.tenants.get(tenant_id)
        raise
    if isinstance(answer, Response):
        return answer
    if answer.view is None:
        return Response(status=answer.status)
    return json_response(answer.view, answer.status)


def _call(
    service: Service,
    operation: Operation,
    path: Mapping[str, str],
    operator: Operator | None,
    tenant_id: TenantId | None,
) -> Call:
    values = read_path(path)
    if operator is not None and "tenant_id" in values:
        check_tenant(operator, values["tenant_id"])
    return Call(
        service=service,
        path=values,
        operator=operator,
        tenant_id=tenant_id,
        query=_read_query(operation),
        headers=read_headers(request.headers.get, operation.headers),
        body=_read_body(operation.body, service.settings.max_body_bytes) if operation.body is not None else None,
    )


# --- who -----------------------------------------------------------------------------------------------------------


def find_operator(service: Service) -> Operator | None:
    """The operator whose bearer token the request has; None without a token, or with one that is not ours."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return service.operators.authenticate(token.strip())


def authorize(service: Service, operation: Operation) -> Operator:
    """The operator who sent the request.

    Raises:
        UnauthorizedError: no operator token, or one that is not ours.
        ForbiddenError: the operator lacks the permission.
    """
    operator = find_operator(service)
    if operator is None:
        raise UnauthorizedError(
            "The operator token is missing or not valid.", next_step="Send it as Authorization: Bearer <token>."
        )
    if operation.permission is not None and not operator.may(operation.permission):
        raise ForbiddenError(f"This needs the permission {operation.permission}.")
    return operator


def read_tenant(operator: Operator) -> TenantId:
    """The tenant that the request is for.

    Raises:
        TenantHeaderRequiredError: the header is missing or empty.
        TenantNotFoundError: it is not a UUID, or the nil UUID.
        ForbiddenError: the operator may not act for that tenant.
    """
    tenant_id = read_tenant_header(request.headers.get(TENANT_HEADER, ""))
    check_tenant(operator, tenant_id)
    return tenant_id


def check_tenant(operator: Operator, tenant_id: TenantId) -> None:
    """Check that the operator may act for the tenant.

    Raises:
        TenantNotFoundError: it is the nil UUID, which is no tenant.
        ForbiddenError: the operator may not.
    """
    if tenant_id == UNROUTED:
        raise TenantNotFoundError("The nil UUID is not a tenant.")
    if not operator.may_act_for(tenant_id):
        raise ForbiddenError("This token may not act for this tenant.")


# --- what ----------------------------------------------------------------------------------------------------------


def _read_query(operation: Operation) -> Any:
    if operation.query is None:
        return NoQuery()
    if not operation.open_query:
        return read_query(request.query_string, operation.query)
    known = parameter_names(operation.query)
    parameters = read_parameters(request.query_string)
    return operation.query(**{name: parameters[name] for name in known if name in parameters})


def _read_body(kind: type, limit: int) -> Any:
    body = read_whole_body(limit)
    if body and request.mimetype != JSON:
        raise UnsupportedMediaType
    return read_body(body, kind)
