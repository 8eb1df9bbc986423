"""What a consent gives: a grant that is on record from the vendor's answer on, and its connections."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from connectors.domain.flows.connections.authorization import (
    CONNECT_AGAIN,
    LEASE_LIFETIME,
    Authorizations,
    ConnectSettings,
)
from connectors.domain.flows.endings.records import (
    begin_ending_grant,
    begin_ending_subscription,
    is_lived_on,
    plan_end,
)
from connectors.domain.flows.provider_access.holding import store_held
from connectors.domain.flows.provider_access.token_sets import (
    earliest_expiry,
    is_same_consent,
    keep_refresh_token,
    lacks_refresh_token,
)
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.model.connection import Connection, ConnectionStatus, ExternalAccount, ReasonCode
from connectors.domain.model.errors import ConflictError, ReauthorizationRequiredError, VaultError
from connectors.domain.model.ids import ConnectionId, GrantId
from connectors.domain.model.oauth import AuthorizationRequest, Grant, GrantState, TokenSet
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import Provider
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

FIRST_MAINTENANCE = timedelta(minutes=10)
"""When a new connection's subscriptions are maintained for the first time."""

ABANDONED_AFTER = 2 * LEASE_LIFETIME
"""When a grant is ended that no callback has claimed: a second callback may go on with it for that long."""


MOVED = frozenset({SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDING})
"""The subscriptions that a user's new tokens serve, or remove."""


class TakenOverError(Exception):
    """Our lease of the authorization request ran out, and another callback has taken it."""


@attrs.frozen
class Claim:
    """What a consent gave, and what has to go because of it."""

    connections: tuple[Connection, ...]
    ending: tuple[UUID, ...]
    """Subscriptions and grants that were replaced, in the order in which they should end."""


@attrs.frozen(kw_only=True)
class Consents:
    """Stores what consents give."""

    unit_of_work: UnitOfWorkFactory
    keeper: TokenKeeper
    authorizations: Authorizations
    clock: Clock
    entropy: Entropy
    jobs: SyncJobs
    scheduler: Scheduler
    settings: ConnectSettings

    # --- before anybody knows whose they are ---------------------------------------------------------------------

    def keep(self, provider: Provider, request: AuthorizationRequest, token_set: TokenSet) -> Grant:
        """A new grant with what the request's code gave. It is on record before anything else can fail.

        Raises:
            TakenOverError: another callback has the request by now. The grant is ended.
            TenantNotFoundError: the tenant is gone.
            InfrastructureError: our database has failed for minutes, and the tokens are lost.
        """
        now = self.clock.now()
        grant_id = GrantId(self.entropy.uuid7(now))
        grant = Grant(
            id=grant_id,
            tenant_id=request.tenant_id,
            provider=provider.slug,
            state=GrantState.NEW,
            grant_key=None,
            token_set=self.keeper.seal(request.tenant_id, grant_id, token_set),
            expires_at=earliest_expiry(token_set),
            refresh_expires_at=token_set.refresh_expires_at,
            created_at=now,
            updated_at=now,
        )

        def store() -> bool:
            with self.unit_of_work() as uow:
                uow.grants.save(grant)
                # If this process dies, a worker ends it.
                plan_end(uow, request.tenant_id, grant_id, now + ABANDONED_AFTER)
                # Last, as when the request is finished: else two callbacks could deadlock.
                return uow.authorization_requests.note_grant(request, grant_id)

        if not store_held(self.clock, "tokens of a consent", store):
            self.discard(grant)
            raise TakenOverError
        return grant

    def find_kept(self, request: AuthorizationRequest) -> Grant | None:
        """The grant that an earlier callback of the request has kept before it died; None if there is none.

        Raises:
            ReauthorizationRequiredError: it has been ended since.
        """
        if request.grant_id is None:
            return None
        with self.unit_of_work() as uow:
            grant = uow.grants.get(request.tenant_id, request.grant_id)
        if grant is None or grant.state is not GrantState.NEW:
            raise _too_slow()
        return grant

    def discard(self, grant: Grant, grant_key: str | None = None) -> tuple[UUID, ...]:
        """End a grant that nobody has claimed; what has to be ended now. `grant_key`: whose it is, if that is known.

        Raises:
            InfrastructureError: our database failed. A worker ends it later.
        """
        with self.unit_of_work() as uow:
            present = uow.grants.get(grant.tenant_id, grant.id, lock=True)
            if present is None or present.state is not GrantState.NEW:
                return ()
            begin_ending_grant(uow, attrs.evolve(present, grant_key=grant_key), uow.now())
            return (grant.id,)

    # --- claiming ------------------------------------------------------------------------------------------------

    def claim(
        self,
        provider: Provider,
        request: AuthorizationRequest,
        grant: Grant,
        token_set: TokenSet,
        accounts: Sequence[ExternalAccount],
    ) -> Claim:
        """The connections of these accounts, on the grant, in one transaction with their first jobs.

        The same user's former grant, and those of other users that no connection needs any more, have to go.

        Raises:
            ConflictError: a consent of the same accounts was stored meanwhile: try again.
            ReauthorizationRequiredError: the grant has been ended meanwhile.
            TakenOverError: another callback has the request by now.
            TenantNotFoundError: the tenant is erased.
        """
        now = self.clock.now()
        key = provider.oauth.grant_key(accounts)
        with self.unit_of_work() as uow:
            # One after the other: each sees the grant that the one before made live, and none outlives an erasure.
            uow.tenants.get(request.tenant_id, lock=True)
            known = self._lock(uow, provider, grant, key, accounts)
            live = uow.grants.find_live(request.tenant_id, provider.slug, key)
            ending: list[UUID] = []
            holder, token_set = self._make_live(uow, provider, grant, live, key, token_set, now)
            if live is not None and holder.id != live.id:
                # Its other connections are this user's, too.
                known += [one for one in uow.connections.list_by_grant(live.tenant_id, live.id) if one not in known]
            for one in known:
                ending += self._take_over(uow, one, holder, live, now)
                if live is not None and one.grant_id == live.id != holder.id:
                    # Also of accounts that this consent does not list: they are this user's, too.
                    uow.connections.save(attrs.evolve(one, grant_id=holder.id, expires_at=holder.expires_at))
            stored = tuple(self._store(uow, provider, request, holder, token_set, one, now) for one in accounts)
            for grant_id in sorted({one.grant_id for one in known if one.grant_id is not None} - {holder.id}):
                former = uow.grants.get(request.tenant_id, grant_id)
                is_live = former is not None and former.state is GrantState.LIVE
                if former is not None and is_live and not is_lived_on(uow, former.tenant_id, grant_id):
                    ending.append(begin_ending_grant(uow, former, now).id)
            if live is not None and holder.id != live.id:
                ending.append(live.id)
            self.keeper.plan_refresh(uow, provider, request.tenant_id, holder.id, token_set)
            if not self.authorizations.finish(uow, request, stored):
                raise TakenOverError
        return Claim(stored, tuple(ending))

    @staticmethod
    def _lock(
        uow: UnitOfWork, provider: Provider, grant: Grant, key: str, accounts: Sequence[ExternalAccount]
    ) -> list[Connection]:
        """The present connections of the accounts and of the live grant, locked after all grants that are concerned."""
        tenant_id = grant.tenant_id

        def concerned() -> tuple[list[Connection], list[GrantId]]:
            live = uow.grants.find_live(tenant_id, provider.slug, key)
            found = {
                one.id: one
                for account in accounts
                if (one := uow.connections.find_by_account(tenant_id, provider.slug, account.id)) is not None
            }
            if live is not None:
                found |= {one.id: one for one in uow.connections.list_by_grant(tenant_id, live.id)}
            connections = sorted(found.values(), key=lambda one: (one.created_at, one.id))
            grants = {grant.id, *(one.grant_id for one in connections if one.grant_id is not None)}
            return connections, sorted(grants | ({live.id} if live is not None else set()))

        connections, grants = concerned()
        locked = {one: uow.grants.get(tenant_id, one, lock=True) for one in grants}
        for one in connections:
            uow.connections.get(tenant_id, one.id, lock=True)
        present, present_grants = concerned()
        if present_grants != grants or [one.id for one in present] != [one.id for one in connections]:
            raise ConflictError("Another consent of this account was stored at the same time.", next_step=CONNECT_AGAIN)
        new = locked[grant.id]
        if new is None or new.state is not GrantState.NEW:
            raise _too_slow()
        return present

    def _make_live(
        self,
        uow: UnitOfWork,
        provider: Provider,
        grant: Grant,
        live: Grant | None,
        key: str,
        token_set: TokenSet,
        now: datetime,
    ) -> tuple[Grant, TokenSet]:
        """The grant that holds the consent from now on, and its tokens."""
        uow.schedules.cancel(grant.tenant_id, grant.id, TaskKind.END)
        former = None if live is None else self._open(live)
        if live is not None and former is not None:
            kept = keep_refresh_token(provider, token_set, former)
            if kept is not token_set or is_same_consent(former, token_set):
                # The vendor gave no new family of tokens: nothing of the former one has to go.
                merged = attrs.evolve(
                    live,
                    token_set=self.keeper.seal(live.tenant_id, live.id, kept),
                    expires_at=earliest_expiry(kept),
                    refresh_expires_at=kept.refresh_expires_at,
                    version=live.version + 1,
                    refresh_attempted_at=None,
                    refresh_sent_at=None,
                    updated_at=now,
                )
                uow.grants.save(merged)
                uow.grants.save(attrs.evolve(grant, state=GrantState.ENDED, token_set=None, updated_at=now))
                return merged, kept
        if live is not None:
            begin_ending_grant(uow, live, now)
        holder = attrs.evolve(grant, state=GrantState.LIVE, grant_key=key, updated_at=now)
        uow.grants.save(holder)
        return holder, token_set

    def _open(self, grant: Grant) -> TokenSet | None:
        try:
            return self.keeper.open(grant)
        except VaultError:
            return None  # it is lost anyway: this consent is how its user mends that

    @staticmethod
    def _take_over(
        uow: UnitOfWork, connection: Connection, holder: Grant, live: Grant | None, now: datetime
    ) -> list[UUID]:
        """Move the connection's subscriptions to the new grant; those that another user's tokens made have to go."""
        ending: list[UUID] = []
        for one in uow.subscriptions.list_of_connection(connection.tenant_id, connection.id):
            if one.grant_id is None or one.status not in MOVED:
                continue
            if live is not None and one.grant_id == live.id:
                uow.subscriptions.save(attrs.evolve(one, grant_id=holder.id))
            elif one.grant_id != holder.id and not one.is_ending:
                ending.append(begin_ending_subscription(uow, one, now).id)
        return ending

    def _store(
        self,
        uow: UnitOfWork,
        provider: Provider,
        request: AuthorizationRequest,
        grant: Grant,
        token_set: TokenSet,
        account: ExternalAccount,
        now: datetime,
    ) -> Connection:
        known = uow.connections.find_by_account(grant.tenant_id, grant.provider, account.id)
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
                consented_at=now,
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
                suspected_at=None,
                consented_at=now,
                updated_at=now,
            )
        if lacks_refresh_token(token_set):
            connection = attrs.evolve(connection, reason_code=ReasonCode.NO_REFRESH_TOKEN)
        stored = uow.connections.save(connection)
        self._begin_reading(uow, provider, stored, now)
        return stored

    def _begin_reading(self, uow: UnitOfWork, provider: Provider, connection: Connection, now: datetime) -> None:
        """Queue the first read and the backfill. What is new comes first whatever their order."""
        if provider.streams is not None:
            if self.settings.backfill is not None:
                self.jobs.enqueue(uow, connection, JobType.BACKFILL, since=now - self.settings.backfill)
            self.jobs.enqueue(uow, connection, JobType.INCREMENTAL)
        self.scheduler.plan_maintenance(uow, connection, FIRST_MAINTENANCE)
        self.scheduler.plan_sync(uow, provider, connection)


def _too_slow() -> ReauthorizationRequiredError:
    text = "The consent took too long, and its tokens were ended."
    return ReauthorizationRequiredError(text, next_step=CONNECT_AGAIN)
