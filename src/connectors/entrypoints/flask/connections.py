"""A tenant's connections."""

from datetime import timedelta
from http import HTTPStatus

from connectors.adapters.system.operators import Permission
from connectors.domain.model.ids import ConnectionId
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation, path_id
from connectors.entrypoints.flask.request_models import ConnectionChanges, ConnectionsQuery, StreamsQuery
from connectors.entrypoints.representation.connections import (
    ConnectionList,
    ConnectionView,
    WebhookUrlView,
    show_connection,
    show_details,
)
from connectors.entrypoints.representation.coverage import CoverageView, show_coverage
from connectors.entrypoints.representation.streams import StreamList, StreamView, show_stream, show_streams


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
    """Unsubscribe, revoke the tokens at the provider, destroy them here. The signals stay; repeating is harmless.

    What the provider refuses for now is tried again in the background: the connection shows it as `ending`, and what
    could not be ended as `left_behind`.
    """
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
    "POST",
    "/connections/{connection_id}/webhook-url",
    tag="connections",
    summary="Show the URL to enter at the provider",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: WebhookUrlView},
    errors=("CONFLICT", "PROVIDER_NOT_SUPPORTED"),
)
def show_webhook_url(call: Call) -> Answer:
    """Where a webhook that a person sets up for this connection delivers (Zoho Mail, Zoho Cliq).

    It is made the first time, and then stays. Its last part is a secret: whoever has it can announce Zoho Mail's
    secret.
    """
    connection_id = ConnectionId(path_id(call, "connection_id"))
    return Answer(WebhookUrlView(url=call.service.connectors.webhook_secrets.url(call.tenant, connection_id)))


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

    A gap opens when something cannot be read, when the provider does not show it any more, when a subscription lapses,
    when a delivery fails for good, or when the provider's log shows one that never came. It closes when it has been
    read, or when a person dismisses it. `pending` is what will be read without anybody's help.
    """
    connection_id = ConnectionId(path_id(call, "connection_id"))
    families = call.service.connectors.coverage.show(call.tenant, connection_id)
    return Answer(show_coverage(connection_id, families))


@operation(
    "GET",
    "/connections/{connection_id}/streams",
    tag="connections",
    summary="List what a connection reads",
    auth=Auth.TENANT,
    permission=Permission.READ,
    query=StreamsQuery,
    answers={HTTPStatus.OK: StreamList},
)
def list_streams(call: Call) -> Answer:
    """The parts of the account that are read, and can be refused, each by itself, by key; and how finding them stands.

    A stream that cannot be read is tried again by itself, after 30 seconds, later after up to an hour.
    """
    query: StreamsQuery = call.query
    listing = call.service.connectors.streams.list_page(
        call.tenant,
        ConnectionId(path_id(call, "connection_id")),
        status=query.status,
        family=query.family,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Answer(show_streams(listing))


@operation(
    "POST",
    "/connections/{connection_id}/streams/{stream_key}/retry",
    tag="connections",
    summary="Read a stream now",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: StreamView},
    errors=("CONFLICT", "PROVIDER_NOT_SUPPORTED"),
)
def retry_stream(call: Call) -> Answer:
    """The stream. A worker reads it and its parked items within a minute if it can; this call does not wait.

    It does not shorten a pause that the provider wants.
    """
    connection_id = ConnectionId(path_id(call, "connection_id"))
    return Answer(
        show_stream(call.service.connectors.streams.retry(call.tenant, connection_id, call.path["stream_key"]))
    )


@operation(
    "POST",
    "/connections/{connection_id}/streams/{stream_key}/dismiss",
    tag="connections",
    summary="Give up what could not be read of a stream",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: StreamView},
)
def dismiss_stream(call: Call) -> Answer:
    """The stream. Its gaps and parked items are closed, and the coverage does without it while it cannot be read.

    The stream is still tried, and counts again once it can be read; its history that was given up stays unproven.
    """
    connection_id = ConnectionId(path_id(call, "connection_id"))
    return Answer(
        show_stream(call.service.connectors.streams.dismiss(call.tenant, connection_id, call.path["stream_key"]))
    )


OPERATIONS = (
    list_connections,
    show_one_connection,
    change_connection,
    disconnect,
    refresh_connection,
    show_webhook_url,
    show_connection_coverage,
    list_streams,
    retry_stream,
    dismiss_stream,
)
