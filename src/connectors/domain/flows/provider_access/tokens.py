"""Keeps grants usable: opens their sealed token sets and refreshes them, one process at a time."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.holding import HOLD_LIFETIME, store_held
from connectors.domain.flows.provider_access.token_answers import token_reader
from connectors.domain.flows.provider_access.token_sets import (
    dump_token_set,
    earliest_expiry,
    idle_refresh_at,
    load_token_set,
)
from connectors.domain.model.connection import Connection, ConnectionStatus, ReasonCode
from connectors.domain.model.errors import (
    ClientRejectedError,
    ConnectorsError,
    InfrastructureError,
    ProviderFailedError,
    ProviderNotConfiguredError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
)
from connectors.domain.model.ids import GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import Grant, GrantState, ProviderApp, RefreshLease, TokenSet
from connectors.domain.model.schedule import RETRY_REFRESH, ScheduleEntry
from connectors.domain.model.secret import SealedSecret, SecretContext, SecretPurpose
from connectors.domain.model.tasks import TaskKind
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.single_flight import SingleFlight
from connectors.ports.telemetry import NullTelemetry, RefreshOutcome, Telemetry
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from connectors.ports.vault import Vault

LEASE_LIFETIME = timedelta(seconds=100)
"""Longer than a call to a token endpoint can take with the usual timeout (10 s to connect, 30 s to the headers, 30 s
without a byte of the body), and short enough that a holder that has crashed is soon replaced."""

LONGEST_LOOK_PAUSE = timedelta(hours=1)
"""Between two looks at a refresh whose outcome is unknown; the pauses double until then."""

POLL_INTERVAL = timedelta(milliseconds=50)
"""How often a waiting caller checks whether the lease's holder is done."""

SECOND_LOOK = timedelta(minutes=5)
"""When a provider that refused an access token for good is asked once more."""

log = logging.getLogger(__name__)


class _NoRefreshTokenError(ReauthorizationRequiredError):
    """The access token has expired, and there is nothing to refresh it with."""


@attrs.frozen(kw_only=True)
class TokenKeeper:
    """Opens grants and refreshes them.

    A grant's token set is a token pair (access and refresh token). It may hold more pairs under names, its companions.
    """

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    token_endpoint: TokenEndpoint
    clock: Clock
    single_flight: SingleFlight
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    telemetry: Telemetry = attrs.field(factory=NullTelemetry)
    lease_lifetime: timedelta = LEASE_LIFETIME
    """How long one process may take for a refresh before another one tries."""

    def seal(self, tenant_id: TenantId, grant_id: GrantId, token_set: TokenSet) -> SealedSecret:
        """The token set, sealed for this grant."""
        return self.vault.seal(dump_token_set(token_set), _secret_context(tenant_id, grant_id))

    def open(self, grant: Grant) -> TokenSet:
        """The grant's token set.

        Raises:
            ReauthorizationRequiredError: it has been ended.
            VaultError: it cannot be opened.
        """
        if grant.token_set is None:
            raise grant_gone()
        return load_token_set(self.vault.open(grant.token_set, _secret_context(grant.tenant_id, grant.id)))

    # --- refreshing: each level calls the next one ----------------------------------------------------------------

    def fresh_tokens(self, tenant_id: TenantId, grant_id: GrantId) -> TokenSet:
        """A token set whose access tokens are fresh, refreshed now if they were not.

        Raises:
            ProviderNotSupportedError: its provider is not installed here.
            ReauthorizationRequiredError: the grant is gone or dead; if dead, its connections say so from now on.
            ProviderFailedError: this refresh failed.
        """
        grant = self._get_grant(tenant_id, grant_id)
        token_set = self.open(grant)
        provider = self.providers.get_stored(grant.provider)
        if token_set.is_fresh(self.clock.now()) and not self._stale_companions(provider, token_set):
            return token_set
        return self.refresh(tenant_id, grant_id, seen_version=grant.version)

    def refresh(self, tenant_id: TenantId, grant_id: GrantId, *, seen_version: int) -> TokenSet:
        """A token set newer than the one of `seen_version`: refreshed here, or by another caller that was faster.

        Of all callers in all processes, one holds the grant's lease and calls the provider. The others wait: one thread
        of each process polls the database, its other threads wait for that one. No database connection
        is held meanwhile.

        Raises: like `fresh_tokens`.
        """
        token_set, version, provider = self._refresh_for_all_threads(tenant_id, grant_id, seen_version)
        for _ in provider.oauth.token_names:
            if not self._stale_companions(provider, token_set):
                break
            token_set, version, provider = self._refresh_for_all_threads(tenant_id, grant_id, version)
        return token_set

    def settled_tokens(self, tenant_id: TenantId, grant_id: GrantId) -> TokenSet:
        """The newest tokens of a grant that is ending, fresh: vendors require that even for a revocation.

        An earlier refresh of unknown outcome is asked for again: the stored tokens may be dead and their successors
        alive. Unlike `fresh_tokens`, this waits for nobody.

        Raises: like `fresh_tokens`.
        """
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, grant_id)
            if grant is None or grant.token_set is None:
                raise grant_gone()
            now = uow.now()
            lease = uow.grants.claim_refresh(
                tenant_id, grant_id, now=now, until=now + self.lease_lifetime, hold=HOLD_LIFETIME
            )
        if lease is None:
            raise ProviderUnavailableError("A refresh of these tokens is still out.")
        # Read again, now that nobody else can refresh.
        grant = self._get_grant(tenant_id, grant_id)
        token_set = self.open(grant)
        if grant.refresh_attempted_at is None and token_set.is_fresh(self.clock.now()):
            self._release_lease(tenant_id, lease, settled=True)
            return token_set
        return self._refresh_with_lease(lease, tenant_id, grant.version)[0]

    def _refresh_for_all_threads(
        self, tenant_id: TenantId, grant_id: GrantId, seen_version: int
    ) -> tuple[TokenSet, int, Provider]:
        """The set with one more pair refreshed, the grant's version with it, and its provider.

        Threads that ask for the same at the same time share one result. Only one pair is refreshed for each lease, so
        that what one call gave is stored before the next call can fail.
        """
        return self.single_flight.join(
            ("refresh", tenant_id, grant_id, seen_version),
            lambda: self._refresh_for_all_processes(tenant_id, grant_id, seen_version),
        )

    def _refresh_for_all_processes(
        self, tenant_id: TenantId, grant_id: GrantId, seen_version: int
    ) -> tuple[TokenSet, int, Provider]:
        """The same, from the process that gets the grant's lease. In the others, wait for what it stores."""
        give_up_at = self.clock.now() + 2 * self.lease_lifetime
        while True:
            with self.unit_of_work() as uow:
                grant = uow.grants.get(tenant_id, grant_id)
                if grant is None or grant.token_set is None:
                    raise grant_gone()
                provider = self.providers.get_stored(grant.provider)
                if grant.version > seen_version:
                    return self.open(grant), grant.version, provider
                now = uow.now()
                lease = uow.grants.claim_refresh(
                    tenant_id, grant_id, now=now, until=now + self.lease_lifetime, hold=HOLD_LIFETIME
                )
            if lease is not None:
                break
            if self.clock.now() > give_up_at:
                raise ProviderUnavailableError("Another refresh of this grant does not end.")
            self.clock.sleep(POLL_INTERVAL)
        return self._refresh_with_lease(lease, tenant_id, seen_version)

    def _refresh_with_lease(
        self, lease: RefreshLease, tenant_id: TenantId, seen_version: int
    ) -> tuple[TokenSet, int, Provider]:
        """The same, with no other process refreshing: record the attempt, call, store, release."""
        # The previous holder may have finished before we got the lease: read again, now that nobody else can refresh.
        grant = self._get_grant(tenant_id, lease.grant_id)
        provider = self.providers.get_stored(grant.provider)
        is_settled = grant.refresh_attempted_at is None
        try:
            token_set = self.open(grant)
            if grant.version > seen_version:
                self._release_lease(tenant_id, lease, settled=is_settled)
                return token_set, grant.version, provider
            app = self._get_app(provider)
            self._begin_attempt(tenant_id, lease, provider, grant)
            renewed = self._refresh_one_pair(provider, app, token_set)
        except ReauthorizationRequiredError as error:
            # After an earlier attempt of unknown outcome it stays open: what that one brought may live on.
            self._release_lease(tenant_id, lease, settled=is_settled)
            reason, code = error.message, _code_of(error)
            if not is_settled:
                # The answer of an earlier attempt was lost. This refusal says that it had brought new tokens.
                reason, code = "A refresh was interrupted, and its tokens are lost.", ReasonCode.REFRESH_LOST
            newer = self._mark_dead(grant, reason, code)
            if newer is None:
                self.telemetry.refreshed(grant.provider, RefreshOutcome.DEAD)
                raise
            # The user has connected again while we asked for the old tokens.
            return self.open(newer), newer.version, provider
        except ConnectorsError as error:
            # A refusal says nothing about an earlier attempt, which stays open.
            is_unknown = isinstance(error, ProviderFailedError) and error.outcome_unknown
            self._release_lease(tenant_id, lease, settled=is_settled and not is_unknown)
            is_rejected = isinstance(error, ClientRejectedError)
            outcome = RefreshOutcome.CLIENT_REJECTED if is_rejected else RefreshOutcome.FAILED
            self.telemetry.refreshed(grant.provider, outcome)
            if is_rejected:
                log.error(  # noqa: TRY400 - the operator's mistake, not ours: a traceback says nothing
                    "client_rejected", extra={"provider": provider.slug, "reason": error.message}
                )
            raise
        stored = self._store_renewed(tenant_id, lease, provider, renewed)
        self.record_working(stored)
        self.telemetry.refreshed(grant.provider, RefreshOutcome.REFRESHED)
        log.info("grant_refreshed", extra={"tenant_id": str(tenant_id), "provider": provider.slug})
        return renewed, stored.version, provider

    def _begin_attempt(self, tenant_id: TenantId, lease: RefreshLease, provider: Provider, grant: Grant) -> None:
        """Record that the refresh token is about to be sent, and schedule a look at the outcome.

        Raises:
            ProviderUnavailableError: it must not be sent now, or the lease is no longer ours.
        """
        with self.unit_of_work() as uow:
            now = uow.now()
            self._require_settled(provider, grant, now)
            if not uow.grants.record_attempt(tenant_id, lease, now=now):
                raise _lease_lost()
            if provider.oauth.reuse_window is not None:
                # If this process dies, another one finishes what it has begun.
                self._plan_look(uow, grant, now)

    @property
    def _settled_after(self) -> timedelta:
        """How long after a refresh token was sent nobody can have its answer any more."""
        return self.lease_lifetime + HOLD_LIFETIME

    def _require_settled(self, provider: Provider, grant: Grant, now: datetime) -> None:
        """Raise ProviderUnavailableError while somebody may have the answer to an earlier attempt.

        Sent again later than the vendor tolerates, a token that was used looks stolen, and the vendor revokes the whole
        family. That does no harm once nobody can have the new tokens: either the earlier request never arrived, and the
        token still works, or what is revoked is lost anyway. So the same token is sent once more then, and a vendor's
        refusal is the only proof that the grant is dead.
        """
        window = provider.oauth.reuse_window
        if grant.refresh_attempted_at is None or grant.refresh_sent_at is None or window is None:
            return
        # The vendor's window opens with the first use, and a second one does not move it.
        is_tolerated = bool(window) and now <= grant.refresh_attempted_at + window
        if not is_tolerated and now < grant.refresh_sent_at + self._settled_after:
            raise ProviderUnavailableError("The outcome of an earlier refresh is not known yet.")

    def _refresh_one_pair(self, provider: Provider, app: ProviderApp, token_set: TokenSet) -> TokenSet:
        """The set with one pair refreshed: its own, or, while that is fresh, a companion that is not."""
        stale = self._stale_companions(provider, token_set)
        if stale and (token_set.refresh_token is None or token_set.is_fresh(self.clock.now())):
            return self._refresh_companion(provider, app, token_set, stale[0])
        if token_set.refresh_token is None:
            raise _NoRefreshTokenError("The access token has expired, and there is no refresh token.")
        renewed = self._call_token_endpoint(provider, app, token_set)
        return attrs.evolve(renewed, companions={**token_set.companions, **renewed.companions})

    def _refresh_companion(self, provider: Provider, app: ProviderApp, token_set: TokenSet, name: str) -> TokenSet:
        """The set with this companion refreshed, or without it if it is dead: its user has ended it, or has left."""
        companions = dict(token_set.companions)
        try:
            companions[name] = self._call_token_endpoint(provider, app, companions[name])
        except ReauthorizationRequiredError as error:
            del companions[name]
            log.warning("companion_dead", extra={"provider": provider.slug, "reason": error.message})
        return attrs.evolve(token_set, companions=companions)

    def _call_token_endpoint(self, provider: Provider, app: ProviderApp, token_set: TokenSet) -> TokenSet:
        if token_set.refresh_token is None:
            raise ReauthorizationRequiredError("There is no refresh token.")
        call = provider.oauth.token_endpoint(app, token_set.extra)
        return self.token_endpoint.refresh(
            app,
            call,
            token_set.refresh_token,
            token_reader(provider, self.clock, token_set),
        )

    def _store_renewed(self, tenant_id: TenantId, lease: RefreshLease, provider: Provider, renewed: TokenSet) -> Grant:
        sealed = self.seal(tenant_id, lease.grant_id, renewed)

        def store() -> Grant:
            # In a transaction of its own: nothing that follows may roll the new tokens back.
            with self.unit_of_work() as uow:
                # First the grant, then its schedule entry: a consent that replaces the grant locks in the same order.
                stored = uow.grants.record_refreshed(
                    tenant_id,
                    lease,
                    sealed,
                    expires_at=earliest_expiry(renewed),
                    refresh_expires_at=renewed.refresh_expires_at,
                    at=self.clock.now(),
                )
                if stored is not None:
                    self.plan_refresh(uow, provider, tenant_id, lease.grant_id, renewed)
                    return stored
                present = uow.grants.get(tenant_id, lease.grant_id)
            if present is None or present.token_set != sealed:
                raise _lease_lost()
            return present  # an earlier try was committed, and only the answer to its commit was lost

        return store_held(self.clock, "refreshed tokens", store)

    def _release_lease(self, tenant_id: TenantId, lease: RefreshLease, *, settled: bool) -> None:
        with self.unit_of_work() as uow:
            uow.grants.release(tenant_id, lease, attempt_settled=settled)

    def mark_dead(self, tenant_id: TenantId, grant_id: GrantId, refused: TokenSet, reason: str) -> bool:
        """Mark the grant's connections as needing their user, because the provider refused this access token.

        False, and nothing is marked, if the grant has another access token by now.

        Raises:
            ReauthorizationRequiredError: the grant is gone.
        """
        grant = self._get_grant(tenant_id, grant_id)
        if not is_same_access_token(self.open(grant), refused):
            return False
        return self._mark_dead(grant, reason, ReasonCode.TOKEN_DEAD) is None

    def _mark_dead(self, grant: Grant, reason: str, code: ReasonCode) -> Grant | None:
        """Mark the grant's connections as needing their user; if it has new tokens by now, return it instead."""
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = uow.grants.get(grant.tenant_id, grant.id, lock=True)
            if present is not None and present.version > grant.version:
                return present
            for connection in self._lock_connections(uow, grant):
                if connection.status is ConnectionStatus.ACTIVE:
                    status = ConnectionStatus.REAUTHORIZATION_REQUIRED
                    uow.connections.save(connection.moved_to(status, at=now, reason=reason, code=code))
                    if code is ReasonCode.TOKEN_DEAD:
                        # A vendor may have refused it by mistake. No refresh will tell, so it is asked again.
                        uow.schedules.plan(
                            ScheduleEntry(
                                tenant_id=connection.tenant_id,
                                subject_id=connection.id,
                                kind=TaskKind.PROVE,
                                next_at=now + SECOND_LOOK,
                            )
                        )
        log.warning("reauthorization_required", extra={"tenant_id": str(grant.tenant_id), "reason": reason})
        return None

    def record_working(self, grant: Grant) -> None:
        """Record on the grant's connections that it works, and until when; reactivate those that needed their user."""
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = uow.grants.get(grant.tenant_id, grant.id, lock=True)
            if present is None or present.state is not GrantState.LIVE:
                return  # it is ending: what it can still do revives nothing
            for connection in self._lock_connections(uow, grant):
                if connection.status is ConnectionStatus.REVOKED:
                    continue
                renewed = attrs.evolve(connection, expires_at=grant.expires_at, updated_at=now)
                if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
                    renewed = renewed.moved_to(ConnectionStatus.ACTIVE, at=now)
                    log.info("connection_recovered", extra={"connection_id": str(connection.id)})
                uow.connections.save(renewed)

    # --- tokens that nothing uses ---------------------------------------------------------------------------------

    def plan_refresh(
        self, uow: UnitOfWork, provider: Provider, tenant_id: TenantId, grant_id: GrantId, token_set: TokenSet
    ) -> None:
        """Schedule a refresh of these tokens in case nothing uses them until then."""
        at = idle_refresh_at(provider, token_set, self.clock.now())
        if at is None:
            uow.schedules.cancel(tenant_id, grant_id, TaskKind.REFRESH)
        else:
            self._plan(uow, tenant_id, grant_id, at)

    @staticmethod
    def _plan(uow: UnitOfWork, tenant_id: TenantId, grant_id: GrantId, at: datetime) -> None:
        uow.schedules.plan(ScheduleEntry(tenant_id=tenant_id, subject_id=grant_id, kind=TaskKind.REFRESH, next_at=at))

    def refresh_idle(self, tenant_id: TenantId, grant_id: GrantId) -> None:
        """Refresh tokens that would expire for want of use, or whose last refresh has an unknown outcome.

        The next schedule entry tries again after a failure. A grant without an active connection is not refreshed any
        more.

        Raises:
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, grant_id, lock=True)
            connections = () if grant is None else uow.connections.list_by_grant(tenant_id, grant_id)
            if grant is None or not any(one.status is ConnectionStatus.ACTIVE for one in connections):
                uow.schedules.cancel(tenant_id, grant_id, TaskKind.REFRESH)
                return
        try:
            self.refresh(tenant_id, grant_id, seen_version=grant.version)
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            log.warning("idle_refresh_failed", extra={"tenant_id": str(tenant_id), "reason": error.message})
            with self.unit_of_work() as uow:
                present = uow.grants.get(tenant_id, grant_id)
                if present is not None and present.refresh_attempted_at is not None:
                    self._plan_look(uow, present, uow.now())
                elif present is not None:
                    self._plan(uow, tenant_id, grant_id, self.clock.now() + RETRY_REFRESH)

    def _plan_look(self, uow: UnitOfWork, grant: Grant, now: datetime) -> None:
        """Schedule another look at a refresh of unknown outcome, for when it may be asked for again."""
        pause = max(self._settled_after, now - (grant.refresh_attempted_at or now))
        self._plan(uow, grant.tenant_id, grant.id, self.clock.now() + min(pause, LONGEST_LOOK_PAUSE))

    # --- lookups --------------------------------------------------------------------------------------------------

    def _stale_companions(self, provider: Provider, token_set: TokenSet) -> list[str]:
        """Names of the companions that have expired and can be refreshed."""
        now = self.clock.now()
        companions = ((name, token_set.companions.get(name)) for name in provider.oauth.token_names)
        return [
            name
            for name, one in companions
            if one is not None and one.refresh_token is not None and not one.is_fresh(now)
        ]

    def _get_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Grant:
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, grant_id)
        if grant is None:
            raise grant_gone()
        return grant

    def _get_app(self, provider: Provider) -> ProviderApp:
        app = self.apps.get(provider.slug)
        if app is None:
            raise ProviderNotConfiguredError(f"{provider.name} is not configured here.")
        return app

    def _lock_connections(self, uow: UnitOfWork, grant: Grant) -> Iterator[Connection]:
        """The grant's connections, each locked and read again: one may be disconnecting at this moment."""
        for one in uow.connections.list_by_grant(grant.tenant_id, grant.id):
            connection = uow.connections.get(grant.tenant_id, one.id, lock=True)
            if connection.grant_id == grant.id:
                yield connection


def is_same_access_token(one: TokenSet, other: TokenSet) -> bool:
    """Whether both have the same access token, companions aside."""
    return one.access_token.reveal_bytes() == other.access_token.reveal_bytes()


def _code_of(error: ReauthorizationRequiredError) -> ReasonCode:
    is_missing = isinstance(error, _NoRefreshTokenError)
    return ReasonCode.TOKEN_DEAD if is_missing else ReasonCode.REFRESH_TOKEN_DEAD


def _secret_context(tenant_id: TenantId, grant_id: GrantId) -> SecretContext:
    return SecretContext(tenant_id, grant_id, SecretPurpose.TOKEN_SET)


def _lease_lost() -> ProviderUnavailableError:
    return ProviderUnavailableError("The refresh took too long, and another process has taken over.")


def grant_gone() -> ReauthorizationRequiredError:
    """The error of whoever wants tokens that have been ended."""
    return ReauthorizationRequiredError("The connection's tokens are gone.", next_step="Connect the account again.")
