"""How connections are shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import attrs
from msgspec import UNSET, Meta, UnsetType

from connectors.domain.flows.endings.held import Held
from connectors.domain.flows.signals.queries import ConnectionDetails
from connectors.domain.model.connection import Connection, ConnectionStatus, ReasonCode
from connectors.domain.model.ending import HeldKind
from connectors.domain.model.health import Health, health_of, next_step_of, reason_of
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
    status: Annotated[
        SubscriptionStatus,
        Meta(description="`refused`: the provider never pushes this target. That is no error: it is polled."),
    ]
    expires_at: Instant | None
    error: Annotated[str | None, Meta(description="Why the provider refused it.")]
    is_polled: Annotated[bool, Meta(description="Whether its events are only found by reading.")]


@attrs.frozen(kw_only=True, slots=False)
class WebhookUrlView:
    """Where a connection's own webhook delivers."""

    url: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)
class EndingView:
    """What of a connection has to go at the provider, which has not confirmed yet that it is gone."""

    tokens: Annotated[int, Meta(description="How many consents' tokens.")]
    hooks: Annotated[int, Meta(description="How many webhook subscriptions.")]
    since: Instant
    next_try_at: Annotated[
        datetime | None, Meta(description="When the first of them is tried again. Null: it is being tried.")
    ]
    gives_up_at: Annotated[datetime, Meta(tz=True, description="What fails later is `left_behind`.")]
    reason: Annotated[str | None, Meta(description="What the provider refused last. Null: nothing yet.")]


@attrs.frozen(kw_only=True, slots=False)
class LeftBehindView:
    """What may be left at the provider, because we could not end it. We have destroyed its secret."""

    kind: HeldKind
    target: Annotated[str, Meta(description="What the webhook covers, or the account whose tokens they are.")]
    reason: str | None
    remove_it_at: Annotated[
        str | None, Meta(description="Where a person can remove it: a URL, or the way to it. Null: it is not known.")
    ]


@attrs.frozen(kw_only=True, slots=False)
class ConnectionView:
    """One external account, connected for one tenant."""

    id: UUID
    tenant_id: UUID
    provider: Slug
    account: AccountView
    status: ConnectionStatus
    status_reason: Annotated[str | None, Meta(description="Why it is not active.")]
    reason_code: Annotated[
        ReasonCode | None,
        Meta(
            description="Why it is not active or not healthy, for programs. Null: it is healthy, its coverage has an "
            "open gap, or it stopped working before reasons were recorded."
        ),
    ]
    next_step: Annotated[str | None, Meta(description="What to do about it. Null: nothing.")]
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
    ending: (
        Annotated[
            EndingView | None,
            Meta(
                description="Only where one connection is asked for: what is being ended at the provider. "
                "Null: nothing."
            ),
        ]
        | UnsetType
    ) = UNSET
    left_behind: (
        Annotated[
            Sequence[LeftBehindView],
            Meta(
                description="Only where one connection is asked for: what could not be ended in the last seven days, "
                "for a person to remove."
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
        reason_code=reason_of(connection),
        next_step=next_step_of(connection, reason_of(connection)),
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
        reason_code=details.reason,
        next_step=next_step_of(details.connection, details.reason),
        next_sync_at=details.next_sync_at,
        ending=_ending([one for one in details.held if not one.is_left]),
        left_behind=[_left_behind(one) for one in details.held if one.is_left],
    )


def _ending(held: Sequence[Held]) -> EndingView | None:
    if not held:
        return None
    return EndingView(
        tokens=sum(one.kind is HeldKind.TOKEN for one in held),
        hooks=sum(one.kind is HeldKind.HOOK for one in held),
        since=min(one.since for one in held),
        next_try_at=min((one.next_try_at for one in held if one.next_try_at is not None), default=None),
        gives_up_at=max(one.gives_up_at for one in held if one.gives_up_at is not None),
        reason=next((one.reason for one in held if one.reason is not None), None),
    )


def _left_behind(held: Held) -> LeftBehindView:
    return LeftBehindView(kind=held.kind, target=held.target, reason=held.reason, remove_it_at=held.remove_it_at)


def _subscription(one: Subscription) -> SubscriptionView:
    return SubscriptionView(
        id=one.id,
        target=one.target,
        status=one.status,
        expires_at=one.expires_at,
        error=one.error,
        is_polled=one.status is SubscriptionStatus.REFUSED,
    )


def _options_of(connection: Connection) -> dict[str, Any]:
    """What the caller chose for the connection; what its provider package adds stays internal."""
    names = {field.name for field in attrs.fields(ConnectOptions)}
    return {name: value for name, value in connection.metadata.items() if name in names}
