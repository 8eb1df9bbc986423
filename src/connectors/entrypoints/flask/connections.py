"""A tenant's connections."""

from datetime import timedelta
from http import HTTPStatus

from connectors.adapters.system.operators import Permission
from connectors.domain.model.ids import ConnectionId
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation, path_id
from connectors.entrypoints.flask.request_models import ConnectionChanges, ConnectionsQuery
from connectors.entrypoints.representation.connections import (
    ConnectionList,
    ConnectionView,
    show_connection,
    show_details,
)
from connectors.entrypoints.representation.coverage import CoverageView, show_coverage


@operation(
    "GET",
    "/connections",
    tag="connections",
    summary="List connections",
    auth=Auth.TENANT,
    permission=Permission.READ,
    query=ConnectionsQuery,
    answers={HTTPStatus.OK: ConnectionList},
    errors=("PROVIDER_NOT_SUPPORTED",),
)
def list_connections(call: Call) -> Answer:
    """The tenant's connections of every status, newest first."""
    query: ConnectionsQuery = call.query
    connectors = call.service.connectors
    listing = connectors.queries.list_connections(
        call.tenant,
        provider=None if query.provider is None else connectors.queries.provider_to_list(call.tenant, query.provider),
        status=query.status,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Answer(
        ConnectionList(
            connections=[show_connection(connection) for connection in listing.items],
            next_cursor=listing.next_cursor,
            has_more=listing.has_more,
        )
    )


@operation(
    "GET",
    "/connections/{connection_id}",
    tag="connections",
    summary="Show a connection",
    auth=Auth.TENANT,
    permission=Permission.READ,
    answers={HTTPStatus.OK: ConnectionView},
)
def show_one_connection(call: Call) -> Answer:
    """One connection, with its webhook subscriptions, its next read, and its coverage in its health."""
    connection_id = ConnectionId(path_id(call, "connection_id"))
    return Answer(show_details(call.service.connectors.queries.inspect_connection(call.tenant, connection_id)))


@operation(
    "PATCH",
    "/connections/{connection_id}",
    tag="connections",
    summary="Change how often a connection is read",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    body=ConnectionChanges,
    answers={HTTPStatus.OK: ConnectionView},
    errors=("PROVIDER_NOT_SUPPORTED",),
)
def change_connection(call: Call) -> Answer:
    """The connection, its next read scheduled again: about an interval from now."""
    changes: ConnectionChanges = call.body
    connectors = call.service.connectors
    connection_id = ConnectionId(path_id(call, "connection_id"))
    seconds = changes.sync_interval_seconds
    interval = None if seconds is None else timedelta(seconds=seconds)
    connectors.connection_settings.set_sync_interval(call.tenant, connection_id, interval)
    return Answer(show_details(connectors.queries.inspect_connection(call.tenant, connection_id)))


@operation(
    "DELETE",
    "/connections/{connection_id}",
    tag="connections",
    summary="Disconnect an account",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.NO_CONTENT: None},
)
def disconnect(call: Call) -> Answer:
    """Unsubscribe, revoke the tokens at the provider, destroy them here. The signals stay; repeating is harmless."""
    call.service.connectors.disconnect.end_connection(call.tenant, ConnectionId(path_id(call, "connection_id")))
    return Answer(None, HTTPStatus.NO_CONTENT)


@operation(
    "POST",
    "/connections/{connection_id}/refresh",
    tag="connections",
    summary="Refresh a connection's tokens",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: ConnectionView},
    errors=(
        "PROVIDER_NOT_CONFIGURED",
        "PROVIDER_NOT_SUPPORTED",
        "REAUTHORIZATION_REQUIRED",
        "CONFLICT",
        "PROVIDER_ERROR",
        "PROVIDER_RATE_LIMITED",
    ),
)
def refresh_connection(call: Call) -> Answer:
    """The connection with its new expiry. Tokens that do not expire are checked with the provider instead."""
    connection = call.service.connectors.connect.refresh(call.tenant, ConnectionId(path_id(call, "connection_id")))
    return Answer(show_connection(connection))


@operation(
    "GET",
    "/connections/{connection_id}/coverage",
    tag="connections",
    summary="Show what is complete",
    auth=Auth.TENANT,
    permission=Permission.READ,
    answers={HTTPStatus.OK: CoverageView},
)
def show_connection_coverage(call: Call) -> Answer:
    """For each family of events, the stretches of time proven complete, by which path, and the gaps.

    A gap opens when a subscription lapses, when a delivery fails for good, or when the provider's log shows one that
    never came. It closes when a read has covered it.
    """
    connection_id = ConnectionId(path_id(call, "connection_id"))
    families = call.service.connectors.coverage.show(call.tenant, connection_id)
    return Answer(show_coverage(connection_id, families))


OPERATIONS = (
    list_connections,
    show_one_connection,
    change_connection,
    disconnect,
    refresh_connection,
    show_connection_coverage,
)
