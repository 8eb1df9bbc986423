"""What the API takes: queries, headers and bodies, as classes that parsing and the OpenAPI document both use."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import attrs
from msgspec import Meta

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.idempotency import MAX_KEY_LENGTH
from connectors.domain.model.paging import DEFAULT_LIMIT, MAX_LIMIT
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import JobStatus, JobType, SyncMode
from connectors.domain.model.webhook import DeliveryStatus
from connectors.entrypoints.representation.connect_options import ConnectOptions, SyncInterval, Text, Texts

MAX_TARGET = 400
"""Characters of a calendar's or channel's id: ten times the longest of any vendor."""

MAX_KEY_CURSOR = 1100
"""Characters of a cursor that holds a stream's key: 200 characters of up to four bytes, in Base64."""

Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="Items on a page.")]
Cursor = Annotated[
    str,
    Meta(min_length=1, max_length=500, description="`next_cursor` of the previous page, with the same filters."),
]
ProviderFilter = Annotated[str, Meta(description="Only this provider.", examples=["github"])]
ConnectionFilter = Annotated[UUID, Meta(description="Only this connection.")]
Since = Annotated[
    datetime,
    Meta(tz=True, description="Backfill only: nothing older. RFC 3339; the range of the first backfill if left out."),
]
Until = Annotated[datetime, Meta(tz=True, description="Backfill only: nothing newer. RFC 3339; now if left out.")]
Mode = Annotated[SyncMode, Meta(description="New events since the last read, or history.")]


@attrs.frozen(kw_only=True)
class NoHeaders:
    """No headers of the operation's own."""


@attrs.frozen(kw_only=True)
class RepeatableHeaders:
    """Headers of an operation that may be repeated safely under one key."""

    idempotency_key: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_KEY_LENGTH,
                pattern="^[ -~]*$",
                description="Chosen by the caller. Within a day, the same request under the same key gets the same "
                "jobs; another request under that key is a `CONFLICT`.",
            ),
        ]
        | None
    ) = None


@attrs.frozen(kw_only=True)
class CallbackHeaders:
    """Headers of the callback."""

    x_tenant_id: Annotated[UUID, Meta(description="If given, the tenant whose `state` it must be.")] | None = None


@attrs.frozen(kw_only=True)
class NoQuery:
    """No query parameters."""


@attrs.frozen(kw_only=True)
class CallbackQuery:
    """The parameters of the authorization server's redirect. Other parameters are accepted."""

    code: Annotated[str, Meta(description="The authorization code.")] | None = None
    state: Annotated[str, Meta(description="The `state` of the authorization request.")] | None = None
    error: Annotated[str, Meta(description="Why there is no code (RFC 6749 §4.1.2.1).")] | None = None
    error_description: str | None = None


@attrs.frozen(kw_only=True)
class ConnectionsQuery:
    """Filters of `GET /connections`."""

    provider: ProviderFilter | None = None
    status: Annotated[ConnectionStatus, Meta(description="Only those in this status.")] | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


@attrs.frozen(kw_only=True)
class StreamsQuery:
    """Filters of `GET /connections/{connection_id}/streams`."""

    status: Annotated[StreamStatus, Meta(description="Only those in this status.")] | None = None
    family: (
        Annotated[
            str,
            Meta(min_length=1, max_length=200, description="Only those that this family of events needs."),
        ]
        | None
    ) = None
    limit: Limit = DEFAULT_LIMIT
    cursor: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_KEY_CURSOR,
                description="`next_cursor` of the previous page, with the same filters.",
            ),
        ]
        | None
    ) = None


@attrs.frozen(kw_only=True)
class SignalsQuery:
    """Filters of `GET /signals`."""

    provider: ProviderFilter | None = None
    connection_id: ConnectionFilter | None = None
    kind: Annotated[SignalKind, Meta(description="Only this kind.")] | None = None
    occurred_after: (
        Annotated[
            datetime,
            Meta(tz=True, description="Exclusive. RFC 3339 with its zone. In a URL a `+` is written `%2B`."),
        ]
        | None
    ) = None
    occurred_before: Annotated[datetime, Meta(tz=True, description="Exclusive. RFC 3339 with its zone.")] | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None
    include_payload: Annotated[bool, Meta(description="Whether to send the providers' own objects too.")] = False


@attrs.frozen(kw_only=True)
class DeliveriesQuery:
    """Filters of `GET /deliveries`."""

    provider: ProviderFilter | None = None
    connection_id: ConnectionFilter | None = None
    status: Annotated[DeliveryStatus, Meta(description="Only those in this status.")] | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


@attrs.frozen(kw_only=True)
class JobsQuery:
    """Filters of `GET /jobs`."""

    provider: ProviderFilter | None = None
    connection_id: ConnectionFilter | None = None
    type: Annotated[JobType, Meta(description="Only those of this type.")] | None = None
    status: Annotated[JobStatus, Meta(description="Only those in this status.")] | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


@attrs.frozen(kw_only=True)
class ConnectionSyncBody:
    """What to read of a connection."""

    type: Mode = SyncMode.INCREMENTAL
    since: Since | None = None
    until: Until | None = None
    target: (
        Annotated[
            str,
            Meta(min_length=1, max_length=MAX_TARGET, description="Only this part: the id of a calendar or channel."),
        ]
        | None
    ) = None


@attrs.frozen(kw_only=True)
class ProviderSyncBody:
    """What to read of each connection."""

    type: Mode = SyncMode.INCREMENTAL
    since: Since | None = None
    until: Until | None = None


@attrs.frozen(kw_only=True)
class ConnectionChanges:
    """What to change about a connection."""

    sync_interval_seconds: SyncInterval | None
    """Null for its provider's interval."""


@attrs.frozen(kw_only=True)
class ConnectBody:
    """What a caller may choose about a new connection."""

    redirect_uri: (
        Annotated[Text, Meta(description="One of the allowed ones, instead of the configured one.")] | None
    ) = None
    scopes: Annotated[Texts, Meta(description="Instead of the default ones.")] | None = None
    options: ConnectOptions | None = None
    connection_id: (
        Annotated[
            UUID,
            Meta(description="Connect this connection again: a consent of another account is a `CONFLICT`."),
        ]
        | None
    ) = None
