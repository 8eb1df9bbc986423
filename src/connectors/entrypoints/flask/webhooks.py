"""Where providers deliver webhooks: the raw bytes are stored before the answer is sent."""

from http import HTTPStatus
from urllib.parse import quote

from flask import Response, request

from connectors.adapters.system.operators import Permission
from connectors.domain.flows.webhooks.verification import Trust
from connectors.domain.model.errors import ForbiddenError
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.webhook import WebhookRequest
from connectors.entrypoints.flask.dispatch import find_operator, read_tenant
from connectors.entrypoints.flask.operations import Auth, Call, operation
from connectors.entrypoints.flask.request_parsing import read_whole_body
from connectors.entrypoints.flask.responses import json_response
from connectors.entrypoints.representation.deliveries import AcceptedView

ANSWERS = {HTTPStatus.ACCEPTED: AcceptedView, HTTPStatus.OK: bytes}
ERRORS = (
    "INVALID_SIGNATURE",
    "PAYLOAD_TOO_LARGE",
    "RATE_LIMITED",
    "SERVICE_UNAVAILABLE",
    "NOT_FOUND",
    "VALIDATION_ERROR",
)


@operation(
    "POST",
    "/webhooks/{provider}",
    tag="webhooks",
    summary="Deliver to the app's URL",
    auth=Auth.SENDER,
    query=None,
    answers=ANSWERS,
    errors=(*ERRORS, "FORBIDDEN", "TENANT_HEADER_REQUIRED", "TENANT_NOT_FOUND"),
)
def receive_app_delivery(call: Call) -> Response:
    """For vendors that have one URL per app, and for trusted relays.

    A relay sends an operator token with the permission `write`, and `X-Tenant-Id`; the provider's signature is not
    checked then. Any other bearer token is the vendor's own (Jira and Google sign with a JWT there).
    """
    operator = find_operator(call.service)
    if operator is None:
        return _receive(call, None, Trust.NONE)
    if not operator.may(Permission.WRITE):
        raise ForbiddenError(f"This needs the permission {Permission.WRITE}.")
    return _receive(call, read_tenant(operator), Trust.OPERATOR)


@operation(
    "POST",
    "/webhooks/{provider}/{tenant_id}",
    tag="webhooks",
    summary="Deliver to a tenant's URL",
    auth=Auth.SENDER,
    query=None,
    answers=ANSWERS,
    errors=ERRORS,
)
def receive_tenant_delivery(call: Call) -> Response:
    """For vendors that take a URL per subscription. Only the provider's signature counts; an unknown tenant is 404."""
    return _receive(call, TenantId(call.path["tenant_id"]), Trust.NONE)


@operation(
    "POST",
    "/webhooks/{provider}/{tenant_id}/{connection_id}",
    tag="webhooks",
    summary="Deliver to a connection's URL",
    auth=Auth.SENDER,
    query=None,
    answers=ANSWERS,
    errors=ERRORS,
)
def receive_connection_delivery(call: Call) -> Response:
    """For vendors whose deliveries do not say whose account they are about."""
    return _receive(call, TenantId(call.path["tenant_id"]), Trust.NONE)


def _receive(call: Call, tenant_id: TenantId | None, trust: Trust) -> Response:
    connectors = call.service.connectors
    # Looked up before counting: an unknown slug must not create a counter.
    slug = connectors.providers.get(call.path["provider"]).slug
    call.service.limiter.count(slug, "app" if tenant_id is None else str(tenant_id))
    connection_id = call.path.get("connection_id")
    acceptance = connectors.ingest.accept_delivery(
        WebhookRequest(
            provider=slug,
            tenant_id=tenant_id,
            connection_id=None if connection_id is None else ConnectionId(connection_id),
            method=request.method,
            url=_own_url(connectors.public_url),
            headers=dict(request.headers),
            body=read_whole_body(call.service.settings.max_body_bytes),
            received_at=connectors.clock.now(),
        ),
        trust=trust,
    )
    if acceptance.reply is not None:
        reply = acceptance.reply
        return Response(reply.body, status=reply.status, content_type=reply.content_type)
    return json_response(AcceptedView(), acceptance.success_status)


def _own_url(public_url: str | None) -> str:
    """The URL that the provider was given. Behind a proxy, the request's own host is a different one."""
    query = request.query_string.decode("latin-1")
    base = request.host_url if public_url is None else public_url
    return f"{base.rstrip('/')}{quote(request.path)}" + (f"?{query}" if query else "")


OPERATIONS = (receive_app_delivery, receive_tenant_delivery, receive_connection_delivery)
