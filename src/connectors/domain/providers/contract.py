"""What every provider package consists of. A missing ability is None, never a stub.

A provider package is values and pure functions. What takes several calls is a conversation (`domain.model.http`): a
generator that yields requests and is sent answers. `flows/provider_access/conversations.py` runs it. Only that module
knows bearer tokens, the rule for dead ones, `Retry-After`, timeouts and size limits. A provider package sees answers
below 400, and those that it declared in `HttpRequest.expects`.
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
from connectors.domain.model.streams import DiscoveryPage, Stream, StreamPage, Window
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
    """One OAuth scope and why we ask for it."""

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
    """S256, 43 characters; None where PKCE would do harm at the vendor."""


@attrs.frozen(kw_only=True)
class OAuth:
    """How a provider's consent, tokens and identity work."""

    scopes: tuple[Scope, ...]
    pkce: bool
    authorize_url: Callable[[ProviderApp, AuthorizationParams], str]
    token_endpoint: Callable[[ProviderApp, Mapping[str, str]], TokenEndpointCall]
    """Where to exchange codes and refresh tokens. The mapping is the redirect's query at the exchange, and the token
    set's `extra` at a refresh. Raises ForbiddenHostError for a host that the redirect made up."""
    read_tokens: Callable[[HttpResponse, datetime, TokenSet | None], TokenSet]
    """The tokens in the token endpoint's answer, of any status, that arrived at that instant. The third argument is the
    set being refreshed (None at the exchange); what the answer omits is kept from it. Raises
    ReauthorizationRequiredError (dead grant or code), ClientRejectedError (our id or secret), RateLimitedError,
    ProviderUnavailableError, UnexpectedResponseError."""
    identify: Callable[[ProviderApp, TokenSet], Conversation[tuple[ExternalAccount, ...]]]
    """The accounts that this consent covers, at least one. Raises AccessLostError when there is none."""
    grant_key: Callable[[Sequence[ExternalAccount]], str]
    """Identifies the user or workspace that consented: connections with one key share one token pair."""
    required_scopes: Callable[[ProviderApp, tuple[str, ...]], frozenset[str]] = lambda app, asked: frozenset()
    """Those of the requested scopes that the connection cannot work without; granting fewer is
    InsufficientScopeError."""
    explain_missing_scopes: Callable[[TokenSet], str | None] = lambda tokens: None
    """What the operator has to change, if no user could grant the scopes to this app; None where the user can."""
    revoke: Callable[[ProviderApp, TokenSet], Conversation[None]] | None = None
    """Revoke the token set. "Already gone" is success. None: the vendor has no such call."""
    revocation_scope: "RevocationScope" = attrs.field(factory=lambda: RevocationScope.GRANT)
    reuse_window: timedelta | None = timedelta(0)
    """How long a rotated refresh token may be sent once more after its use (lost answers); None: they never rotate."""
    idle_lifetime: timedelta | None = None
    """An unused refresh token expires after this; None if it does not."""
    token_names: tuple[str, ...] = ()
    """Names of companion token sets that are refreshed by separate calls (Slack's `user`)."""
    remove_at: str | None = None
    """Where a person can end tokens that we could not revoke: a URL, or the way to it; None: we do not know."""


class RevocationScope(StrEnum):
    """What a revocation ends at the vendor."""

    GRANT = "grant"
    """Only this token pair."""
    ACCOUNT = "account"
    """Every token that the app has for that user or workspace, in all tenants: revoke only with the last connection."""


# --- webhooks ------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SubscriptionRequest:
    """One subscription to make. It is stored with its id and secret before, because deliveries may arrive first."""

    subscription: Subscription
    secret: Secret
    """Random, chosen by us; ignored where the vendor takes none."""
    callback_url: str
    """Where the vendor should deliver: our public URL for this tenant (and connection, where needed)."""
    expires_at: datetime | None = None
    """The expiry to ask for."""


@attrs.frozen(kw_only=True)
class SubscriptionReceipt:
    """What the vendor confirmed."""

    external_id: str
    expires_at: datetime | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What renewal and removal will need; stored with the subscription."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""


class SubscriptionScope(StrEnum):
    """Whose URL a vendor delivers to."""

    TENANT = "tenant"
    """`/webhooks/{provider}/{tenant_id}`."""
    CONNECTION = "connection"
    """`/webhooks/{provider}/{tenant_id}/{connection_id}`, where nothing in a delivery names the mailbox. As a person
    enters it, it ends with an unguessable key."""
    APP = "app"
    """`/webhooks/{provider}`: one URL for all tenants, set in the vendor's app settings or by the app's one hook."""


@attrs.frozen(kw_only=True)
class MissedDelivery:
    """A delivery that failed, according to the vendor's log."""

    delivery_id: str
    """What `VerifiedDelivery.delivery_id` would have been."""
    log_id: str
    """The vendor's id of it in the log, to ask for it again."""
    event: str | None
    """The vendor's name of the event, as in `WebhookEvent.event`."""
    at: datetime


@attrs.frozen(kw_only=True)
class Subscriptions:
    """How subscriptions are made, renewed and removed through the provider's API."""

    targets: Callable[[ProviderApp, Connection], Conversation[tuple[str, ...]]]
    """The subscription targets that this connection should have."""
    subscribe: Callable[[ProviderApp, Connection, SubscriptionRequest], Conversation[SubscriptionReceipt]]
    """Make it, or take over an existing one. Idempotent. Raises RefusedForGoodError for the answers that mean that the
    vendor never pushes the target; every other refusal is tried again soon."""
    unsubscribe: Callable[[ProviderApp, Connection, Subscription], Conversation[None]]
    """Remove it. "Already gone" is success. Raises RefusedForGoodError if it cannot be removed, now or later."""
    renew: Callable[[ProviderApp, Connection, Subscription], Conversation[SubscriptionReceipt]] | None = None
    """Extend it; None where the vendor wants a new one instead, or where nothing expires."""
    probe: Callable[[ProviderApp, Connection, Subscription], Conversation[bool]] | None = None
    """Whether the vendor still has it, and it delivers to its `address` (None: that is not known)."""
    lifetime: timedelta | None = None
    """How long one lives at the vendor; None if it does not expire."""
    missed: (
        Callable[[ProviderApp, Connection, Subscription, datetime], Conversation[tuple[MissedDelivery, ...]]] | None
    ) = None
    """The deliveries since that instant that never arrived here, in any attempt, according to the vendor's log; None
    where the vendor shows no log."""
    redeliver: Callable[[ProviderApp, Connection, Subscription, MissedDelivery], Conversation[None]] | None = None
    """Ask the vendor to send it once more, under the same delivery id."""
    is_one_per_user: bool = False
    """Whether the vendor has one subscription for each user and account (Gmail, Jira): connections to the account whose
    grants have the same key share it, across tenants, and it is removed only with the last of them."""
    remove_at: str | None = None
    """Where a person can remove one that we could not remove, as in `OAuth.remove_at`; or when it ends by itself."""
    address: Callable[[ProviderApp, str], str | None] = lambda app, callback_url: callback_url
    """Where a new subscription delivers to: the given URL of ours, or what the vendor has instead. None: to nothing, so
    none is made."""
    one_address: bool = False
    """Whether a subscription with another address is refused while an old one stands (Jira: one URL per app): then the
    old one is removed first, and what happens in between is read. Else the new one is made first."""


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
    """The subscription's own, else the app's; any may match (two while one rotates). Empty: reject everything."""
    subscription: Subscription | None = None
    """The subscription that the secrets belong to, where they are a subscription's."""
    keys: SigningKeys | None = None
    now: datetime
    via: str = "app"
    connection: Connection | None = None
    """The connection that the URL names."""
    has_url_key: bool = False
    """Whether the URL has the key that only we, and who was given the URL, know."""


class UnknownKeyError(DeliveryRejectedError):
    """The delivery is signed with a key that the key set does not have: a newer one may have it."""


def unknown_key() -> UnknownKeyError:
    """The rejection that makes the caller fetch the key set again."""
    return UnknownKeyError("The signing key is not known.", details=[{"reason": UNKNOWN_KEY}])


def is_unknown_key(error: DeliveryRejectedError) -> bool:
    """Whether the delivery may be accepted with a newer key set."""
    return isinstance(error, UnknownKeyError)


@attrs.frozen(kw_only=True)
class ReadContext:
    """What a provider package may know when it reads a verified event."""

    app: ProviderApp | None
    connections: Sequence[Connection] = ()
    """Candidates: the connection of the subscription or path, else the tenant's, else (app-level URL) none yet."""


@attrs.frozen(kw_only=True)
class Handshake:
    """A first request that announces the secret, and so must be answered before anything can be verified (Zoho
    Mail)."""

    secret: Secret
    """What the vendor announced. Stored once; it never overwrites an existing one."""


@attrs.frozen(kw_only=True)
class Webhooks:
    """How a provider reports events to us."""

    url_scope: SubscriptionScope
    read_hints: Callable[[WebhookRequest], DeliveryHints] = lambda request: DeliveryHints()
    """What the headers claim; never raises on foreign data. The body is not decoded before it is verified."""
    verify: Callable[[WebhookRequest, VerificationMaterial], VerifiedDelivery]
    """Raises DeliveryRejectedError unless the sender is proven; always, where there is no secret. A JWT signed with a
    key that `material.keys` does not have raises `unknown_key()`: the caller then fetches the key set again, once."""
    read_event: Callable[[VerifiedDelivery, ReadContext], WebhookEvent | Ignored]
    """What it says. Raises UnexpectedResponseError for an event that we track and cannot read."""
    read_accounts: Callable[[VerifiedDelivery], tuple[str, ...]] = lambda delivery: ()
    """The accounts that the delivery names, as in `WebhookEvent.account_ids`: if its event cannot be read, a gap opens
    for them. Never raises on foreign data. Left out where the URL or the subscription always names the connection."""
    verify_owner: Callable[[VerifiedDelivery, Connection], None] = lambda delivery, connection: None
    """Raises DeliveryRejectedError for a delivery that is not for this connection, although its URL, its subscription
    or an account names it. Called before `to_signals`, and for deliveries whose event cannot be read."""
    to_signals: Callable[[VerifiedDelivery, WebhookEvent, Connection], WebhookEvent] | None = None
    """Completes the event for one connection, where drafts depend on it (its site, team, mailbox); called for each
    connection that the event is for. None: `read_event` returns complete events."""
    subscriptions: Subscriptions | None = None
    """None where the vendor has no API for it; `manual_setup` then says what a person has to do."""
    manual_setup: str | None = None
    """Steps for the operator, with `{webhook_url}` where the URL goes, without the key of a connection's URL."""
    manual_secret_scope: SubscriptionScope | None = None
    """Which URL has a secret of its own when a person sets the webhook up: a connection's, or the tenant's. None: such
    webhooks, if any, use the app's secret."""
    signing_keys: Callable[[ProviderApp], Conversation[SigningKeys]] | None = None
    """Fetch the vendor's key set."""
    read_delivery_id: Callable[[WebhookRequest], str | None] | None = None
    """The delivery's id where only the body has it; never raises on foreign data. Called after verification."""
    read_subscription_metadata: Callable[[VerifiedDelivery], Mapping[str, Any]] = lambda delivery: {}
    """What a delivery says that the removal of its subscription needs (Google: the resource id of the channel). It is
    added to `Subscription.metadata` where that lacks it: the answer that had it may be lost. Never raises on foreign
    data."""
    read_handshake: Callable[[WebhookRequest], Handshake | None] | None = None
    """The secret that the request announces. It is only taken at a connection's URL with its key."""
    success_status: int = 202
    """The status that the vendor counts as received; 202 unless it insists on another (Zoho: 200)."""
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
    """How a provider's API is read: one conversation per page, resumable at every cursor."""

    start: Callable[[SyncContext, SyncPlan], Conversation[Cursor]]
    """The cursor that the sync run starts from."""
    read_page: Callable[[SyncContext, SyncPlan, Cursor], Conversation[SyncPage]]
    """The page at that cursor. The same cursor gives the same signals again, or later states of them."""
    interpret: Callable[[SyncContext, SyncPlan, Observation, Mapping[str, Any] | None], Interpretation] | None = None
    """What an observation means, compared with the last known state (None: never seen)."""
    poll_interval: timedelta = timedelta(minutes=15)


@attrs.frozen(kw_only=True)
class Streams:
    """How a provider's API is read: one conversation per page, resumable at every cursor.

    The engine decides when, what next, how often again and what is proven; docs/engine.md has its rules. What may be
    raised: `AccessLostError` (the stream, or the thing, is not shown to this connection), `UnexpectedResponseError`,
    and what the conversation raises by itself. Each concerns the stream alone, except limits, dead tokens and a
    vendor that is down.
    """

    discover: Callable[[SyncContext, Window, Cursor | None], Conversation[DiscoveryPage]]
    """A page of the streams that there are; the window says since when its signals are wanted. None: the first page."""
    read_page: Callable[[SyncContext, Stream, Window, Cursor | None], Conversation[StreamPage]]
    """The page of the stream at that cursor. The same cursor gives the same signals again, or later states of them.
    None: the window's first page."""
    read_item: Callable[[SyncContext, Stream, Window, str], Conversation[StreamPage | None]] | None = None
    """One parked thing, by its reference; None if it is gone. The window is all that is wanted of the stream."""
    interpret: Callable[[SyncContext, Window, Observation, Mapping[str, Any] | None], Interpretation] | None = None
    """What an observation means, compared with the last known state (None: never seen)."""
    poll_interval: timedelta = timedelta(minutes=15)
    discovery_interval: timedelta | None = None
    """The least time between two discoveries; None: one with every read."""
    rounds: int = 1
    """How often history is read, all streams once before any is read again; 2 where things move between streams."""
    follows_log: bool = False
    """Whether incremental runs follow the vendor's log of what happens: then nothing that it shows is too old, however
    it is dated (a message that was imported)."""
    split_cursor: Callable[[Cursor], Mapping[str, Cursor]] | None = None
    """The bookmarks, by stream key, in the cursor that a version without streams left; None: there was none, or it is
    not worth it. A stream without one is read again from where its account was read up to."""


# --- limits and families -------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Limits:
    """How a provider refuses requests, and how many it allows."""

    read_failure: Callable[[HttpRequest, HttpResponse, datetime], ConnectorsError]
    """The error for an answer of 400 or above: RateLimitedError (with its instant), ProviderUnavailableError,
    ReauthorizationRequiredError, InsufficientScopeError, AccessLostError, UnexpectedResponseError."""
    read_throttle: Callable[[HttpResponse, datetime], RateLimitedError | None] = lambda response, now: None
    """The rate limit in an answer below 400: a refusal under status 200, or a quota that is down to its reserve."""
    is_unauthorized: Callable[[HttpResponse], bool] = lambda response: response.status == HTTPStatus.UNAUTHORIZED
    """Whether the answer means that the access token is dead: expired, revoked, or its user gone. So must every answer
    for which the package raises a plain ReauthorizationRequiredError. The caller refreshes the token once, and asks
    `OAuth.identify` before it believes it of a token that cannot be refreshed."""
    budgets: Callable[[HttpRequest], tuple[Budget, ...]] = lambda request: ()
    """The limits that a request counts against. Background work stays within them, across all workers."""


@attrs.frozen(kw_only=True)
class Family:
    """Events whose completeness is tracked together."""

    name: str
    """A plural that people know: `issues`."""
    kinds: frozenset[SignalKind] = frozenset()
    events: frozenset[str] = frozenset()
    """The vendor's names of the webhook events in it, with or without their action: `issues`."""
    is_pushed: bool = True
    """Whether webhooks report it."""
    is_read: bool = True
    """Whether an incremental sync run finds all of it."""
    is_backfilled: bool = True
    """Whether a backfill finds all of it within its time range."""


# --- settings ------------------------------------------------------------------------------------------------------


def _is(kind: type[Any], *, of: type[Any] | None = None, or_none: bool = False) -> Callable[..., None]:
    """A validator. What a plugin brings is checked when it is made: a mistake ends its import, not a list of all."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if or_none and value is None:
            return
        if not isinstance(value, kind):
            raise TypeError(f"{attribute.name} is a {type(value).__name__}, expected {kind.__name__}")
        if of is not None:
            wrong = next((one for one in value if not isinstance(one, of)), None)
            if wrong is not None:
                raise TypeError(f"{attribute.name} has a {type(wrong).__name__}, expected {of.__name__}")

    return check


@attrs.frozen
class Reader(Generic[T]):
    """How the text of a setting becomes its value. The usual ones are in `toolbox.options`."""

    read: Callable[[str], T]
    """Gets the text, stripped and not empty. Raises ValueError for a wrong text."""
    expected: str = attrs.field(validator=_is(str))
    """Describes a valid text: completes "expected …" in the error for a wrong one."""


@attrs.frozen
class Option(Generic[T]):
    """A setting that only one provider has. It is read when the service starts; provider packages get the value."""

    reader: Reader[T] = attrs.field(validator=_is(Reader))
    default: T | None = attrs.field(default=None, kw_only=True)
    help: str = attrs.field(kw_only=True)
    """What it is for, in a few words without a full stop."""
    is_secret: bool = attrs.field(default=False, kw_only=True)
    """Whether neither errors nor `connectors settings` may show it. An option whose name says so is a secret anyway."""


COMMON_SETTINGS = frozenset(
    {"client_id", "client_secret", "scopes", "webhook_secret", "base_url", "sync_interval_seconds", "concurrency"}
)
"""The settings that every provider has: no option may have one of these names."""


def is_slug(text: str) -> bool:
    """Whether a provider may have this slug."""
    return re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", text) is not None


def _check_slug(_provider: object, _attribute: object, slug: Any) -> None:
    if not isinstance(slug, str) or not is_slug(slug):
        raise ValueError(f"{slug!r} is not a slug: lower-case letters and digits, with single hyphens between them")


def _check_options(provider: "Provider", _attribute: object, options: Mapping[str, Any]) -> None:
    taken = {*COMMON_SETTINGS, provider.webhook_secret_option}
    for name, option in options.items():
        if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in taken:
            raise ValueError(f"{name!r} cannot be the name of an option")
        if not isinstance(option, Option):
            raise TypeError(f"the option {name} is a {type(option).__name__}, not an Option")


# --- the provider --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Provider:
    """Everything about one provider."""

    slug: ProviderSlug = attrs.field(validator=_check_slug)
    """Part of URLs and, in capitals, of setting names."""
    name: str = attrs.field(validator=_is(str))
    description: str = attrs.field(validator=_is(str))
    homepage: str = attrs.field(validator=_is(str))
    kinds: frozenset[SignalKind] = attrs.field(validator=_is(frozenset, of=SignalKind))
    """Every kind that this provider can emit."""
    oauth: OAuth = attrs.field(validator=_is(OAuth))
    allowed_origins: Callable[[ProviderApp], frozenset[str]]
    """`https://host` of every host that may be called for this provider; no other host ever is."""
    limits: Limits = attrs.field(validator=_is(Limits))
    webhooks: Webhooks | None = attrs.field(default=None, validator=_is(Webhooks, or_none=True))
    streams: Streams | None = attrs.field(default=None, validator=_is(Streams, or_none=True))
    """How its API is read; None where it only sends webhooks. A provider that only has `sync` gets them when it is
    registered."""
    sync: Sync | None = attrs.field(default=None, validator=_is(Sync, or_none=True))
    """The simple form: the whole account is one stream."""
    families: tuple[Family, ...] = attrs.field(default=(), validator=_is(tuple, of=Family))
    """The families of the kinds, each kind in one. Empty: all kinds form one family, `events`."""
    authorization_header: Callable[[Secret], str] = lambda token: f"Bearer {token.reveal()}"
    settings_prefixes: tuple[str, ...] = attrs.field(default=(), validator=_is(tuple, of=str))
    """Shared settings to fall back to, e.g. `("GOOGLE",)`."""
    options: Mapping[str, Option[Any]] = attrs.field(factory=dict, validator=_check_options)
    """Settings that only this provider has, by name: `pubsub_topic` is read from `POBLYSH_<PROVIDER>_PUBSUB_TOPIC`,
    and its value is `ProviderApp.options["pubsub_topic"]`."""
    webhook_secret_option: str = attrs.field(default="webhook_secret", validator=_is(str))
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
        """The families, or the single one of all kinds."""
        if self.families:
            return self.families
        readable = self.streams is not None or self.sync is not None
        pushed = self.webhooks is not None
        return (Family(name="events", kinds=self.kinds, is_pushed=pushed, is_read=readable, is_backfilled=readable),)

    def family_of(self, event: str | None) -> Family | None:
        """The family of a webhook event (`issues.opened`, `issues`), or None if it is unknown."""
        if event is None:
            return None
        name = event.partition(".")[0]
        found = (one for one in self.event_families if one.events & {event, name})
        return next(found, self.event_families[0] if len(self.event_families) == 1 else None)
