"""OAuth 2.0 as values (RFC 6749, 7636, 9700): our registration, a pending authorization, and what a grant holds."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs

from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.secret import SealedSecret, Secret

REFRESH_MARGIN = timedelta(seconds=60)
"""A token this close to its end is stale: it could die between our check and the provider's."""


@attrs.frozen(kw_only=True)
class ProviderApp:
    """Our registration ("client", RFC 6749 §2) at one provider, as the operator configured it."""

    provider: ProviderSlug
    client_id: str
    client_secret: Secret
    scopes: tuple[str, ...] = ()
    """What to ask for; empty means the package's defaults."""
    webhook_secrets: tuple[Secret, ...] = ()
    """App-level webhook secrets, newest first; two are valid while one rotates."""
    base_url: str | None = None
    """Every call goes below this URL instead of the vendor's hosts: the sandbox, GitHub Enterprise."""
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The values of the settings that only this provider has (Gmail's `pubsub_topic`), by name: every option of
    `Provider.options` is there, with its default where it is not set."""


class ClientAuthentication(StrEnum):
    """How the token endpoint learns that it is us (RFC 6749 §2.3.1)."""

    BODY = "client_secret_post"
    BASIC = "client_secret_basic"


class BodyFormat(StrEnum):
    """How the token endpoint wants its parameters."""

    FORM = "form"
    JSON = "json"
    """Not RFC 6749, but Atlassian's."""


@attrs.frozen(kw_only=True)
class TokenEndpointCall:
    """Where and how a package's token endpoint is called."""

    url: str
    client_authentication: ClientAuthentication = ClientAuthentication.BODY
    body_format: BodyFormat = BodyFormat.FORM
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class TokenSet:
    """One token pair, readable."""

    access_token: Secret
    refresh_token: Secret | None = None
    token_type: str = "bearer"  # noqa: S105 - RFC 6750's name of a type
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    refresh_expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """What else the provider said and the package needs later (data centre, team): JSON values, no secrets."""
    companions: Mapping[str, "TokenSet"] = attrs.field(factory=dict)
    """Other pairs of the same consent, by name (Slack's `user`)."""

    def is_fresh(self, now: datetime) -> bool:
        """Whether the access token outlives `now` by the refresh margin. Without an expiry it is always fresh."""
        return self.expires_at is None or now + REFRESH_MARGIN < self.expires_at


@attrs.frozen(kw_only=True)
class CodeExchange:
    """What the redirect brought back, ready for the token endpoint (RFC 6749 §4.1.3)."""

    code: Secret
    redirect_uri: str
    code_verifier: Secret | None = None


@attrs.frozen(kw_only=True)
class AuthorizationRequest:
    """A consent that was asked for and not yet answered. It is consumed once or expires."""

    state_hash: bytes = attrs.field(repr=False)
    """SHA-256 of `state`: someone who reads the table cannot finish anybody's flow."""
    tenant_id: TenantId
    provider: ProviderSlug
    redirect_uri: str
    scopes: tuple[str, ...]
    verifier_id: UUID
    """What the code verifier was sealed for."""
    code_verifier: SealedSecret | None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """What the caller wants of the connection (chosen repositories): becomes part of its metadata."""
    created_at: datetime = attrs.field(converter=utc)
    expires_at: datetime = attrs.field(converter=utc)


@attrs.frozen(kw_only=True)
class Grant:
    """What one user's consent gave: a token pair, shared by every connection that lives on it."""

    id: GrantId
    tenant_id: TenantId
    provider: ProviderSlug
    grant_key: str
    """Unique in (tenant, provider): whose consent it is. A second consent replaces the pair, never copies it."""
    token_set: SealedSecret
    expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    refresh_expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    version: int = 1
    """Grows with every stored pair: the loser of a refresh race sees that somebody else has been here."""
    refresh_attempted_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Set before the refresh token goes out, cleared with the answer: found set, the outcome is unknown."""
    created_at: datetime = attrs.field(converter=utc)
    updated_at: datetime = attrs.field(converter=utc)


@attrs.frozen(kw_only=True)
class RefreshLease:
    """The right to refresh one grant until `expires_at`. A holder that died loses it by time alone."""

    grant_id: GrantId
    fencing_token: int
    """Grows with every lease: what a late holder writes with an old number is refused."""
    expires_at: datetime = attrs.field(converter=utc)
