"""OAuth 2.0 as values (RFC 6749, 7636, 9700): our registration, an authorization request, and a grant."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs

from connectors.domain.model.ending import Ending
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.secret import SealedSecret, Secret

REFRESH_MARGIN = timedelta(seconds=60)
"""A token this close to its expiry is stale: it could expire between our check and the provider's."""


@attrs.frozen(kw_only=True)
class ProviderApp:
    """Our registration ("client", RFC 6749 §2) at one provider, as the operator configured it."""

    provider: ProviderSlug
    client_id: str
    client_secret: Secret
    scopes: tuple[str, ...] = ()
    """The scopes to request; empty means the provider package's defaults."""
    webhook_secrets: tuple[Secret, ...] = ()
    """App-level webhook secrets, newest first; two are valid during a rotation."""
    base_url: str | None = None
    """All calls go below this URL instead of the vendor's hosts: the sandbox, GitHub Enterprise."""
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Values of the settings that only this provider has (Gmail's `pubsub_topic`), by name. Every option of
    `Provider.options` is present, with its default if it is not set."""


class ClientAuthentication(StrEnum):
    """How the client authenticates at the token endpoint (RFC 6749 §2.3.1)."""

    BODY = "client_secret_post"
    BASIC = "client_secret_basic"


class BodyFormat(StrEnum):
    """The format of the token endpoint's parameters."""

    FORM = "form"
    JSON = "json"
    """Not in RFC 6749; Atlassian's."""


@attrs.frozen(kw_only=True)
class TokenEndpointCall:
    """Where and how a provider's token endpoint is called."""

    url: str
    client_authentication: ClientAuthentication = ClientAuthentication.BODY
    body_format: BodyFormat = BodyFormat.FORM
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class TokenSet:
    """One token pair, in plain text."""

    access_token: Secret
    refresh_token: Secret | None = None
    token_type: str = "bearer"  # noqa: S105 - RFC 6750's name of a type
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    refresh_expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Whatever else the provider sent that the provider package needs later (data centre, team): JSON values, no
    secrets."""
    companions: Mapping[str, "TokenSet"] = attrs.field(factory=dict)
    """Other pairs of the same consent, by name (Slack's `user`)."""

    def is_fresh(self, now: datetime) -> bool:
        """Whether the access token is valid beyond the refresh margin. Without an expiry it is always fresh."""
        return self.expires_at is None or now + REFRESH_MARGIN < self.expires_at


@attrs.frozen(kw_only=True)
class CodeExchange:
    """The parameters of the redirect, ready for the token endpoint (RFC 6749 §4.1.3)."""

    code: Secret
    redirect_uri: str
    code_verifier: Secret | None = None


@attrs.frozen(kw_only=True)
class AuthorizationProblem:
    """Why an authorization request gave no connection, as the caller was told."""

    code: str
    """The error's."""
    message: str
    details: Sequence[Mapping[str, Any]] = ()
    next_step: str | None = None


@attrs.frozen(kw_only=True)
class AuthorizationOutcome:
    """How an authorization request ended: with connections, or with a problem."""

    finished_at: datetime = attrs.field(converter=utc)
    connection_ids: tuple[ConnectionId, ...] = ()
    problem: AuthorizationProblem | None = None


@attrs.frozen(kw_only=True)
class AuthorizationRequest:
    """A request for consent. One callback at a time takes it; it keeps its outcome until it expires."""

    state_hash: bytes = attrs.field(repr=False)
    """SHA-256 of `state`: somebody who can read the table cannot complete anybody's flow."""
    tenant_id: TenantId
    provider: ProviderSlug
    redirect_uri: str
    scopes: tuple[str, ...]
    verifier_id: UUID
    """The id that the code verifier was sealed for."""
    code_verifier: SealedSecret | None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """The caller's options for the connection (chosen repositories); they become part of its metadata."""
    connection_id: ConnectionId | None = None
    """The connection that the consent must be for; None for any."""
    created_at: datetime = attrs.field(converter=utc)
    expires_at: datetime = attrs.field(converter=utc)
    taken_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When the last callback took it, which also tells two takers apart."""
    leased_until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Until when only that callback may exchange the code."""
    code_hash: bytes | None = attrs.field(default=None, repr=False)
    """SHA-256 of the first callback's code: no other code is accepted afterwards."""
    grant_id: GrantId | None = None
    """The grant that the code gave. If its callback dies, the next one goes on with it: no code works twice."""
    outcome: AuthorizationOutcome | None = None


class GrantState(StrEnum):
    """Where a grant is in its life."""

    NEW = "new"
    """Its tokens are stored, and nobody knows yet whose they are. If its callback dies, it is ended."""
    LIVE = "live"
    """Connections use it."""
    ENDING = "ending"
    """Nobody uses it any more, and the vendor has not confirmed yet that its tokens are gone."""
    ENDED = "ended"
    """Its tokens are gone at the vendor, or die with another grant of the same consent."""
    LEFT = "left"
    """We could not end it: its tokens may live on at the vendor, and nobody has them."""


@attrs.frozen(kw_only=True)
class Grant:
    """The result of one consent: a token pair, shared by every connection that uses it. Each consent is a new one."""

    id: GrantId
    tenant_id: TenantId
    provider: ProviderSlug
    state: GrantState = GrantState.LIVE
    grant_key: str | None
    """Whose consent it is; None while that is not known. One live grant of a tenant and provider has it."""
    token_set: SealedSecret | None
    """None once it is ended or left: the secret is destroyed."""
    expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    refresh_expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    version: int = 1
    """Grows with every stored pair, so that the loser of a refresh race sees that the pair has changed."""
    refresh_attempted_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Since when a refresh token that was sent has an unknown outcome: set before it is sent, by the database's clock,
    and cleared with a response that says what became of it."""
    refresh_sent_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When it was sent for the last time since."""
    ending: Ending | None = None
    """Set from ENDING on."""
    created_at: datetime = attrs.field(converter=utc)
    updated_at: datetime = attrs.field(converter=utc)


@attrs.frozen(kw_only=True)
class RefreshLease:
    """The right to refresh one grant until `expires_at`. If the holder dies, the lease simply expires."""

    grant_id: GrantId
    fencing_token: int
    """Grows with every lease; a late holder's write with an old number is refused."""
    expires_at: datetime = attrs.field(converter=utc)
