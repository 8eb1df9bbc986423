"""How connections are shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import attrs
from msgspec import UNSET, Meta, UnsetType

from connectors.domain.flows.signals.queries import ConnectionDetails
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.entrypoints.representation.common import HasMore, Instant, NextCursor, Slug
from connectors.entrypoints.representation.connect_options import ConnectOptions


@attrs.frozen(kw_only=True, slots=False)
class AuthorizationStartView:
    """Where to send the user."""

    authorize_url: str
    state_expires_at: Annotated[datetime, Meta(tz=True, description="The user can answer until then.")]


@attrs.frozen(kw_only=True, slots=False)
class AccountView:
    """The external account, in the provider's words."""

    id: str
    name: Annotated[str, Meta(examples=["octocat"])]
    url: str | None


@attrs.frozen(kw_only=True, slots=False)
class SubscriptionView:
    """A webhook subscription at the provider."""

    id: UUID
    target: Annotated[str, Meta(description="What it covers.", examples=["repo:octo/hello"])]
    status: SubscriptionStatus
    expires_at: Instant | None
    error: Annotated[str | None, Meta(description="Why the provider refused it.")]


@attrs.frozen(kw_only=True, slots=False)
class ConnectionView:
    """One external account, connected for one tenant."""

    id: UUID
    tenant_id: UUID
    provider: Slug
    account: AccountView
    status: ConnectionStatus
    status_reason: Annotated[str | None, Meta(description="Why it is not active.")]
    health: Annotated[
        Health,
        Meta(
            description="`degraded`: it works, but `last_error` is set, or, where one connection is asked for, "
            "something of it cannot be read, its coverage has an open gap, or a subscription does not work. "
            "`needs_user`: the account has to be connected again. `off`: disabled or revoked."
        ),
    ]
    scopes: Annotated[Sequence[str], Meta(description="What was granted.")]
    expires_at: Annotated[datetime, Meta(tz=True, description="When the access token ends.")] | None
    metadata: Annotated[Mapping[str, Any], Meta(description="What was chosen at connecting: repositories and such.")]
    last_synced_at: Annotated[datetime, Meta(tz=True, description="When the last read succeeded.")] | None
    last_error: Annotated[str | None, Meta(description="The last error; null once it is resolved.")]
    created_at: Instant
    updated_at: Instant
    subscriptions: (
        Annotated[Sequence[SubscriptionView], Meta(description="Only where one connection is asked for.")] | UnsetType
    ) = UNSET
    next_sync_at: (
        Annotated[
            datetime | None,
            Meta(
                description="Only where one connection is asked for: the earliest time of its next scheduled read. "
                "Null: none is scheduled."
            ),
        ]
        | UnsetType
    ) = UNSET


@attrs.frozen(kw_only=True, slots=False)
class ConnectedView:
    """The result of a consent."""

    connection: ConnectionView
    connections: Annotated[
        Sequence[ConnectionView], Meta(description="All of them: one consent may cover several sites (Jira).")
    ]


@attrs.frozen(kw_only=True, slots=False)
class ConnectionList:
    """A page of connections, newest first."""

    connections: Sequence[ConnectionView]
    next_cursor: NextCursor
    has_more: HasMore


def show_connection(
    connection: Connection, subscriptions: Sequence[Subscription] | UnsetType = UNSET
) -> ConnectionView:
    """The connection, with its subscriptions if they are given; its health does not consider gaps."""
    account = connection.account
    return ConnectionView(
        id=connection.id,
        tenant_id=connection.tenant_id,
        provider=connection.provider,
        account=AccountView(id=account.id, name=account.name, url=account.url),
        status=connection.status,
        status_reason=connection.status_reason,
        health=health_of(connection),
        scopes=connection.scopes,
        expires_at=connection.expires_at,
        metadata=_options_of(connection),
        last_synced_at=connection.last_synced_at,
        last_error=connection.last_error,
        created_at=connection.created_at,
        updated_at=connection.updated_at,
        subscriptions=UNSET if isinstance(subscriptions, UnsetType) else [_subscription(one) for one in subscriptions],
    )


def show_details(details: ConnectionDetails) -> ConnectionView:
    """The connection with its subscriptions and its next read; its health takes its gaps into account."""
    return attrs.evolve(
        show_connection(details.connection, details.subscriptions),
        health=details.health,
        next_sync_at=details.next_sync_at,
    )


def _subscription(one: Subscription) -> SubscriptionView:
    return SubscriptionView(id=one.id, target=one.target, status=one.status, expires_at=one.expires_at, error=one.error)


def _options_of(connection: Connection) -> dict[str, Any]:
    """What the caller chose for the connection; what its provider package adds stays internal."""
    names = {field.name for field in attrs.fields(ConnectOptions)}
    return {name: value for name, value in connection.metadata.items() if name in names}
