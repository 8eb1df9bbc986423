"""Connects accounts: starts the authorization, exchanges the code, stores connections, refreshes on request."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from connectors.domain.flows.connections.authorization import (
    CONNECT_AGAIN,
    Authorizations,
    AuthorizationStart,
    ConnectSettings,
)
from connectors.domain.flows.connections.consents import Claim, Consents, TakenOverError
from connectors.domain.flows.endings.endings import Endings
from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.provider_access.token_answers import token_reader
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.model.connection import Connection, ConnectionStatus, ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ConflictError,
    ConnectorsError,
    InfrastructureError,
    InsufficientScopeError,
    ProviderFailedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    text_with_next_step,
)
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.oauth import (
    AuthorizationRequest,
    CodeExchange,
    Grant,
    GrantState,
    ProviderApp,
    TokenEndpointCall,
    TokenSet,
)
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ConnectFlow:
    """Connects accounts."""

    authorizations: Authorizations
    unit_of_work: UnitOfWorkFactory
    token_endpoint: TokenEndpoint
    converser: Converser
    access: ProviderAccess
    keeper: TokenKeeper
    subscriber: Subscriber
    endings: Endings
    consents: Consents
    clock: Clock
    providers: ProviderRegistry
    settings: ConnectSettings
    ledger: Ledger

    # --- consent -------------------------------------------------------------------------------------------------

    def start_authorization(
        self,
        tenant_id: TenantId,
        provider_slug: str,
        *,
        redirect_uri: str | None = None,
        scopes: Sequence[str] | None = None,
        options: Mapping[str, Any] | None = None,
        connection_id: ConnectionId | None = None,
    ) -> AuthorizationStart:
        """Where to send the user for their consent; records the tenant if it is new.

        Args:
            tenant_id: who the connection will belong to.
            provider_slug: which provider.
            redirect_uri: one of the allowed list, instead of the configured one.
            scopes: instead of the configured or default ones.
            options: what the connection should cover (`repositories`, `organizations`); kept in its metadata.
            connection_id: the connection to connect again; None for whichever account the user chooses.

        Raises:
            ConnectionNotFoundError: the tenant has no such connection.
            ConflictError: that connection is another provider's.
            ProviderNotSupportedError: there is no such provider.
            ProviderNotConfiguredError: its client or our redirect URI is not set here.
            TenantNotFoundError: the nil UUID, which is no tenant.
            ValidationError: that redirect URI is not allowed.
        """
        return self.authorizations.start(
            tenant_id,
            provider_slug,
            redirect_uri=redirect_uri,
            scopes=scopes,
            options=options,
            connection_id=connection_id,
        )

    def complete_authorization(
        self,
        provider_slug: str,
        query: Mapping[str, str],
        *,
        tenant_id: TenantId | None = None,
        may_act_for: Callable[[TenantId], bool] = lambda tenant_id: True,
    ) -> tuple[Connection, ...]:
        """The connections that the consent gave: one with most providers, one for each site with Jira.

        Called again with the same query while the state is valid, it gives the same connections, as they are then, or
        raises the same error, without asking the provider again. What failed before the provider saw the code can be
        tried again.

        Args:
            provider_slug: which provider's redirect this is.
            query: the redirect's query parameters, unchanged.
            tenant_id: whose consent it must be; None for any tenant that the caller may act for.
            may_act_for: whether the caller may act for a tenant; the states of other tenants are unknown to it.

        Raises:
            StateUnknownError: `state` is missing, unknown, expired, or not for this provider, tenant, caller or code.
            AuthorizationDeniedError: the provider sent the user back with an error.
            ValidationError: there is no `code`.
            BusyError: another call with this query does not end.
            ConflictError: the consent is of another account than that of the connection to connect again, or of none.
            ReauthorizationRequiredError: the provider does not accept the code.
            InsufficientScopeError: the user granted less than the connection needs.
            ProviderFailedError: the provider could not be asked, or gave an error.
        """
        provider, app = self.authorizations.get_provider(provider_slug)
        while True:
            request = self.authorizations.take(provider, query, tenant_id=tenant_id, may_act_for=may_act_for)
            if request.outcome is not None:
                return self.authorizations.repeat(request, request.outcome)
            try:
                return self._connect(provider, app, request, query)
            except TakenOverError:
                continue  # we were slow, and another callback has the request: answer what it answers

    def _connect(
        self, provider: Provider, app: ProviderApp, request: AuthorizationRequest, query: Mapping[str, str]
    ) -> tuple[Connection, ...]:
        """Exchange the code of the request that we have taken, store what it gives, and record how it ended."""
        try:
            call = provider.oauth.token_endpoint(app, query)
            exchange = self.authorizations.open_exchange(request, query)
        except Exception:
            self.authorizations.release(request)  # nothing was sent
            raise
        try:
            grant = self.consents.find_kept(request)
            if grant is None:
                token_set = self._exchange(provider, app, call, exchange)
                grant = self.consents.keep(provider, request, token_set)
            else:
                token_set = self.keeper.open(grant)
        except (RateLimitedError, ProviderUnavailableError, InfrastructureError):
            # The same code may be sent again: if it has arrived, the provider refuses it, and ends what it gave.
            self.authorizations.release(request)
            raise
        except TakenOverError:
            raise
        except Exception as error:
            self._fail(request, error)
            raise
        key: str | None = None
        try:
            accounts = self._identify(provider, app, request, token_set)
            key = provider.oauth.grant_key(accounts)
            self._require_account(request, accounts)
            claim = self._claim(provider, request, grant, token_set, accounts)
        except InfrastructureError:
            # Nobody knows whether it was stored. If it was, so was the outcome, and a release changes nothing.
            self.authorizations.release(request)
            raise
        except TakenOverError:
            raise  # the other callback goes on with this grant
        except (RateLimitedError, ProviderUnavailableError) as error:
            # The user has left by the time that we could ask again.
            final = ProviderFailedError(error.message, next_step=CONNECT_AGAIN)
            self._fail(request, final)
            self._discard(grant, key)
            raise final from error
        except Exception as error:
            self._fail(request, error)
            self._discard(grant, key)
            raise
        connections = tuple(self._subscribe(connection) for connection in claim.connections)
        self.endings.try_now(request.tenant_id, claim.ending)
        return connections

    def _discard(self, grant: Grant, key: str | None) -> None:
        try:
            begun = self.consents.discard(grant, key)
        except InfrastructureError as error:
            log.warning("grant_not_discarded", extra={"reason": error.message})  # a worker does it
        else:
            self.endings.try_now(grant.tenant_id, begun)

    def _fail(self, request: AuthorizationRequest, error: Exception) -> None:
        if not self.authorizations.fail(request, error):
            raise TakenOverError from error

    def _exchange(
        self, provider: Provider, app: ProviderApp, call: TokenEndpointCall, exchange: CodeExchange
    ) -> TokenSet:
        read = token_reader(provider, self.clock, None)
        try:
            return self.token_endpoint.exchange_code(app, call, exchange, read)
        except ProviderFailedError as error:
            if not error.outcome_unknown:
                raise
        # Once more, at once: either the code never arrived and still works, or the vendor refuses it, and what it gave
        # for it is lost in any case (RFC 6749 §4.1.2 lets it revoke that).
        return self.token_endpoint.exchange_code(app, call, exchange, read)

    def _identify(
        self, provider: Provider, app: ProviderApp, request: AuthorizationRequest, token_set: TokenSet
    ) -> tuple[ExternalAccount, ...]:
        """The accounts of a consent that gave what the request asked for."""
        self._require_scopes(provider, app, request, token_set)
        try:
            return self.converser.run(provider, app, provider.oauth.identify(app, token_set), FixedTokens(token_set))
        except AccessLostError as error:
            # There is none, which only the user can change.
            raise ConflictError(error.message, next_step=error.next_step or CONNECT_AGAIN) from error

    def _claim(
        self,
        provider: Provider,
        request: AuthorizationRequest,
        grant: Grant,
        token_set: TokenSet,
        accounts: Sequence[ExternalAccount],
    ) -> Claim:
        try:
            return self.consents.claim(provider, request, grant, token_set, accounts)
        except ConflictError:
            # Another consent of this user was stored between our read and our write. A second try replaces it.
            return self.consents.claim(provider, request, grant, token_set, accounts)

    def _require_account(self, request: AuthorizationRequest, accounts: Sequence[ExternalAccount]) -> None:
        """Check that the consent is of the account of the connection to connect again, if one was asked for."""
        if request.connection_id is None:
            return
        with self.unit_of_work() as uow:
            asked = uow.connections.get(request.tenant_id, request.connection_id).account
        if asked.id in {one.id for one in accounts}:
            return
        names = ", ".join(one.name for one in accounts)
        raise ConflictError(
            "The consent is of another account than the connection.",
            details=[
                {
                    "field": "connection_id",
                    "message": f"is a connection of {asked.name}, the consent is of {names}",
                    "connection_account": asked.name,
                    "consent_accounts": [one.name for one in accounts],
                }
            ],
            next_step=f"Start again with POST /connect/{{provider}}, and consent as {asked.name}.",
        )

    def _require_scopes(
        self, provider: Provider, app: ProviderApp, request: AuthorizationRequest, token_set: TokenSet
    ) -> None:
        missing = provider.oauth.required_scopes(app, request.scopes) - set(token_set.scopes)
        if missing:
            names = ", ".join(sorted(missing))
            operators_step = provider.oauth.explain_missing_scopes(token_set)
            if operators_step is not None:
                raise ClientRejectedError(f"Our app cannot be granted {names}.", next_step=operators_step)
            raise InsufficientScopeError(
                f"The user did not grant what this connection needs: {names}.", next_step=CONNECT_AGAIN
            )

    def _subscribe(self, connection: Connection) -> Connection:
        """Subscribe to webhooks. An error is recorded on the connection, which works without them."""
        session = self.access.open(connection)
        try:
            made = self.subscriber.subscribe_all(session)
            error = next((one.error for one in made if one.error is not None and not one.is_settled), None)
        except Exception as failure:
            # The account is connected in any case: a wrong option, a vendor's refusal or a bug of the provider's
            # package costs the webhooks only. Maintenance tries again.
            error = text_with_next_step(failure)
            if not isinstance(failure, ConnectorsError):
                log.exception("subscription_crashed", extra={"connection_id": str(connection.id)})
        with self.unit_of_work() as uow:
            present = uow.connections.get(connection.tenant_id, connection.id, lock=True)
            if present.status is not ConnectionStatus.ACTIVE:
                return present  # the connection has ended meanwhile
            self._note_stream(uow, session.provider, present)
            if error is None:
                return present
            return uow.connections.save(attrs.evolve(present, webhook_error=error, updated_at=self.clock.now()))

    def _note_stream(self, uow: UnitOfWork, provider: Provider, connection: Connection) -> None:
        made = uow.subscriptions.list_of_connection(connection.tenant_id, connection.id)
        wanted = [one for one in made if one.is_wanted]
        if wanted and all(one.status is SubscriptionStatus.ACTIVE for one in wanted):
            self.ledger.note_stream_whole(uow, connection, provider)

    # --- refreshing ----------------------------------------------------------------------------------------------

    def refresh(self, tenant_id: TenantId, connection_id: ConnectionId) -> Connection:
        """The connection, its tokens refreshed now.

        Tokens that do not expire are checked with the provider instead. A temporary failure does not change the
        connection's status.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            TenantNotFoundError: it is being erased.
            ProviderNotSupportedError: its provider is not installed here.
            ReauthorizationRequiredError: the user has to connect the account again.
            ProviderFailedError: the provider could not be asked, or gave an error.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            uow.tenants.get(tenant_id)  # raises if it is being erased
            grant = None if connection.grant_id is None else uow.grants.get(tenant_id, connection.grant_id)
        if grant is None or grant.state is not GrantState.LIVE:
            raise ReauthorizationRequiredError("The connection's tokens are gone.", next_step=CONNECT_AGAIN)
        provider, app = self.authorizations.get_provider(self.providers.get_stored(connection.provider).slug)
        token_set = self.keeper.open(grant)
        if token_set.refresh_token is None and not any(one.refresh_token for one in token_set.companions.values()):
            self.access.open(connection).run(provider.oauth.identify(app, token_set))
            self.keeper.record_working(grant)
        else:
            self.keeper.refresh(tenant_id, grant.id, seen_version=grant.version)
        with self.unit_of_work() as uow:
            return uow.connections.get(tenant_id, connection_id)
