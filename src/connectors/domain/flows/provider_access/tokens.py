"""Keeps grants usable: opens their sealed token sets and refreshes them, one refresh at a time anywhere."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import attrs

from connectors.domain.flows.provider_access.single_flight import SingleFlight
from connectors.domain.flows.provider_access.token_sets import (
    dump_token_set,
    earliest_expiry,
    idle_refresh_at,
    load_token_set,
)
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import (
    ClientRejectedError,
    ConnectorsError,
    InfrastructureError,
    ProviderNotConfiguredError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
)
from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import Grant, ProviderApp, RefreshLease, TokenSet
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.secret import SealedSecret, SecretContext, SecretPurpose
from connectors.domain.model.tasks import TaskKind
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.telemetry import NullTelemetry, RefreshOutcome, Telemetry
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from connectors.ports.vault import Vault

LEASE_LIFETIME = timedelta(seconds=100)
"""Longer than a call to a token endpoint can take with the usual timeout of 30 s (so long to the headers, so long of
silence in the body, and 10 s to connect), short enough that a dead holder is soon replaced."""

POLL_INTERVAL = timedelta(milliseconds=50)
"""How often a caller looks whether the one who refreshes is done."""

log = logging.getLogger(__name__)


class _UnknownOutcomeError(ReauthorizationRequiredError):
    """A refresh token went out, no answer came, and it is too late to send it once more."""


@attrs.frozen(kw_only=True)
class TokenKeeper:
    """Opens, refreshes and ends grants."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    token_endpoint: TokenEndpoint
    clock: Clock
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    telemetry: Telemetry = attrs.field(factory=NullTelemetry)
    lease_lifetime: timedelta = LEASE_LIFETIME
    """How long one process may take for a refresh before another one tries."""
    _flights: SingleFlight[tuple[TokenSet, int, Provider]] = attrs.field(
        factory=SingleFlight, init=False, eq=False, repr=False
    )

    def seal(self, tenant_id: TenantId, grant_id: GrantId, token_set: TokenSet) -> SealedSecret:
        """The token set, sealed for this grant."""
        return self.vault.seal(dump_token_set(token_set), _context(tenant_id, grant_id))

    def open(self, grant: Grant) -> TokenSet:
        """The grant's token set.

        Raises:
            VaultError: it does not open.
        """
        return load_token_set(self.vault.open(grant.token_set, _context(grant.tenant_id, grant.id)))

    def fresh_tokens(self, tenant_id: TenantId, grant_id: GrantId) -> TokenSet:
        """A token set whose access tokens are fresh, refreshed now if they were not.

        Raises:
            ProviderNotSupportedError: its provider is not installed here.
            ReauthorizationRequiredError: the grant is gone or dead; its connections say so from now on.
            ProviderFailedError: the provider did not refresh it this time.
        """
        grant = self._get(tenant_id, grant_id)
        token_set = self.open(grant)
        provider = self.providers.get_stored(grant.provider)
        if token_set.is_fresh(self.clock.now()) and not self._stale_companions(provider, token_set):
            return token_set
        return self.refresh(tenant_id, grant_id, seen_version=grant.version)

    def refresh(self, tenant_id: TenantId, grant_id: GrantId, *, seen_version: int) -> TokenSet:
        """A token set newer than the one of `seen_version`: refreshed here, or by another caller that was faster.

        Of all callers, in all processes, one holds the grant's lease and calls the provider; the others wait for it,
        and of each process only one looks for it in the database. No database connection is held meanwhile.

        Raises: like `fresh_tokens`.
        """
        token_set, version, provider = self._refresh_one_pair(tenant_id, grant_id, seen_version)
        for _ in provider.oauth.token_names:
            if not self._stale_companions(provider, token_set):
                break
            token_set, version, provider = self._refresh_one_pair(tenant_id, grant_id, version)
        return token_set

    def _refresh_one_pair(
        self, tenant_id: TenantId, grant_id: GrantId, seen_version: int
    ) -> tuple[TokenSet, int, Provider]:
        """The set with one more of its pairs refreshed.

        One for each lease: what one call gave is stored before the next one can fail.
        """
        return self._flights.join(
            (tenant_id, grant_id, seen_version), lambda: self._lease_and_refresh(tenant_id, grant_id, seen_version)
        )

    def _lease_and_refresh(
        self, tenant_id: TenantId, grant_id: GrantId, seen_version: int
    ) -> tuple[TokenSet, int, Provider]:
        give_up_at = self.clock.now() + 2 * self.lease_lifetime
        while True:
            now = self.clock.now()
            with self.unit_of_work() as uow:
                grant = uow.grants.get(tenant_id, grant_id)
                if grant is None:
                    raise _gone()
                provider = self.providers.get_stored(grant.provider)
                if grant.version > seen_version:
                    return self.open(grant), grant.version, provider
                lease = uow.grants.claim_refresh(tenant_id, grant_id, now=now, until=now + self.lease_lifetime)
            if lease is not None:
                break
            if now > give_up_at:
                raise ProviderUnavailableError("Another refresh of this grant does not come to an end.")
            self.clock.sleep(POLL_INTERVAL)
        return self._refresh_under(lease, tenant_id, seen_version)

    def _refresh_under(
        self, lease: RefreshLease, tenant_id: TenantId, seen_version: int
    ) -> tuple[TokenSet, int, Provider]:
        # The previous holder may have finished before we got the lease: read again, now that nobody else can refresh.
        grant = self._get(tenant_id, lease.grant_id)
        provider = self.providers.get_stored(grant.provider)
        # An earlier attempt stays on record until the provider has answered with tokens or with "dead": a refusal for
        # now says nothing about what became of it.
        settled = grant.refresh_attempted_at is None
        try:
            token_set = self.open(grant)
            if grant.version > seen_version:
                self._release(tenant_id, lease, settled=settled)
                return token_set, grant.version, provider
            self._refuse_unknown_outcome(provider, grant)
            app = self._app(provider)
            self._record_attempt(tenant_id, lease, grant)
            renewed = self._call(provider, app, token_set)
            stored = self._store(tenant_id, lease, provider, renewed)
        except _UnknownOutcomeError as error:
            self.telemetry.refreshed(grant.provider, RefreshOutcome.DEAD)
            # It stays unknown: the token must not go out the next time either.
            self._release(tenant_id, lease, settled=False)
            self._mark_dead(grant, error.message)
            raise
        except ReauthorizationRequiredError as error:
            self._release(tenant_id, lease, settled=True)
            newer = self._mark_dead(grant, error.message)
            if newer is None:
                self.telemetry.refreshed(grant.provider, RefreshOutcome.DEAD)
                raise
            # The user has connected again while we asked for the old tokens.
            return self.open(newer), newer.version, provider
        except ConnectorsError as error:
            unknown = isinstance(error, ProviderUnavailableError) and error.outcome_unknown
            self._release(tenant_id, lease, settled=settled and not unknown)
            is_rejected = isinstance(error, ClientRejectedError)
            outcome = RefreshOutcome.CLIENT_REJECTED if is_rejected else RefreshOutcome.FAILED
            self.telemetry.refreshed(grant.provider, outcome)
            if is_rejected:
                log.error(  # noqa: TRY400 - the operator's mistake, not ours: a traceback says nothing
                    "client_rejected", extra={"provider": provider.slug, "reason": error.message}
                )
            raise
        self.record_working(stored)
        self.telemetry.refreshed(grant.provider, RefreshOutcome.REFRESHED)
        log.info("grant_refreshed", extra={"tenant_id": str(tenant_id), "provider": provider.slug})
        return renewed, stored.version, provider

    def _record_attempt(self, tenant_id: TenantId, lease: RefreshLease, grant: Grant) -> None:
        now = self.clock.now()
        # The provider's reuse window opens with the first use, so a second one does not move it.
        first = grant.refresh_attempted_at or now
        with self.unit_of_work() as uow:
            if lease.expires_at <= now or not uow.grants.record_attempt(tenant_id, lease, at=first):
                raise _lease_lost()

    def _store(self, tenant_id: TenantId, lease: RefreshLease, provider: Provider, renewed: TokenSet) -> Grant:
        # In a transaction of its own: nothing that follows may roll the new tokens back.
        with self.unit_of_work() as uow:
            # First the grant, then its schedule entry: a consent that replaces the grant locks in this order, too.
            stored = uow.grants.record_refreshed(
                tenant_id,
                lease,
                self.seal(tenant_id, lease.grant_id, renewed),
                expires_at=earliest_expiry(renewed),
                refresh_expires_at=renewed.refresh_expires_at,
                at=self.clock.now(),
            )
            if stored is not None:
                self.plan_refresh(uow, provider, tenant_id, lease.grant_id, renewed)
        if stored is None:
            raise _lease_lost()
        return stored

    def plan_refresh(
        self, uow: UnitOfWork, provider: Provider, tenant_id: TenantId, grant_id: GrantId, token_set: TokenSet
    ) -> None:
        """Schedule a refresh of these tokens for the case that nothing uses them until then."""
        at = idle_refresh_at(provider, token_set, self.clock.now())
        if at is None:
            uow.schedules.cancel(tenant_id, grant_id)
        else:
            uow.schedules.plan(
                ScheduleEntry(tenant_id=tenant_id, subject_id=grant_id, kind=TaskKind.REFRESH, next_at=at)
            )

    def refresh_idle(self, tenant_id: TenantId, grant_id: GrantId) -> None:
        """Refresh tokens that would die unused. Failures are left to the next schedule entry or to the user.

        A grant without a working connection is left alone.

        Raises:
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, grant_id)
            living = [one for one in self._connections_of(uow, grant) if one.status is ConnectionStatus.ACTIVE]
            if grant is None or not living:
                uow.schedules.cancel(tenant_id, grant_id)
                return
        try:
            self.refresh(tenant_id, grant_id, seen_version=grant.version)
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            log.warning("idle_refresh_failed", extra={"tenant_id": str(tenant_id), "reason": error.message})

    @staticmethod
    def _connections_of(uow: UnitOfWork, grant: Grant | None) -> Sequence[Connection]:
        return () if grant is None else uow.connections.list_by_grant(grant.tenant_id, grant.id)

    def _release(self, tenant_id: TenantId, lease: RefreshLease, *, settled: bool) -> None:
        with self.unit_of_work() as uow:
            uow.grants.release(tenant_id, lease, attempt_settled=settled)

    def _call(self, provider: Provider, app: ProviderApp, token_set: TokenSet) -> TokenSet:
        """The set with one pair refreshed: its own, or, while that is fresh, a companion that is not."""
        stale = self._stale_companions(provider, token_set)
        if stale and (token_set.refresh_token is None or token_set.is_fresh(self.clock.now())):
            renewed = self._refresh_one(provider, app, token_set.companions[stale[0]])
            return attrs.evolve(token_set, companions={**token_set.companions, stale[0]: renewed})
        if token_set.refresh_token is None:
            raise ReauthorizationRequiredError("The provider refused the access token, and there is no refresh token.")
        renewed = self._refresh_one(provider, app, token_set)
        return attrs.evolve(renewed, companions={**token_set.companions, **renewed.companions})

    def _refresh_one(self, provider: Provider, app: ProviderApp, token_set: TokenSet) -> TokenSet:
        if token_set.refresh_token is None:
            raise ReauthorizationRequiredError("There is no refresh token.")
        call = provider.oauth.token_endpoint(app, token_set.extra)
        return self.token_endpoint.refresh(
            app,
            call,
            token_set.refresh_token,
            lambda response: provider.oauth.read_tokens(response, self.clock.now(), token_set),
        )

    def _refuse_unknown_outcome(self, provider: Provider, grant: Grant) -> None:
        window = provider.oauth.reuse_window
        if grant.refresh_attempted_at is None or window is None:
            return
        # A refresh token was sent earlier and its outcome is unknown. Sent again later than the provider
        # tolerates, it would look stolen, and the whole family of tokens would be revoked. Where nothing is tolerated
        # no clock is asked: ours may be behind that of the machine which made the attempt.
        if not window or self.clock.now() > grant.refresh_attempted_at + window:
            raise _UnknownOutcomeError("A refresh was interrupted, and its tokens are lost.")

    def _stale_companions(self, provider: Provider, token_set: TokenSet) -> list[str]:
        """Names of the companions that a refresh would help."""
        now = self.clock.now()
        companions = ((name, token_set.companions.get(name)) for name in provider.oauth.token_names)
        return [
            name
            for name, one in companions
            if one is not None and one.refresh_token is not None and not one.is_fresh(now)
        ]

    def _get(self, tenant_id: TenantId, grant_id: GrantId) -> Grant:
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, grant_id)
        if grant is None:
            raise _gone()
        return grant

    def _app(self, provider: Provider) -> ProviderApp:
        app = self.apps.get(provider.slug)
        if app is None:
            raise ProviderNotConfiguredError(f"{provider.name} is not configured here.")
        return app

    def _mark_dead(self, grant: Grant, reason: str) -> Grant | None:
        """Say on the grant's connections that it is dead, unless it has new tokens by now: then that grant."""
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = uow.grants.find_by_key(grant.tenant_id, grant.provider, grant.grant_key, lock=True)
            if present is not None and present.id == grant.id and present.version > grant.version:
                return present
            for connection in self._connections(uow, grant):
                if connection.status is ConnectionStatus.ACTIVE:
                    status = ConnectionStatus.REAUTHORIZATION_REQUIRED
                    uow.connections.save(connection.moved_to(status, at=now, reason=reason))
        log.warning("reauthorization_required", extra={"tenant_id": str(grant.tenant_id), "reason": reason})
        return None

    def record_working(self, grant: Grant) -> None:
        """Note on the grant's connections that it works, and until when; one that needed its user has recovered."""
        now = self.clock.now()
        with self.unit_of_work() as uow:
            for connection in self._connections(uow, grant):
                renewed = attrs.evolve(connection, expires_at=grant.expires_at, updated_at=now)
                if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
                    renewed = renewed.moved_to(ConnectionStatus.ACTIVE, at=now)
                    log.info("connection_recovered", extra={"connection_id": str(connection.id)})
                uow.connections.save(renewed)

    def _connections(self, uow: UnitOfWork, grant: Grant) -> Iterator[Connection]:
        """The grant's connections, each locked and read again: it may be disconnecting at this moment."""
        for one in uow.connections.list_by_grant(grant.tenant_id, grant.id):
            connection = uow.connections.get(grant.tenant_id, one.id, lock=True)
            if connection.grant_id == grant.id:
                yield connection


@attrs.frozen
class GrantTokens:
    """A conversation's tokens, from a stored grant."""

    keeper: TokenKeeper
    tenant_id: TenantId
    grant_id: GrantId

    def current(self) -> TokenSet:
        """The grant's token set, fresh."""
        return self.keeper.fresh_tokens(self.tenant_id, self.grant_id)

    def refreshed(self, stale: TokenSet) -> TokenSet:
        """A newer one than `stale`, unless somebody else has stored one already."""
        with self.keeper.unit_of_work() as uow:
            grant = uow.grants.get(self.tenant_id, self.grant_id)
        if grant is None:
            raise _gone()
        stored = self.keeper.open(grant)
        if stored.access_token.reveal_bytes() != stale.access_token.reveal_bytes():
            return stored
        return self.keeper.refresh(self.tenant_id, self.grant_id, seen_version=grant.version)


def _context(tenant_id: TenantId, grant_id: GrantId) -> SecretContext:
    return SecretContext(tenant_id, grant_id, SecretPurpose.TOKEN_SET)


def _lease_lost() -> ProviderUnavailableError:
    return ProviderUnavailableError("The refresh took too long and was given to somebody else.")


def _gone() -> ReauthorizationRequiredError:
    return ReauthorizationRequiredError("The connection's tokens are gone.", next_step="Connect the account again.")
