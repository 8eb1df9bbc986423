"""Where providers deliver webhooks: the raw bytes are stored before the answer is sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from connectors.adapters.system.operators import Permission
from connectors.domain.flows.webhooks.verification import Trust
from connectors.domain.model.errors import ForbiddenError, RequestRejectedError, TooManyDeliveriesError
from connectors.entrypoints.flask.client_address import client_address
from connectors.entrypoints.flask.dispatch import find_operator, read_tenant
from connectors.entrypoints.flask.operations import Auth, Call, operation
from connectors.entrypoints.flask.request_parsing import read_whole_body
from connectors.entrypoints.representation.deliveries import AcceptedView
from connectors.entrypoints.webhook_endpoint import get_target, own_url, receive

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
        return _receive(call, call.path, Trust.NONE)
    if not operator.may(Permission.WRITE):
        raise ForbiddenError(f"This needs the permission {Permission.WRITE}.")
    return _receive(call, {**call.path, "tenant_id": read_tenant(operator)}, Trust.OPERATOR)


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
    return _receive(call, call.path, Trust.NONE)


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
    return _receive(call, call.path, Trust.NONE)


@operation(
    "POST",
    "/webhooks/{provider}/{tenant_id}/{connection_id}/{url_key}",
    tag="webhooks",
    summary="Deliver to a connection's URL with its key",
    auth=Auth.SENDER,
    query=None,
    answers=ANSWERS,
    errors=ERRORS,
)
def receive_keyed_delivery(call: Call) -> Response:
    """For webhooks that a person sets up: the key shows that the sender was given this connection's URL."""
    return _receive(call, call.path, Trust.NONE)


def _receive(call: Call, values: Mapping[str, Any], trust: Trust) -> Response:
    service, connectors = call.service, call.service.connectors
    target = get_target(connectors.providers, values)
    address = client_address(
        request.remote_addr,
        ",".join(request.headers.getlist("X-Forwarded-For")),
        service.settings.trusted_proxy_hops,
    )
    if trust is Trust.NONE:
        service.limiter.admit(address)
    try:
        answer = receive(
            connectors,
            target,
            method=request.method,
            # Behind a proxy, the request's own host is another one than the provider was given.
            url=own_url(
                request.host_url if connectors.public_url is None else connectors.public_url,
                request.path,
                request.query_string.decode("latin-1"),
            ),
            headers=dict(request.headers),
            body=read_whole_body(service.settings.max_body_bytes),
            trust=trust,
            admit=lambda tenants: service.limiter.count_verified(address, target.provider, tenants),
        )
    except TooManyDeliveriesError:
        raise  # it was verified
    except (RequestRejectedError, HTTPException):
        service.limiter.count_unverified(address)
        raise
    return Response(answer.body, status=answer.status, content_type=answer.content_type)


OPERATIONS = (receive_app_delivery, receive_tenant_delivery, receive_connection_delivery, receive_keyed_delivery)
