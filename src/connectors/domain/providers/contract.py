"""The form every provider's package fills in. A missing ability is None, never a stub.

A package is values and pure functions. What takes several calls is a conversation (`domain.model.http`): a generator
that yields requests and is sent answers. `flows/converse.py` drives it and is the one place that knows bearer
tokens, the refresh on 401, `Retry-After`, timeouts and sizes; a package sees only answers below 400, or those it
declared in `HttpRequest.expects`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import attrs

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.errors import ConnectorsError, DeliveryRejectedError, RateLimitedError
from connectors.domain.model.http import Conversation, HttpRequest, HttpResponse
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.limits import Budget
from connectors.domain.model.oauth import ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.sync import Cursor, Interpretation, Observation, SyncPage, SyncPlan
from connectors.domain.model.webhook import (
    DeliveryHints,
    Ignored,
    Subscription,
    VerifiedDelivery,
    WebhookEvent,
    WebhookRequest,
)

T = TypeVar("T")

UNKNOWN_KEY = "unknown_key"

# --- OAuth ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Scope:
    """One OAuth scope and why it is asked."""

    name: str
    reason: str
    default: bool = True


@attrs.frozen(kw_only=True)
class AuthorizationParams:
    """What our side puts into an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3)."""

    state: str = attrs.field(repr=False)
    redirect_uri: str
    scopes: tuple[str, ...]
    code_challenge: str | None = None
    """S256, 43 characters; None for packages whose vendor PKCE would harm."""


@attrs.frozen(kw_only=True)
class OAuth:
    """How a provider's consent, tokens and identity work."""

    scopes: tuple[Scope, ...]
    pkce: bool
    authorize_url: Callable[[ProviderApp, AuthorizationParams], str]
    token_endpoint: Callable[[ProviderApp, Mapping[str, str]], TokenEndpointCall]
    """Where to exchange and refresh. The mapping is the redirect's query at the exchange, and the token set's `extra`
    at a refresh. Raises ForbiddenHostError for a host that the redirect made up."""
    read_tokens: Callable[[HttpResponse, datetime, TokenSet | None], TokenSet]
    """The token endpoint's answer of any status, at that instant. The third argument is the set being refreshed (None
    at the exchange): what the answer omits is kept from it. Raises ReauthorizationRequiredError (dead grant or code),
    ClientRejectedError (our id or secret), RateLimitedError, ProviderUnavailableError, UnexpectedResponseError."""
    identify: Callable[[ProviderApp, TokenSet], Conversation[tuple[ExternalAccount, ...]]]
    """The accounts this consent reaches, at least one. Raises AccessLostError when there is none."""
    grant_key: Callable[[Sequence[ExternalAccount]], str]
    """Whose consent it is: connections with one key share one token pair."""
    required_scopes: Callable[[ProviderApp, tuple[str, ...]], frozenset[str]] = lambda app, asked: frozenset()
    """Of those asked, the ones without which the connection is of no use; fewer granted is InsufficientScopeError."""
    revoke: Callable[[ProviderApp, TokenSet], Conversation[None]] | None = None
    """Withdraw what the token set gives. "Already gone" is success. None: the vendor has no such call."""
    revocation_scope: "RevocationScope" = attrs.field(factory=lambda: RevocationScope.GRANT)
    reuse_window: timedelta | None = timedelta(0)
    """How long after its use a rotated refresh token may be sent once more (lost answers); None: they never rotate."""
    idle_lifetime: timedelta | None = None
    """A refresh token that nobody uses dies after this; None if it does not."""
    token_names: tuple[str, ...] = ()
    """Names of companions that are refreshed by calls of their own (Slack's `user`)."""


class RevocationScope(StrEnum):
    """What a revocation ends at the vendor."""

    GRANT = "grant"
    """Only this token pair."""
    ACCOUNT = "account"
    """All that the app holds of that user or workspace, in every tenant: revoke only with the last connection."""


# --- webhooks ------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SubscriptionRequest:
    """One subscription to make: already on record with its id and secret, because deliveries may come first."""

    subscription: Subscription
    secret: Secret
    """Random, ours; a package whose vendor takes none ignores it."""
    callback_url: str
    """Where the vendor shall deliver to: our public URL for this tenant (and connection, where needed)."""
    expires_at: datetime | None = None
    """The expiry to ask for."""


@attrs.frozen(kw_only=True)
class SubscriptionReceipt:
    """What the vendor made of it."""

    external_id: str
    expires_at: datetime | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What renewal and removal need later; kept with the subscription."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""


class SubscriptionScope(StrEnum):
    """Whose URL a vendor delivers to."""

    TENANT = "tenant"
    """`/webhooks/{provider}/{tenant_id}`."""
    CONNECTION = "connection"
    """`/webhooks/{provider}/{tenant_id}/{connection_id}`: nothing in the delivery says which mailbox it is."""
    APP = "app"
    """`/webhooks/{provider}`: one URL for all tenants, set in the vendor's app settings or by the app's one hook."""


@attrs.frozen(kw_only=True)
class MissedDelivery:
    """A delivery that the vendor's log has as failed."""

    delivery_id: str
    """As `VerifiedDelivery.delivery_id` would be, had it come."""
    log_id: str
    """The vendor's name of it in the log, to ask for it again."""
    event: str | None
    """The vendor's name of the event, as in `WebhookEvent.event`."""
    at: datetime


@attrs.frozen(kw_only=True)
class Subscriptions:
    """How standing arrangements are made, kept and removed through the provider's API."""

    targets: Callable[[ProviderApp, Connection], Conversation[tuple[str, ...]]]
    """What this connection should be subscribed to, as subscription targets."""
    subscribe: Callable[[ProviderApp, Connection, SubscriptionRequest], Conversation[SubscriptionReceipt]]
    """Make it, or take over the one that is there. Idempotent."""
    unsubscribe: Callable[[ProviderApp, Connection, Subscription], Conversation[None]]
    """Remove it. "Already gone" is success."""
    renew: Callable[[ProviderApp, Connection, Subscription], Conversation[SubscriptionReceipt]] | None = None
    """Extend it in place; None where the vendor wants a new one instead (or where nothing expires)."""
    probe: Callable[[ProviderApp, Connection, Subscription], Conversation[bool]] | None = None
    """Whether the vendor still has it."""
    lifetime: timedelta | None = None
    """How long one lives at the vendor; None if for ever."""
    missed: (
        Callable[[ProviderApp, Connection, Subscription, datetime], Conversation[tuple[MissedDelivery, ...]]] | None
    ) = None
    """The deliveries since that instant which the vendor's own log says never arrived here, whatever was tried; None
    where the vendor shows no log."""
    redeliver: Callable[[ProviderApp, Connection, Subscription, MissedDelivery], Conversation[None]] | None = None
    """Ask the vendor to send it once more, under the same delivery id."""
    shared_key: Callable[[Connection], str] | None = None
    """Where the vendor has one arrangement per account and app (Gmail): connections with this key share it, and it
    is removed only with the last of them."""


@attrs.frozen(kw_only=True)
class SigningKeys:
    """A vendor's public signing keys (JWKS), by key id."""

    keys: Mapping[str, Any]
    """Each a JWK as a mapping."""
    expires_at: datetime


@attrs.frozen(kw_only=True)
class VerificationMaterial:
    """What a verifier may check a request against."""

    app: ProviderApp | None
    """None where the provider is not configured here."""
    secrets: Sequence[Secret] = ()
    """Subscription's own, or else the app's; any may match (two while one rotates). Empty: fail closed."""
    subscription: Subscription | None = None
    """Whose secret it is, where it is a subscription's."""
    keys: SigningKeys | None = None
    now: datetime
    via: str = "app"


def unknown_key() -> DeliveryRejectedError:
    """The rejection that asks for a fresh key set."""
    return DeliveryRejectedError("The signing key is not known.", details=[{"reason": UNKNOWN_KEY}])


def is_unknown_key(error: DeliveryRejectedError) -> bool:
    """Whether a fresh key set could make the delivery acceptable."""
    return any(detail.get("reason") == UNKNOWN_KEY for detail in error.details)


@attrs.frozen(kw_only=True)
class ReadContext:
    """What a package may know when it reads a verified event."""

    app: ProviderApp | None
    connections: Sequence[Connection] = ()
    """Candidates: the subscription's or path's connection, else the tenant's, else (app-level URL) none yet."""


@attrs.frozen(kw_only=True)
class Handshake:
    """A first contact that must be answered before there is a secret to verify with (Zoho Mail)."""

    secret: Secret
    """What the vendor announced. Kept once; never overwrites one that is there."""


@attrs.frozen(kw_only=True)
class Webhooks:
    """How a provider tells us of events."""

    url_scope: SubscriptionScope
    read_hints: Callable[[WebhookRequest], DeliveryHints] = lambda request: DeliveryHints()
    """What the headers claim; never raises on foreign data. The body is not decoded before something has proven it."""
    verify: Callable[[WebhookRequest, VerificationMaterial], VerifiedDelivery]
    """Raises DeliveryRejectedError unless the sender is proven; with no secret at all, always. A JWT signed with a key
    that `material.keys` does not have raises `unknown_key()`: the caller fetches the key set again, once."""
    read_event: Callable[[VerifiedDelivery, ReadContext], WebhookEvent | Ignored]
    """What it says. Raises UnexpectedResponseError for contents that we should understand and do not."""
    to_signals: Callable[[VerifiedDelivery, WebhookEvent, Connection], WebhookEvent] | None = None
    """Packages whose drafts depend on the connection (its site, team, mailbox) finish the event here, once for each
    connection it is for. None: `read_event` said all."""
    subscriptions: Subscriptions | None = None
    """None where the vendor has no API for it; `manual_setup` says what a person does instead."""
    manual_setup: str | None = None
    """Steps for the operator, with `{webhook_url}` where the URL goes."""
    manual_secret_scope: SubscriptionScope | None = None
    """Where a webhook that a person sets up at the vendor has a secret of its own: a single connection's URL, or the
    tenant's. None: hand-made ones, if any, use the app's."""
    signing_keys: Callable[[ProviderApp], Conversation[SigningKeys]] | None = None
    """Fetch the vendor's key set."""
    read_delivery_id: Callable[[WebhookRequest], str | None] | None = None
    """The delivery's id where only the body tells it; never raises on foreign data. Asked once it is trusted."""
    read_handshake: Callable[[WebhookRequest], Handshake | None] | None = None
    success_status: int = 202
    """What the vendor counts as received; 202 unless it insists (Zoho's 200)."""
    secret_headers: frozenset[str] = frozenset()
    """Lower-case names of headers to drop before a delivery is stored: signatures, tokens."""


# --- reading -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SyncContext:
    """Whose API is read."""

    app: ProviderApp
    connection: Connection


@attrs.frozen(kw_only=True)
class Sync:
    """How a provider's API is read: one conversation a page, resumable at every cursor."""

    start: Callable[[SyncContext, SyncPlan], Conversation[Cursor]]
    """Where the walk begins."""
    read_page: Callable[[SyncContext, SyncPlan, Cursor], Conversation[SyncPage]]
    """One page from there. Asked again with the same cursor it gives the same signals, or later states of them."""
    interpret: Callable[[SyncContext, SyncPlan, Observation, Mapping[str, Any] | None], Interpretation] | None = None
    """What an observation means against the last known state (None: never seen)."""
    poll_interval: timedelta = timedelta(minutes=15)


# --- limits and families -------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Limits:
    """How a provider says no for now."""

    read_failure: Callable[[HttpRequest, HttpResponse, datetime], ConnectorsError]
    """The error that an answer of 400 or above means: RateLimitedError (with its instant), ProviderUnavailableError,
    ReauthorizationRequiredError, InsufficientScopeError, AccessLostError, UnexpectedResponseError."""
    read_throttle: Callable[[HttpResponse, datetime], RateLimitedError | None] = lambda response, now: None
    """Looks at every answer below 400: limits that hide in a 200, or a reserve that is used up."""
    is_unauthorized: Callable[[HttpResponse], bool] = lambda response: response.status == HTTPStatus.UNAUTHORIZED
    """Whether the answer says that the access token has died, so that one refresh is worth a try."""
    budgets: Callable[[HttpRequest], tuple[Budget, ...]] = lambda request: ()
    """The limits that a request counts against. Background work keeps within them, all workers together."""
    backoff_base: timedelta = timedelta(seconds=5)
    backoff_cap: timedelta = timedelta(seconds=900)


@attrs.frozen(kw_only=True)
class Family:
    """Events whose completeness is accounted for together."""

    name: str
    """In the plural, as people call them: `issues`."""
    kinds: frozenset[SignalKind] = frozenset()
    events: frozenset[str] = frozenset()
    """The vendor's names of the webhook events that tell of it, with or without their action: `issues`."""
    is_pushed: bool = True
    """Whether webhooks tell of it."""
    is_read: bool = True
    """Whether an incremental walk shows all of it."""
    is_backfilled: bool = True
    """Whether a backfill shows all of it that its time range holds."""


# --- settings ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Reader(Generic[T]):
    """How the text of a setting becomes its value. The usual ones are in `toolbox.options`."""

    read: Callable[[str], T]
    """Gets the text without white space around it, never empty. Raises ValueError for a text that is wrong."""
    expected: str
    """What a right text is: completes "expected …" in the error for a wrong one."""


@attrs.frozen
class Option(Generic[T]):
    """A setting that only one provider has. It is read when the service starts: packages get its value."""

    reader: Reader[T]
    default: T | None = attrs.field(default=None, kw_only=True)
    help: str = attrs.field(kw_only=True)
    """What it is for, in a few words without a full stop."""
    is_secret: bool = attrs.field(default=False, kw_only=True)
    """Whether neither errors nor `connectors settings` may show it. An option whose name says so is a secret anyway."""


COMMON_SETTINGS = frozenset(
    {"client_id", "client_secret", "scopes", "webhook_secret", "base_url", "sync_interval_seconds", "concurrency"}
)
"""What every provider has: no option has one of these names."""


def _check_slug(_provider: object, _attribute: object, slug: Any) -> None:
    if not isinstance(slug, str) or not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug):
        raise ValueError(f"{slug!r} is not a slug: lower-case letters and digits, with single hyphens between them")


def _check_options(provider: "Provider", _attribute: object, options: Mapping[str, Any]) -> None:
    taken = {*COMMON_SETTINGS, provider.webhook_secret_option}
    for name, option in options.items():
        if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in taken:
            raise ValueError(f"{name!r} cannot be the name of an option")
        if not isinstance(option, Option):
            raise TypeError(f"the option {name} is a {type(option).__name__}, not an Option")


# --- the whole -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Provider:
    """One provider, complete."""

    slug: ProviderSlug = attrs.field(validator=_check_slug)
    """Part of URLs and, in capitals, of setting names."""
    name: str
    description: str
    homepage: str
    kinds: frozenset[SignalKind]
    """Every kind that this package can emit."""
    oauth: OAuth
    allowed_origins: Callable[[ProviderApp], frozenset[str]]
    """`https://host` of every host that may be called for this provider; nothing else ever is."""
    limits: Limits
    webhooks: Webhooks | None = None
    sync: Sync | None = None
    families: tuple[Family, ...] = ()
    """How the kinds fall into families, each kind in one. Empty: all are one family, `events`."""
    authorization_header: Callable[[Secret], str] = lambda token: f"Bearer {token.reveal()}"
    settings_prefixes: tuple[str, ...] = ()
    """Shared settings to fall back to, e.g. `("GOOGLE",)`."""
    options: Mapping[str, Option[Any]] = attrs.field(factory=dict, validator=_check_options)
    """Settings that only this provider has, by name: `pubsub_topic` is read from `POBLYSH_<PROVIDER>_PUBSUB_TOPIC`,
    and its value is `ProviderApp.options["pubsub_topic"]`."""
    webhook_secret_option: str = "webhook_secret"  # noqa: S105 - a setting's name
    """Which setting holds app-level webhook secrets (Slack's `signing_secret`)."""

    def read_options(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """The value of every option, by name: read from its text, or its default where there is none.

        Raises:
            ValueError: a text is wrong.
        """
        return {
            name: option.reader.read(texts[name]) if name in texts else option.default
            for name, option in self.options.items()
        }

    @property
    def event_families(self) -> tuple[Family, ...]:
        """The families, or the one that all kinds make."""
        if self.families:
            return self.families
        readable = self.sync is not None
        pushed = self.webhooks is not None
        return (Family(name="events", kinds=self.kinds, is_pushed=pushed, is_read=readable, is_backfilled=readable),)

    def family_of(self, event: str | None) -> Family | None:
        """The family of a webhook event (`issues.opened`, `issues`), or None if that cannot be told."""
        if event is None:
            return None
        name = event.partition(".")[0]
        found = (one for one in self.event_families if one.events & {event, name})
        return next(found, self.event_families[0] if len(self.event_families) == 1 else None)
