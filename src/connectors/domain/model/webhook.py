"""Webhooks: subscriptions (standing arrangements), deliveries (one HTTP request each), and their events."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import attrs

from connectors.domain.model.ending import Ending
from connectors.domain.model.errors import IllegalTransitionError, UnexpectedResponseError
from connectors.domain.model.foreign_json import read_form_member, read_json_object
from connectors.domain.model.http import lower_names
from connectors.domain.model.ids import ConnectionId, DeliveryId, GrantId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.secret import SealedSecret
from connectors.domain.model.signal import SignalDraft

FORM = "application/x-www-form-urlencoded"


class SubscriptionStatus(StrEnum):
    """Where a subscription is in its life."""

    PENDING = "pending"
    """Stored with its secret; the provider has not confirmed it yet, but may already be sending."""
    ACTIVE = "active"
    FAILED = "failed"
    """The provider refused it; `error` says why. It is tried again."""
    REFUSED = "refused"
    """The provider never pushes this target; `error` says why. It is only read, and asked for again each week."""
    LAPSED = "lapsed"
    """It was active and no longer is: expired, switched off or removed at the provider."""
    ENDING = "ending"
    """It has to go, and the provider has not confirmed yet that it is gone."""
    ENDED = "ended"
    """Removed by us, replaced by a successor, or gone at the provider."""
    LEFT = "left"
    """It had to go and we could not remove it: it may live on at the provider."""


SUBSCRIPTION_TRANSITIONS: Mapping[SubscriptionStatus, frozenset[SubscriptionStatus]] = {
    SubscriptionStatus.PENDING: frozenset(
        {
            SubscriptionStatus.ACTIVE,
            SubscriptionStatus.FAILED,
            SubscriptionStatus.REFUSED,
            SubscriptionStatus.LAPSED,
            SubscriptionStatus.ENDING,
            SubscriptionStatus.ENDED,
        }
    ),
    SubscriptionStatus.ACTIVE: frozenset(
        {SubscriptionStatus.LAPSED, SubscriptionStatus.ENDING, SubscriptionStatus.ENDED}
    ),
    SubscriptionStatus.FAILED: frozenset({SubscriptionStatus.ENDED}),
    SubscriptionStatus.REFUSED: frozenset({SubscriptionStatus.ENDED}),
    SubscriptionStatus.LAPSED: frozenset({SubscriptionStatus.ENDING, SubscriptionStatus.ENDED}),
    SubscriptionStatus.ENDING: frozenset({SubscriptionStatus.ENDED, SubscriptionStatus.LEFT}),
    # A request for it was out when it ended: now it is there.
    SubscriptionStatus.ENDED: frozenset({SubscriptionStatus.ENDING}),
    SubscriptionStatus.LEFT: frozenset({SubscriptionStatus.ENDING}),
}
"""Every legal change of status. Trying a target again makes a new subscription; the old one ends."""


@attrs.frozen(kw_only=True)
class Subscription:
    """One standing arrangement with a provider to receive its events."""

    id: SubscriptionId
    tenant_id: TenantId
    connection_id: ConnectionId
    provider: ProviderSlug
    target: str
    """What it covers, as the provider package writes it: `repo:octo/hello`, `org:octo`, a calendar's id."""
    status: SubscriptionStatus = SubscriptionStatus.PENDING
    external_id: str | None = None
    """The provider's id for it (hook, channel, watch), which its deliveries name."""
    secret: SealedSecret | None = None
    """The secret that we chose for it; None where the vendor signs with an app-level one."""
    expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What renewal and removal need. JSON values, no secrets."""
    error: str | None = None
    failures: int = 0
    """How often in a row the provider has refused this target, earlier subscriptions included."""
    checked_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When the provider last confirmed that it still exists."""
    address: str | None = None
    """Where it delivers to: our URL, or what the vendor has instead (Gmail: a topic). None where it is not known."""
    grant_id: GrantId | None = None
    """Whose tokens made it, and so can remove it. None for those that were set up by hand."""
    called_until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Until when a request that makes it may be out."""
    ending: Ending | None = None
    """Set from ENDING on."""
    created_at: datetime = attrs.field(converter=utc)
    updated_at: datetime = attrs.field(converter=utc)

    @property
    def is_by_hand(self) -> bool:
        """Whether a person has set it up at the provider: it is only a secret then."""
        return self.status is SubscriptionStatus.ACTIVE and self.external_id is None

    @property
    def is_over(self) -> bool:
        """Whether it can no longer cause deliveries."""
        return self.status not in {SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDING}

    @property
    def is_wanted(self) -> bool:
        """Whether it is neither gone nor about to go."""
        return self.status not in {SubscriptionStatus.ENDING, SubscriptionStatus.ENDED, SubscriptionStatus.LEFT}

    @property
    def is_ending(self) -> bool:
        """Whether it has to go and may still be there."""
        return self.status is SubscriptionStatus.ENDING

    def may_be_there(self, now: datetime) -> bool:
        """Whether the provider may have it. A lapsed one may only be switched off there."""
        if self.status is SubscriptionStatus.LAPSED:
            return self.external_id is not None and (self.expires_at is None or self.expires_at > now)
        return self.status in {SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE}

    @property
    def is_settled(self) -> bool:
        """Whether no deliveries are expected of it: it has ended or is about to, or its target is never pushed."""
        return not self.is_wanted or self.status is SubscriptionStatus.REFUSED

    def works_at(self, now: datetime) -> bool:
        """Whether it brings deliveries then, as far as we know."""
        is_expired = self.expires_at is not None and self.expires_at <= now
        return self.status is SubscriptionStatus.ACTIVE and not is_expired

    def moved_to(self, status: SubscriptionStatus, *, at: datetime, error: str | None = None) -> "Subscription":
        """The subscription in another status.

        Raises:
            IllegalTransitionError: `SUBSCRIPTION_TRANSITIONS` does not allow it.
        """
        if status is not self.status and status not in SUBSCRIPTION_TRANSITIONS[self.status]:
            raise IllegalTransitionError(f"a subscription cannot go from {self.status} to {status}")
        return attrs.evolve(self, status=status, error=error, updated_at=at)


@attrs.frozen(kw_only=True)
class WebhookRequest:
    """One inbound HTTP request to a webhook URL: raw, not verified."""

    provider: ProviderSlug
    tenant_id: TenantId | None
    """From the path; None on an app-level URL."""
    connection_id: ConnectionId | None = None
    """From the path, where a vendor needs a URL per connection."""
    url_key: str | None = attrs.field(default=None, repr=False)
    """From the path: what proves that the sender was given this connection's URL by us."""
    method: str = "POST"
    url: str = attrs.field(default="", repr=False)
    """The full URL under our public name, with its query."""
    headers: Mapping[str, str] = attrs.field(converter=lower_names, repr=False)
    body: bytes = attrs.field(repr=False)
    """Exactly the bytes that were sent: signatures cover these."""
    received_at: datetime = attrs.field(converter=utc)

    @property
    def media_type(self) -> str:
        """The content type without parameters, lower-case; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def document(self) -> Mapping[str, Any]:
        """The body as a JSON object, decoded at most once. It may be the one member of a form.

        The object is shared, so callers must not change it.

        Raises:
            UnexpectedResponseError: the body is something else.
        """
        if isinstance(self._decoded, UnexpectedResponseError):
            raise UnexpectedResponseError(self._decoded.message)
        return self._decoded

    @cached_property
    def _decoded(self) -> dict[str, Any] | UnexpectedResponseError:
        try:
            # Signatures do not cover the content type, so a body that begins as JSON is never read as a form.
            is_form = self.media_type == FORM and not self.body.lstrip().startswith(b"{")
            return read_json_object(read_form_member(self.body) if is_form else self.body)
        except UnexpectedResponseError as error:
            # Kept, so that hostile bytes are not decoded again; without its cause, which holds the body.
            return UnexpectedResponseError(error.message)


@attrs.frozen(kw_only=True)
class DeliveryHints:
    """What an unverified request's headers claim: enough to look up secrets, never enough to act on."""

    delivery_id: str | None = None
    subscription_external_id: str | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What else they say of the subscription: kept with it once the request is verified."""


@attrs.frozen(kw_only=True)
class VerifiedDelivery:
    """A request whose sender is proven. The only type that `read_event` accepts."""

    request: WebhookRequest = attrs.field(repr=False)
    delivery_id: str
    """The provider's id, the same on every retry; a hash of the body where the vendor sends none."""
    via: str
    """What proved it: `subscription`, `app`, `connection`, `relay` (an operator's token), `replay`."""
    claims: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Verified claims of a JWT, where the vendor signs with one."""

    @property
    def document(self) -> Mapping[str, Any]:
        """See `WebhookRequest.document`."""
        return self.request.document


@attrs.frozen(kw_only=True)
class WebhookReply:
    """The answer that the vendor expects (Slack's challenge) instead of our usual 202."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = attrs.field(default=b"{}", repr=False)


@attrs.frozen
class Ignored:
    """An event that we do not track. It is recorded and acknowledged."""

    event: str
    reason: str = "not tracked"
    reply: WebhookReply | None = None


class Lifecycle(StrEnum):
    """What a webhook can say about the connection itself."""

    REVOKED = "revoked"
    """The user or an admin revoked the grant at the provider. It is not believed without proof: the event may be about
    a consent that was replaced since."""


@attrs.frozen(kw_only=True)
class WebhookEvent:
    """What happened, according to a verified delivery."""

    event: str
    """The provider's name for it, with its action: `issues.opened`."""
    signals: tuple[SignalDraft, ...] = ()
    account_ids: tuple[str, ...] = ()
    """External accounts that the event names: it is for their connections. Empty: it names none.

    Each is an account id, `host:acme.atlassian.net` (the host of an account's URL), or `email:lee@acme.com` (the
    lower-case `email` in an account's metadata)."""
    needs_sync: bool = False
    """Whether it only says that something changed, so that a read must be enqueued."""
    sync_target: str | None = None
    """What to read (a calendar, a channel); None for everything."""
    lifecycle: Lifecycle | None = None
    at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When it happened at the latest, where the vendor says so and it concerns the connection itself."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""
    reply: WebhookReply | None = None


class DeliveryStatus(StrEnum):
    """What became of a delivery."""

    PROCESSED = "processed"
    IGNORED = "ignored"
    FAILED = "failed"
    """Kept with its reason; `replay` processes it again."""


class Recorded(StrEnum):
    """Whether a record was new."""

    NEW = "new"
    DUPLICATE = "duplicate"


@attrs.frozen(kw_only=True)
class WebhookDelivery:
    """One delivery as it is stored."""

    id: DeliveryId
    tenant_id: TenantId
    provider: ProviderSlug
    connection_id: ConnectionId | None
    delivery_id: str
    """The provider's; (tenant, provider, delivery_id) is unique."""
    event: str | None
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Lower-case names, secrets and signatures removed."""
    body: bytes = attrs.field(repr=False)
    received_at: datetime = attrs.field(converter=utc)
    status: DeliveryStatus
    error: str | None = None
    signal_count: int = 0
    """How many signals this delivery added; duplicates do not count."""


@attrs.frozen(kw_only=True)
class DeliveryFilter:
    """The filters of `GET /deliveries`."""

    provider: ProviderSlug | None = None
    connection_id: ConnectionId | None = None
    status: DeliveryStatus | None = None
