"""Connects accounts: starts the authorization, exchanges the code, stores connections, refreshes on request."""

import base64
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.provider_access.token_answers import token_reader
from connectors.domain.flows.provider_access.token_sets import earliest_expiry
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.model.connection import Connection, ConnectionStatus, ExternalAccount
from connectors.domain.model.errors import (
    AuthorizationDeniedError,
    ConflictError,
    ConnectorsError,
    InsufficientScopeError,
    ProviderFailedError,
    ProviderNotConfiguredError,
    ReauthorizationRequiredError,
    StateUnknownError,
    TenantNotFoundError,
    ValidationError,
    error_text,
)
from connectors.domain.model.ids import UNROUTED, ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import AuthorizationRequest, CodeExchange, Grant, ProviderApp, TokenSet
from connectors.domain.model.secret import Secret, SecretContext, SecretPurpose
from connectors.domain.model.sync import JobType
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import AuthorizationParams, Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from connectors.ports.vault import Vault

FIRST_MAINTENANCE = timedelta(minutes=10)
"""When a new connection's subscriptions are maintained for the first time."""

CONNECT_AGAIN = "Start again with POST /connect/{provider}."

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ConnectSettings:
    """What an operator sets about connecting."""

    redirect_uri: str | None = None
    """Core's callback, with `{provider}` where the slug goes."""
    allowed_redirect_uris: tuple[str, ...] = ()
    """What a caller may ask for instead, to the letter."""
    state_lifetime: timedelta = timedelta(minutes=10)
    """As long as most vendors keep a code valid."""
    backfill: timedelta | None = timedelta(days=30)
    """How far back the first backfill goes; None for none."""


@attrs.frozen(kw_only=True)
class AuthorizationStart:
    """Where to send the user."""

    authorize_url: str = attrs.field(repr=False)
    state_expires_at: datetime


@attrs.frozen(kw_only=True)
class ConnectFlow:
    """Connects accounts."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    token_endpoint: TokenEndpoint
    converser: Converser
    access: ProviderAccess
    keeper: TokenKeeper
    subscriber: Subscriber
    disconnect: DisconnectFlow
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    settings: ConnectSettings
    jobs: SyncJobs
    scheduler: Scheduler
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
    ) -> AuthorizationStart:
        """Where to send the user for their consent; records the tenant if it is new.

        Args:
            tenant_id: who the connection will belong to.
            provider_slug: which provider.
            redirect_uri: one of the allowed list, instead of the configured one.
            scopes: instead of the configured or default ones.
            options: what the connection should cover (`repositories`, `organizations`); kept in its metadata.

        Raises:
            ProviderNotSupportedError: there is no such provider.
            ProviderNotConfiguredError: its client or our redirect URI is not set here.
            TenantNotFoundError: the nil UUID, which is no tenant.
            ValidationError: that redirect URI is not allowed.
        """
        if tenant_id == UNROUTED:
            raise TenantNotFoundError("The nil UUID is not a tenant.")
        provider, app = self._provider(provider_slug)
        target = self._redirect_uri(provider, redirect_uri)
        state = self.entropy.token()
        verifier = Secret(self.entropy.token()) if provider.oauth.pkce else None
        now = self.clock.now()
        verifier_id = self.entropy.uuid7(now)
        requested_scopes = tuple(scopes) if scopes else app.scopes or default_scopes(provider)
        request = AuthorizationRequest(
            state_hash=hash_state(state),
            tenant_id=tenant_id,
            provider=provider.slug,
            redirect_uri=target,
            scopes=requested_scopes,
            verifier_id=verifier_id,
            code_verifier=None if verifier is None else self.vault.seal(verifier, _verifier(tenant_id, verifier_id)),
            options=dict(options or {}),
            created_at=now,
            expires_at=now + self.settings.state_lifetime,
        )
        with self.unit_of_work() as uow:
            uow.tenants.record(Tenant(id=tenant_id, created_at=now))
            uow.authorization_requests.issue(request)
        params = AuthorizationParams(
            state=state,
            redirect_uri=target,
            scopes=requested_scopes,
            code_challenge=None if verifier is None else s256_challenge(verifier),
        )
        return AuthorizationStart(
            authorize_url=provider.oauth.authorize_url(app, params), state_expires_at=request.expires_at
        )

    def complete_authorization(
        self,
        provider_slug: str,
        query: Mapping[str, str],
        *,
        may_act_for: Callable[[TenantId], bool] = lambda tenant_id: True,
    ) -> tuple[Connection, ...]:
        """The connections that the consent gave: one with most providers, one for each site with Jira.

        Args:
            provider_slug: which provider's redirect this is.
            query: the redirect's query parameters, unchanged.
            may_act_for: whether the caller may act for a tenant; the states of other tenants are unknown to it.

        Raises:
            StateUnknownError: `state` is missing, unknown, used, expired, or not for this provider or caller.
            AuthorizationDeniedError: the provider sent the user back with an error.
            ValidationError: there is no `code`.
            ReauthorizationRequiredError: the provider does not accept the code.
            InsufficientScopeError: the user granted less than the connection needs.
            ProviderFailedError: the provider could not be asked, or gave an error.
        """
        provider, app = self._provider(provider_slug)
        request = self._consume(provider, query.get("state"), may_act_for)
        if "error" in query:
            raise AuthorizationDeniedError(
                "The authorization was not granted.",
                details=[{"field": "error", "message": _printable(query["error"])}],
                next_step=CONNECT_AGAIN,
            )
        code = query.get("code")
        if not code:
            raise ValidationError(
                "The redirect brought no code.", details=[{"field": "code", "message": "is required"}]
            )
        token_set = self._exchange(provider, app, request, code, query)
        try:
            self._require_scopes(provider, app, request, token_set)
            conversation = provider.oauth.identify(app, token_set)
            accounts = self.converser.run(provider, app, conversation, FixedTokens(token_set))
        except ConnectorsError:
            self.disconnect.revoke(provider, app, token_set)
            raise
        try:
            connections = self._store(provider, request, token_set, accounts)
        except ConflictError:
            # Another consent of this user was stored between our read and our write. A second try replaces it.
            connections = self._store(provider, request, token_set, accounts)
        return tuple(self._subscribe(connection) for connection in connections)

    def _consume(
        self, provider: Provider, state: str | None, may_act_for: Callable[[TenantId], bool]
    ) -> AuthorizationRequest:
        unknown = StateUnknownError(
            "This state is not known: it was used, has expired, or never was.", next_step=CONNECT_AGAIN
        )
        if not state:
            raise unknown
        with self.unit_of_work() as uow:
            request = uow.authorization_requests.consume(hash_state(state), now=self.clock.now())
        if request is None or request.provider != provider.slug or not may_act_for(request.tenant_id):
            raise unknown
        return request

    def _exchange(
        self,
        provider: Provider,
        app: ProviderApp,
        request: AuthorizationRequest,
        code: str,
        query: Mapping[str, str],
    ) -> TokenSet:
        verifier = None
        if request.code_verifier is not None:
            verifier = self.vault.open(request.code_verifier, _verifier(request.tenant_id, request.verifier_id))
        exchange = CodeExchange(code=Secret(code), redirect_uri=request.redirect_uri, code_verifier=verifier)
        call, read = provider.oauth.token_endpoint(app, query), token_reader(provider, self.clock, None)
        try:
            return self.token_endpoint.exchange_code(app, call, exchange, read)
        except ProviderFailedError as error:
            if not error.outcome_unknown:
                raise
        # Once more, at once: either the code never arrived and still works, or the vendor refuses it, and what it gave
        # for it is lost in any case (RFC 6749 §4.1.2 lets it revoke that).
        return self.token_endpoint.exchange_code(app, call, exchange, read)

    def _require_scopes(
        self, provider: Provider, app: ProviderApp, request: AuthorizationRequest, token_set: TokenSet
    ) -> None:
        missing = provider.oauth.required_scopes(app, request.scopes) - set(token_set.scopes)
        if missing:
            names = ", ".join(sorted(missing))
            raise InsufficientScopeError(
                f"The user did not grant what this connection needs: {names}.", next_step=CONNECT_AGAIN
            )

    def _store(
        self,
        provider: Provider,
        request: AuthorizationRequest,
        token_set: TokenSet,
        accounts: Sequence[ExternalAccount],
    ) -> tuple[Connection, ...]:
        """Store the grant and its connections, in one transaction with their first jobs."""
        now = self.clock.now()
        grant_key = provider.oauth.grant_key(accounts)
        with self.unit_of_work() as uow:
            present = uow.grants.find_by_key(request.tenant_id, provider.slug, grant_key, lock=True)
            grant_id = GrantId(self.entropy.uuid7(now)) if present is None else present.id
            grant = uow.grants.save(
                Grant(
                    id=grant_id,
                    tenant_id=request.tenant_id,
                    provider=provider.slug,
                    grant_key=grant_key,
                    token_set=self.keeper.seal(request.tenant_id, grant_id, token_set),
                    expires_at=earliest_expiry(token_set),
                    refresh_expires_at=token_set.refresh_expires_at,
                    created_at=now,
                    updated_at=now,
                )
            )
            if grant.id != grant_id:
                # Two consents of one user at the same instant: the other grant was stored first, without our tokens.
                raise ConflictError("The same account is being connected twice at once.", next_step=CONNECT_AGAIN)
            found = (uow.connections.find_by_account(grant.tenant_id, grant.provider, one.id) for one in accounts)
            former = [one for one in found if one is not None]
            for one in sorted(former, key=lambda one: (one.created_at, one.id)):
                # The oldest first, as everywhere: the vendor lists its sites in any order, and that could deadlock.
                uow.connections.get(one.tenant_id, one.id, lock=True)
            stored = tuple(self._store_connection(uow, request, grant, token_set, account, now) for account in accounts)
            # In one order everywhere, so that two consents at once cannot deadlock.
            for grant_id in sorted({one.grant_id for one in former if one.grant_id is not None}):
                # An account was connected through another user's grant before. A grant without connections is deleted.
                if not uow.connections.list_by_grant(grant.tenant_id, grant_id):
                    uow.grants.delete(grant.tenant_id, grant_id)
            self.keeper.plan_refresh(uow, provider, request.tenant_id, grant.id, token_set)
            return stored

    def _store_connection(
        self,
        uow: UnitOfWork,
        request: AuthorizationRequest,
        grant: Grant,
        token_set: TokenSet,
        account: ExternalAccount,
        now: datetime,
    ) -> Connection:
        known = uow.connections.find_by_account(grant.tenant_id, grant.provider, account.id)
        if known is not None:
            # Read again under its lock: a sync run may be writing to its metadata at this moment.
            known = uow.connections.get(known.tenant_id, known.id, lock=True)
        if known is None:
            connection = Connection(
                id=ConnectionId(self.entropy.uuid7(now)),
                tenant_id=grant.tenant_id,
                provider=grant.provider,
                account=account,
                grant_id=grant.id,
                scopes=token_set.scopes,
                expires_at=grant.expires_at,
                metadata=dict(request.options),
                created_at=now,
                updated_at=now,
            )
        else:
            connection = attrs.evolve(
                known.moved_to(ConnectionStatus.ACTIVE, at=now),
                account=account,
                grant_id=grant.id,
                scopes=token_set.scopes,
                expires_at=grant.expires_at,
                metadata={**known.metadata, **request.options},
                sync_error=None,
                webhook_error=None,
                end_error=None,
                updated_at=now,
            )
        stored = uow.connections.save(connection)
        self._begin_reading(uow, stored, now)
        return stored

    def _begin_reading(self, uow: UnitOfWork, connection: Connection, now: datetime) -> None:
        """Queue the first read and the backfill. What is new comes first whatever their order."""
        provider = self.providers.get(connection.provider)
        if provider.streams is not None:
            if self.settings.backfill is not None:
                self.jobs.enqueue(uow, connection, JobType.BACKFILL, since=now - self.settings.backfill)
            self.jobs.enqueue(uow, connection, JobType.INCREMENTAL)
        self.scheduler.plan_maintenance(uow, connection, FIRST_MAINTENANCE)
        self.scheduler.plan_sync(uow, provider, connection)

    def _subscribe(self, connection: Connection) -> Connection:
        """Subscribe to webhooks. An error is recorded on the connection, which works without them."""
        session = self.access.open(connection)
        try:
            made = self.subscriber.subscribe_all(session)
            error = next((one.error for one in made if one.error is not None), None)
        except Exception as failure:
            # The account is connected in any case: a wrong option, a vendor's refusal or a bug of the provider's
            # package costs the webhooks only. Maintenance tries again.
            error = error_text(failure)
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
        wanted = [one for one in made if one.status is not SubscriptionStatus.ENDED]
        if wanted and all(one.status is SubscriptionStatus.ACTIVE for one in wanted):
            self.ledger.note_stream_whole(uow, connection, provider)

    # --- refreshing ----------------------------------------------------------------------------------------------

    def refresh(self, tenant_id: TenantId, connection_id: ConnectionId) -> Connection:
        """The connection, its tokens refreshed now.

        Tokens that do not expire are checked with the provider instead. A temporary failure does not change the
        connection's status.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ProviderNotSupportedError: its provider is not installed here.
            ReauthorizationRequiredError: the user has to connect the account again.
            ProviderFailedError: the provider could not be asked, or gave an error.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            grant = None if connection.grant_id is None else uow.grants.get(tenant_id, connection.grant_id)
        if grant is None:
            raise ReauthorizationRequiredError("The connection's tokens are gone.", next_step=CONNECT_AGAIN)
        provider, app = self._provider(self.providers.get_stored(connection.provider).slug)
        token_set = self.keeper.open(grant)
        if token_set.refresh_token is None and not any(one.refresh_token for one in token_set.companions.values()):
            self.access.open(connection).run(provider.oauth.identify(app, token_set))
            self.keeper.record_working(grant)
        else:
            self.keeper.refresh(tenant_id, grant.id, seen_version=grant.version)
        with self.unit_of_work() as uow:
            return uow.connections.get(tenant_id, connection_id)

    # --- lookups -----------------------------------------------------------------------------------------------

    def _provider(self, slug: str) -> tuple[Provider, ProviderApp]:
        provider = self.providers.get(slug)
        app = self.apps.get(provider.slug)
        if app is None:
            name = provider.slug.upper().replace("-", "_")
            raise ProviderNotConfiguredError(
                f"{provider.name} is not configured here.",
                next_step=f"Set POBLYSH_{name}_CLIENT_ID and POBLYSH_{name}_CLIENT_SECRET.",
            )
        return provider, app

    def _redirect_uri(self, provider: Provider, wanted: str | None) -> str:
        configured = self.settings.redirect_uri
        if configured is not None:
            configured = configured.replace("{provider}", provider.slug)
        if wanted is None or wanted == configured:
            if configured is None:
                raise ProviderNotConfiguredError(
                    "There is no redirect URI.", next_step="Set POBLYSH_OAUTH_REDIRECT_URI."
                )
            return configured
        allowed = {uri.replace("{provider}", provider.slug) for uri in self.settings.allowed_redirect_uris}
        if wanted not in allowed:
            raise ValidationError(
                "This redirect URI is not allowed.",
                details=[{"field": "redirect_uri", "message": "is not one of the allowed redirect URIs"}],
                next_step="Add it to POBLYSH_OAUTH_ALLOWED_REDIRECT_URIS.",
            )
        return wanted


def default_scopes(provider: Provider) -> tuple[str, ...]:
    """The scopes that are requested when neither caller nor settings name others."""
    return tuple(scope.name for scope in provider.oauth.scopes if scope.default)


def hash_state(state: str) -> bytes:
    """SHA-256 of an OAuth `state`: all of it that is ever stored."""
    return hashlib.sha256(state.encode(errors="replace")).digest()


def s256_challenge(verifier: Secret) -> str:
    """The S256 code challenge of a verifier: base64url of its SHA-256, unpadded (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.reveal_bytes()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _verifier(tenant_id: TenantId, verifier_id: UUID) -> SecretContext:
    return SecretContext(tenant_id, verifier_id, SecretPurpose.CODE_VERIFIER)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:100]
