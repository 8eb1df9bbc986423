"""Connecting accounts: the start and the callback of the OAuth flow."""

from http import HTTPStatus
from typing import Any

import attrs
from flask import request

from connectors.adapters.system.operators import Permission
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation
from connectors.entrypoints.flask.request_models import CallbackQuery, ConnectBody
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
    errors=("PROVIDER_NOT_CONFIGURED",),
    creates_tenant=True,
)
def start_authorization(call: Call) -> Answer:
    """Where to send the user for their consent. An unknown tenant is created; the body is optional."""
    body: ConnectBody = call.body
    start = call.service.connectors.connect.start_authorization(
        call.tenant,
        call.path["provider"],
        redirect_uri=body.redirect_uri,
        scopes=body.scopes,
        options=_options(body),
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

    The `state` names the tenant, so no tenant header is needed. It works once.
    """
    assert call.operator is not None  # noqa: S101 - dispatch has checked it
    connections = call.service.connectors.connect.complete_authorization(
        call.path["provider"], read_parameters(request.query_string), may_act_for=call.operator.may_act_for
    )
    views = [show_connection(connection) for connection in connections]
    return Answer(ConnectedView(connection=views[0], connections=views))


OPERATIONS = (start_authorization, complete_authorization)
