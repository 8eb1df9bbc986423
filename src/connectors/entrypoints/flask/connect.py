"""Connecting accounts: the start and the callback of the OAuth flow."""

from http import HTTPStatus
from typing import Any

import attrs
from flask import request

from connectors.adapters.system.operators import Permission
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation
from connectors.entrypoints.flask.request_models import CallbackHeaders, CallbackQuery, ConnectBody
from connectors.entrypoints.flask.request_parsing import read_parameters
from connectors.entrypoints.representation.connections import AuthorizationStartView, ConnectedView, show_connection


@operation(
    "POST",
    "/connect/{provider}",
    tag="connect",
    summary="Start connecting an account",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    body=ConnectBody,
    answers={HTTPStatus.OK: AuthorizationStartView},
    errors=("PROVIDER_NOT_CONFIGURED", "CONNECTION_NOT_FOUND", "CONFLICT"),
    creates_tenant=True,
)
def start_authorization(call: Call) -> Answer:
    """Where to send the user for their consent. An unknown tenant is created; the body is optional.

    With `connection_id`, the consent must be of that connection's account; of another one it changes nothing.
    """
    body: ConnectBody = call.body
    start = call.service.connectors.connect.start_authorization(
        call.tenant,
        call.path["provider"],
        redirect_uri=body.redirect_uri,
        scopes=body.scopes,
        options=_options(body),
        connection_id=None if body.connection_id is None else ConnectionId(body.connection_id),
    )
    return Answer(AuthorizationStartView(authorize_url=start.authorize_url, state_expires_at=start.state_expires_at))


def _options(body: ConnectBody) -> dict[str, Any]:
    if body.options is None:
        return {}
    return attrs.asdict(body.options, filter=lambda _, value: value is not None)


@operation(
    "GET",
    "/connect/{provider}/callback",
    tag="connect",
    summary="Finish connecting an account",
    auth=Auth.OPERATOR,
    permission=Permission.WRITE,
    query=CallbackQuery,
    open_query=True,
    headers=CallbackHeaders,
    allows_head=False,
    answers={HTTPStatus.OK: ConnectedView},
    errors=(
        "OAUTH_STATE_INVALID",
        "OAUTH_DENIED",
        "PROVIDER_NOT_CONFIGURED",
        "REAUTHORIZATION_REQUIRED",
        "CONFLICT",
        "PROVIDER_ERROR",
        "PROVIDER_RATE_LIMITED",
    ),
)
def complete_authorization(call: Call) -> Answer:
    """The connection that the consent gave. Pass on every parameter of the provider's redirect, unchanged.

    The `state` names the tenant, so no tenant header is needed. The same call again, while the `state` is valid, gets
    the same answer, and the provider is not asked again: the connections as they are then, or the same error. While the
    first call is still at work, it waits for up to ten seconds, then it is a `SERVICE_UNAVAILABLE`.
    """
    assert call.operator is not None  # noqa: S101 - dispatch has checked it
    tenant_id = call.headers.x_tenant_id
    connections = call.service.connectors.connect.complete_authorization(
        call.path["provider"],
        read_parameters(request.query_string),
        tenant_id=None if tenant_id is None else TenantId(tenant_id),
        may_act_for=call.operator.may_act_for,
    )
    views = [show_connection(connection) for connection in connections]
    return Answer(ConnectedView(connection=views[0], connections=views))


OPERATIONS = (start_authorization, complete_authorization)
