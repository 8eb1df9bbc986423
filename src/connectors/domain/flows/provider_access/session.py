"""Sessions: access to a provider for one connection, with its tokens and within its limits."""

from collections.abc import Mapping
from typing import TypeVar

import attrs

from connectors.domain.flows.provider_access.conversations import Converser, TokenSource
from connectors.domain.flows.provider_access.rate_limits import RateLimiter, limit_subjects
from connectors.domain.flows.provider_access.token_sources import ConnectionTokens, GrantTokens
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ProviderNotConfiguredError, ReauthorizationRequiredError
from connectors.domain.model.http import Conversation
from connectors.domain.model.ids import GrantId, ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Provider, Subscriptions
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWorkFactory

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class ProviderSession:
    """Access to a provider's API for one connection."""

    provider: Provider
    app: ProviderApp
    connection: Connection
    converser: Converser = attrs.field(repr=False)
    tokens: TokenSource = attrs.field(repr=False)
    limiter: RateLimiter | None = attrs.field(default=None, repr=False)
    """Keeps background work within the vendor's limits; None for interactive calls."""

    @property
    def subscriptions(self) -> Subscriptions | None:
        """How the provider's webhook subscriptions are made; None if it has no API for that."""
        return None if self.provider.webhooks is None else self.provider.webhooks.subscriptions

    def run(self, conversation: Conversation[T]) -> T:
        """What the conversation returns. Raises what `Converser.run` raises."""
        return self.converser.run(self.provider, self.app, conversation, self.tokens, limiter=self.limiter)


@attrs.frozen(kw_only=True)
class ProviderAccess:
    """Opens sessions. Nothing is sent before a session runs a conversation."""

    unit_of_work: UnitOfWorkFactory
    converser: Converser
    keeper: TokenKeeper
    clock: Clock
    telemetry: Telemetry
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]

    def open(
        self, connection: Connection, *, in_background: bool = False, grant_id: GrantId | None = None
    ) -> ProviderSession:
        """A session for the connection.

        Args:
            connection: whose tokens are used.
            grant_id: of another grant whose tokens are used instead: only they can remove what they have made.
            in_background: for work that no user waits for; it keeps within the limits that all workers share.

        Raises:
            ProviderNotSupportedError: the connection's provider is not installed here.
            ProviderNotConfiguredError: the provider has no client id and secret here.
            ReauthorizationRequiredError: the connection's tokens are gone.
        """
        provider = self.providers.get_stored(connection.provider)
        app = self.apps.get(provider.slug)
        if app is None:
            raise ProviderNotConfiguredError(f"{provider.name} is not configured here.")
        tokens: TokenSource = ConnectionTokens(self.keeper, connection.tenant_id, connection.id)
        if grant_id is not None:
            tokens = GrantTokens(self.keeper, connection.tenant_id, grant_id)
        elif connection.grant_id is None or connection.status is ConnectionStatus.REVOKED:
            raise ReauthorizationRequiredError("The connection's tokens are gone.")
        return ProviderSession(
            provider=provider,
            app=app,
            connection=connection,
            converser=self.converser,
            tokens=tokens,
            limiter=self._limiter(provider, app, connection) if in_background else None,
        )

    def _limiter(self, provider: Provider, app: ProviderApp, connection: Connection) -> RateLimiter:
        return RateLimiter(
            unit_of_work=self.unit_of_work,
            clock=self.clock,
            telemetry=self.telemetry,
            provider=provider,
            subjects=limit_subjects(app, connection),
        )
