"""What the API answers with: the JSON encoding and the OpenAPI schemas both come from these classes.

They have no `__slots__`, because msgspec writes the members of slotted classes in alphabetical order and people read
JSON with the id first. Members without a default are always present; `UNSET` ones are left out where they do not apply.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import attrs
from msgspec import UNSET, Meta, UnsetType

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.health import Health
from connectors.domain.model.signal import Origin, SignalKind
from connectors.domain.model.webhook import DeliveryStatus, SubscriptionStatus
from connectors.domain.providers.contract import SubscriptionScope

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, UTC.", examples=["2026-01-02T03:04:05Z"])]
NextCursor = Annotated[
    str | None, Meta(description="Opaque: send it as `cursor`, with the same filters. Null on the last page.")
]
HasMore = Annotated[bool, Meta(description="Whether there is a next page.")]
Slug = Annotated[str, Meta(examples=["github"])]


@attrs.frozen(kw_only=True, slots=False)
class Problem:
    """What went wrong (RFC 9457). Branch on `code`."""

    type: Annotated[str, Meta(description="A URN that ends in the code's name.")]
    title: Annotated[str, Meta(description="The code, in words.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What happened, and what can be done about it where we know.")]
    code: Annotated[str, Meta(description="Stable; what clients branch on.", examples=["VALIDATION_ERROR"])]
    message: Annotated[str, Meta(description="What happened.")]
    trace_id: Annotated[str, Meta(description="Names this request in our logs; also in `X-Trace-Id`.")]
    details: Annotated[Sequence[Mapping[str, Any]], Meta(description="One for each fault.")] | UnsetType = UNSET
    retry_after: Annotated[int, Meta(ge=0, description="Seconds; also in `Retry-After`.")] | UnsetType = UNSET


# --- providers -----------------------------------------------------------------------------------------------------


class Capability(StrEnum):
    """What can be done with a provider."""

    WEBHOOKS = "webhooks"
    AUTOMATIC_WEBHOOKS = "automatic_webhooks"
    SYNC = "sync"
    REVOCATION = "revocation"


@attrs.frozen(kw_only=True, slots=False)
class ScopeView:
    """One OAuth scope."""

    name: str
    reason: Annotated[str, Meta(description="Why it is asked.")]
    default: Annotated[bool, Meta(description="Whether it is asked when nobody says otherwise.")]


@attrs.frozen(kw_only=True, slots=False)
class WebhookSetupView:
    """How a provider's webhooks reach us."""

    url: Annotated[
        str | None,
        Meta(description="With `{tenant_id}` and `{connection_id}` to fill in; null: this service has no public URL."),
    ]
    scope: SubscriptionScope
    automatic: Annotated[bool, Meta(description="Whether connecting an account subscribes it.")]
    manual_setup: Annotated[str | None, Meta(description="What a person has to do, where anything.")]


@attrs.frozen(kw_only=True, slots=False)
class ProviderView:
    """A provider that accounts can be connected of."""

    slug: Slug
    name: Annotated[str, Meta(examples=["GitHub"])]
    description: str
    homepage: str
    auth_type: Annotated[str, Meta(examples=["oauth2"])]
    configured: Annotated[bool, Meta(description="Whether its client id and secret are set here.")]
    scopes: Sequence[ScopeView]
    capabilities: Sequence[Capability]
    signal_kinds: Annotated[Sequence[SignalKind], Meta(description="Every kind that it can give.")]
    webhook: WebhookSetupView | None


@attrs.frozen(kw_only=True, slots=False)
class ProviderList:
    """All providers; there is only one page."""

    providers: Sequence[ProviderView]
    next_cursor: NextCursor = None
    has_more: HasMore = False


# --- connections ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class AuthorizationStartView:
    """Where to send the user."""

    authorize_url: str
    state_expires_at: Annotated[datetime, Meta(tz=True, description="Until then the user can answer.")]


@attrs.frozen(kw_only=True, slots=False)
class AccountView:
    """The external account, in the provider's words."""

    id: str
    name: Annotated[str, Meta(examples=["octocat"])]
    url: str | None


@attrs.frozen(kw_only=True, slots=False)
class SubscriptionView:
    """One standing arrangement with the provider to be told of events."""

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
            description="`degraded`: it works, but `last_error` is set, or, where one connection is asked for, its "
            "coverage has an open gap. `needs_user`: the account has to be connected again. `off`: disabled or revoked."
        ),
    ]
    scopes: Annotated[Sequence[str], Meta(description="What was granted.")]
    expires_at: Annotated[datetime, Meta(tz=True, description="When the access token ends.")] | None
    metadata: Annotated[Mapping[str, Any], Meta(description="What was chosen at connecting: repositories and such.")]
    last_synced_at: Annotated[datetime, Meta(tz=True, description="When the last read ended well.")] | None
    last_error: Annotated[str | None, Meta(description="The last trouble; null once it is over.")]
    created_at: Instant
    updated_at: Instant
    subscriptions: (
        Annotated[Sequence[SubscriptionView], Meta(description="Only where one connection is asked for.")] | UnsetType
    ) = UNSET
    next_sync_at: (
        Annotated[
            datetime | None,
            Meta(
                description="Only where one connection is asked for: when it is read next by itself, at the earliest. "
                "Null: it is not."
            ),
        ]
        | UnsetType
    ) = UNSET


@attrs.frozen(kw_only=True, slots=False)
class ConnectedView:
    """What a consent gave."""

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


# --- signals -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class ActorView:
    """Who did it."""

    id: str
    name: str
    url: str | None


@attrs.frozen(kw_only=True, slots=False)
class ThingView:
    """What it was done to, or where it happened."""

    type: Annotated[str, Meta(examples=["issue", "repository"])]
    id: str
    name: str
    url: str | None


@attrs.frozen(kw_only=True, slots=False)
class SignalView:
    """Something that happened, once, whichever path saw it."""

    id: UUID
    tenant_id: UUID
    connection_id: UUID
    provider: Slug
    kind: SignalKind
    occurred_at: Instant
    received_at: Instant
    title: str
    url: str | None
    actor: ActorView | None
    subject: ThingView
    container: ThingView | None
    dedupe_key: str
    origin: Annotated[Origin, Meta(description="Which path saw it first.")]
    payload: (
        Annotated[Mapping[str, Any], Meta(description="The provider's own object; only when asked for.")] | UnsetType
    ) = UNSET


@attrs.frozen(kw_only=True, slots=False)
class SignalList:
    """A page of signals, newest first by when they occurred."""

    signals: Sequence[SignalView]
    next_cursor: NextCursor
    has_more: HasMore


# --- deliveries ----------------------------------------------------------------------------------------------------


class BodyEncoding(StrEnum):
    """How a delivery's bytes stand in JSON."""

    UTF8 = "utf-8"
    BASE64 = "base64"


@attrs.frozen(kw_only=True, slots=False)
class DeliveryView:
    """One webhook request as the inbox keeps it."""

    id: UUID
    tenant_id: UUID
    provider: Slug
    connection_id: UUID | None
    delivery_id: Annotated[str, Meta(description="The provider's own id of it.")]
    event: Annotated[str | None, Meta(examples=["issues.opened"])]
    status: DeliveryStatus
    error: Annotated[str | None, Meta(description="Why it failed or was ignored.")]
    signal_count: Annotated[int, Meta(ge=0, description="How many signals it added.")]
    received_at: Instant
    headers: Annotated[Mapping[str, str], Meta(description="Secrets removed.")] | UnsetType = UNSET
    body: Annotated[str, Meta(description="Only where one delivery is asked for.")] | UnsetType = UNSET
    encoding: Annotated[BodyEncoding, Meta(description="How `body` holds the bytes.")] | UnsetType = UNSET


@attrs.frozen(kw_only=True, slots=False)
class DeliveryList:
    """A page of deliveries, newest first."""

    deliveries: Sequence[DeliveryView]
    next_cursor: NextCursor
    has_more: HasMore


@attrs.frozen(kw_only=True, slots=False)
class AcceptedView:
    """The delivery is kept."""

    status: Annotated[str, Meta(examples=["accepted"])] = "accepted"


# --- tenants and the service itself --------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class TenantView:
    """A tenant that exists here."""

    id: UUID
    created_at: Instant


@attrs.frozen(kw_only=True, slots=False)
class ServiceView:
    """Where things are."""

    name: str
    version: str
    docs: str
    openapi: str
    providers: str


@attrs.frozen(kw_only=True, slots=False)
class AliveView:
    """The process answers."""

    status: Annotated[str, Meta(examples=["ok"])] = "ok"


@attrs.frozen(kw_only=True, slots=False)
class ReadyView:
    """Every part that the service needs works. `plugins` names distributions whose providers are skipped."""

    status: Annotated[str, Meta(examples=["ready"])]
    checks: Annotated[Mapping[str, str], Meta(examples=[{"database": "ok"}])]
