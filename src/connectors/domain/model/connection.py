"""Connections: one external account of one tenant at one provider."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.model.errors import IllegalTransitionError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.instant import optional_utc, utc


@attrs.frozen(kw_only=True)
class ExternalAccount:
    """Who we are connected to, in the provider's words."""

    id: str
    """Stable at the provider; (tenant, provider, account id) is unique among connections."""
    name: str
    url: str | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What the provider package needs to remember about it: JSON values, no secrets."""


class ConnectionStatus(StrEnum):
    """Whether a connection works, and if not, who can change that."""

    ACTIVE = "active"
    REAUTHORIZATION_REQUIRED = "reauthorization_required"
    """The grant is dead: the user has to connect again."""
    DISABLED = "disabled"
    """Switched off here by an operator."""
    REVOKED = "revoked"
    """Ended: disconnected here, or revoked at the provider."""


class ReasonCode(StrEnum):
    """Why a connection is not active, or needs attention, for programs. `health.reason_of` gives those of active
    connections, which are not stored."""

    REFRESH_TOKEN_DEAD = "refresh_token_dead"  # noqa: S105 - a reason's name
    """The provider no longer accepts the refresh token."""
    REFRESH_LOST = "refresh_lost"
    """A refresh was interrupted, and the new tokens never reached us."""
    TOKEN_DEAD = "token_dead"  # noqa: S105 - a reason's name
    """The provider no longer accepts the access token, and it cannot be refreshed."""
    USER_DISCONNECTED = "user_disconnected"
    """Ended here, at the user's request."""
    WITHDRAWN_AT_PROVIDER = "withdrawn_at_provider"
    """The user or an administrator ended it at the provider."""
    TENANT_ERASED = "tenant_erased"
    """Its tenant was erased."""
    OPERATOR = "operator"
    """Switched off here by an operator."""
    BEING_CHECKED = "being_checked"
    """The provider has said that it ended, and is asked whether that is so."""
    NO_REFRESH_TOKEN = "no_refresh_token"  # noqa: S105 - a reason's name
    """The consent brought no refresh token: the connection works until its access token expires."""
    WEBHOOKS_FAILING = "webhooks_failing"
    """Events may not arrive."""
    STREAMS_ASIDE = "streams_aside"
    """Something cannot be read for now."""


TRANSITIONS: Mapping[ConnectionStatus, frozenset[ConnectionStatus]] = {
    ConnectionStatus.ACTIVE: frozenset(
        {ConnectionStatus.REAUTHORIZATION_REQUIRED, ConnectionStatus.DISABLED, ConnectionStatus.REVOKED}
    ),
    ConnectionStatus.REAUTHORIZATION_REQUIRED: frozenset(
        {ConnectionStatus.ACTIVE, ConnectionStatus.DISABLED, ConnectionStatus.REVOKED}
    ),
    ConnectionStatus.DISABLED: frozenset({ConnectionStatus.ACTIVE, ConnectionStatus.REVOKED}),
    # A user who connects the same account again revives the connection, its signals and its history.
    ConnectionStatus.REVOKED: frozenset({ConnectionStatus.ACTIVE}),
}
"""Every legal change of status. Keeping the same status is always legal and changes nothing."""


@attrs.frozen(kw_only=True)
class Connection:
    """One external account, connected for one tenant."""

    id: ConnectionId
    tenant_id: TenantId
    provider: ProviderSlug
    account: ExternalAccount
    grant_id: GrantId | None
    """None once disconnected: the secrets are deleted."""
    status: ConnectionStatus = ConnectionStatus.ACTIVE
    status_reason: str | None = None
    """Why it is not active, as a sentence for operators."""
    reason_code: ReasonCode | None = None
    """The same for programs. Of an active connection: what its consent lacks, or None."""
    scopes: tuple[str, ...] = ()
    """The granted scopes, which may be fewer than those requested."""
    expires_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """The provider package's own: chosen repositories, data centre. JSON values, no secrets."""
    last_synced_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    sync_error: str | None = None
    """Why a read has failed; None once the whole account can be read again."""
    webhook_error: str | None = None
    """Why events may not arrive; None once all webhook subscriptions work."""
    end_error: str | None = None
    """What the provider refused when the connection ended: removing a subscription, revoking the grant."""
    suspected_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Since when the provider is said to have ended it, and no call has proven that yet."""
    created_at: datetime = attrs.field(converter=utc)
    consented_at: datetime = attrs.field(
        default=attrs.Factory(lambda self: self.created_at, takes_self=True), converter=utc
    )
    """When the user last consented. What the provider says of the time before does not concern it."""
    updated_at: datetime = attrs.field(converter=utc)

    @property
    def last_error(self) -> str | None:
        """All errors in one text for people, or None."""
        webhooks = None if self.webhook_error is None else f"Webhooks: {self.webhook_error}"
        together = "; ".join(error for error in (self.sync_error, webhooks, self.end_error) if error)
        return together.replace(".; ", "; ") or None  # each is a sentence by itself, or words of the vendor

    def moved_to(
        self, status: ConnectionStatus, *, at: datetime, reason: str | None = None, code: ReasonCode | None = None
    ) -> "Connection":
        """The connection with another status.

        Raises:
            IllegalTransitionError: `TRANSITIONS` does not allow it.
        """
        if status is self.status and (reason, code) == (self.status_reason, self.reason_code):
            return self
        if status is not self.status and status not in TRANSITIONS[self.status]:
            raise IllegalTransitionError(f"a connection cannot go from {self.status} to {status}")
        return attrs.evolve(self, status=status, status_reason=reason, reason_code=code, updated_at=at)
