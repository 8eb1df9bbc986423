"""Removes subscriptions and revokes tokens at their vendors. What is refused is tried again for a day."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import attrs

from connectors.domain.flows.endings.records import begin_ending_grant, plan_end
from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.flows.provider_access.session import ProviderAccess, ProviderSession
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ending import Ending
from connectors.domain.model.errors import (
    InfrastructureError,
    ProviderNotConfiguredError,
    RateLimitedError,
    ReauthorizationRequiredError,
    RefusedForGoodError,
    VaultError,
    error_text,
    is_bug,
)
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.oauth import Grant, GrantState, ProviderApp
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.domain.providers.contract import Provider, RevocationScope
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

LIFETIME = timedelta(hours=24)
"""How long it is tried to end something. Then its secret is destroyed, and we say what may be left."""

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
"""Pauses between the tries double from the first to the longest."""

AT_ONCE = timedelta(seconds=5)
"""How long a caller who ends something waits for its vendor; the rest follows in the background."""

WHOSE_IS_UNKNOWN = "Nobody knows whose tokens these are, and a revocation would end all of their account."
TOKENS_GONE = "The tokens that could remove it are gone."

log = logging.getLogger(__name__)


class Remover(Protocol):
    """Removes subscriptions at their providers."""

    def remove(self, session: ProviderSession, subscription: Subscription) -> None:
        """Remove the subscription, unless another one there is the same. Raises whatever hinders that."""
        ...


@attrs.frozen(kw_only=True)
class Endings:
    """Ends subscriptions and grants whose end has been recorded."""

    unit_of_work: UnitOfWorkFactory
    converser: Converser
    access: ProviderAccess
    keeper: TokenKeeper
    remover: Remover
    clock: Clock
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    lifetime: timedelta = LIFETIME

    def try_now(self, tenant_id: TenantId, begun: Iterable[UUID]) -> None:
        """Try once to end each of these, one after the other, for a few seconds. Never raises: a worker tries again."""
        give_up_at = self.clock.now() + AT_ONCE
        for subject_id in begun:
            if self.clock.now() > give_up_at:
                return
            try:
                self.end(tenant_id, subject_id)
            except InfrastructureError as error:
                log.warning("ending_postponed", extra={"tenant_id": str(tenant_id), "reason": error.message})
                return

    def end(self, tenant_id: TenantId, subject_id: UUID) -> None:
        """Try once to end the grant or subscription with this id, and schedule the next try if it fails.

        Raises:
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            now = uow.now()
            grant = uow.grants.get(tenant_id, GrantId(subject_id), lock=True)
            subscription = None if grant else self._lock_subscription(uow, tenant_id, SubscriptionId(subject_id))
            if grant is not None and grant.state is GrantState.NEW:
                grant = begin_ending_grant(uow, grant, now)  # the callback that got it has died
            is_due = (grant is not None and grant.state is GrantState.ENDING) or (
                subscription is not None and subscription.is_ending
            )
            if not is_due:
                uow.schedules.cancel(tenant_id, subject_id, TaskKind.END)
                return
        if grant is not None:
            self._end_grant(grant)
        elif subscription is not None:
            self._end_subscription(subscription, now)

    def give_up(self, tenant_id: TenantId, subject_id: UUID, reason: str) -> None:
        """Stop trying to end the grant or subscription with this id: it is left at the vendor, its secret destroyed.

        Raises:
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, GrantId(subject_id))
            subscription = uow.subscriptions.get(tenant_id, SubscriptionId(subject_id))
        if grant is not None:
            self._settle_grant(grant, GrantState.LEFT, reason)
        if subscription is not None:
            self._settle_subscription(subscription, SubscriptionStatus.LEFT, reason)

    @staticmethod
    def _lock_subscription(
        uow: UnitOfWork, tenant_id: TenantId, subscription_id: SubscriptionId
    ) -> Subscription | None:
        """The subscription, protected by its connection's lock: one that ended may begin to end at this moment."""
        seen = uow.subscriptions.get(tenant_id, subscription_id)
        if seen is None:
            return None
        uow.connections.get(tenant_id, seen.connection_id, lock=True)
        return uow.subscriptions.get(tenant_id, subscription_id)

    # --- subscriptions -------------------------------------------------------------------------------------------

    def _end_subscription(self, subscription: Subscription, now: datetime) -> None:
        if subscription.called_until is not None and now < subscription.called_until:
            self._postpone(subscription.tenant_id, subscription.id, subscription.called_until - now)
            return
        if subscription.expires_at is not None and subscription.expires_at <= now:
            self._settle_subscription(subscription, SubscriptionStatus.ENDED)
            return
        with self.unit_of_work() as uow:
            connection = uow.connections.get(subscription.tenant_id, subscription.connection_id)
        try:
            session = self.access.open(connection, grant_id=subscription.grant_id)
            self.remover.remove(session, subscription)
        except ReauthorizationRequiredError:
            self._settle_subscription(subscription, SubscriptionStatus.LEFT, TOKENS_GONE)
        except RefusedForGoodError as error:
            self._settle_subscription(subscription, SubscriptionStatus.LEFT, error.message)
        except VaultError as error:
            self._retry_subscription(subscription, error)  # an operator may add the key
        except InfrastructureError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of a package must not keep anything from ending
            _log_failure("unsubscribe_failed", error, target=subscription.target)
            self._retry_subscription(subscription, error)
        else:
            self._settle_subscription(subscription, SubscriptionStatus.ENDED)

    def _retry_subscription(self, subscription: Subscription, error: Exception) -> None:
        with self.unit_of_work() as uow:
            now = uow.now()
            uow.connections.get(subscription.tenant_id, subscription.connection_id, lock=True)
            present = uow.subscriptions.get(subscription.tenant_id, subscription.id)
            if present is None or present.ending is None or not present.is_ending:
                return
            ending = present.ending.failed(error_text(error))
            if now - ending.since >= self.lifetime:
                left = present.moved_to(SubscriptionStatus.LEFT, at=now, error=present.error)
                ending = attrs.evolve(ending, error=_with_lapse(present, ending.error))
                uow.subscriptions.save(attrs.evolve(left, secret=None, ending=ending))
                uow.schedules.cancel(present.tenant_id, present.id, TaskKind.END)
                _log_left("subscription_left", left, ending)
            else:
                uow.subscriptions.save(attrs.evolve(present, ending=ending, updated_at=now))
                plan_end(uow, present.tenant_id, present.id, self._next_try(ending.failures, error))
            self._note(uow, present.tenant_id, present.connection_id)

    def _settle_subscription(
        self, subscription: Subscription, status: SubscriptionStatus, left: str | None = None
    ) -> None:
        with self.unit_of_work() as uow:
            uow.connections.get(subscription.tenant_id, subscription.connection_id, lock=True)
            present = uow.subscriptions.get(subscription.tenant_id, subscription.id)
            if present is None or present.ending is None or not present.is_ending:
                return
            ending = attrs.evolve(present.ending, error=_with_lapse(present, left))
            moved = present.moved_to(status, at=uow.now(), error=present.error)
            uow.subscriptions.save(attrs.evolve(moved, secret=None, ending=ending, called_until=None))
            uow.schedules.cancel(present.tenant_id, present.id, TaskKind.END)
            self._note(uow, present.tenant_id, present.connection_id)
        if left is not None:
            _log_left("subscription_left", moved, ending)

    # --- grants --------------------------------------------------------------------------------------------------

    def _end_grant(self, grant: Grant) -> None:
        with self.unit_of_work() as uow:
            hooks = uow.subscriptions.list_of_grant(grant.tenant_id, grant.id)
            is_account_alive = grant.grant_key is not None and uow.grants.is_lived_on(grant.grant_key, besides=grant.id)
        if any(one.is_ending for one in hooks):
            # First what only these tokens can remove.
            self._postpone(grant.tenant_id, grant.id, FIRST_PAUSE)
            return
        try:
            provider = self.providers.get_stored(grant.provider)
            is_account_wide = provider.oauth.revocation_scope is RevocationScope.ACCOUNT
            if provider.oauth.revoke is None or (is_account_wide and is_account_alive):
                pass  # the vendor has no such call, or these tokens die with the account's last ones that are needed
            elif is_account_wide and grant.grant_key is None:
                self._settle_grant(grant, GrantState.LEFT, WHOSE_IS_UNKNOWN)
                return
            else:
                self._revoke(provider, grant)
        except ReauthorizationRequiredError as error:
            # The vendor says that they are gone; after a lost answer, only that the successors are not these.
            lost = None if grant.refresh_attempted_at is None else error.message
            self._settle_grant(grant, GrantState.ENDED if lost is None else GrantState.LEFT, lost)
        except VaultError as error:
            self._retry_grant(grant, error)  # an operator may add the key
        except InfrastructureError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of a package must not keep anything from ending
            _log_failure("revoke_failed", error, provider=grant.provider)
            self._retry_grant(grant, error)
        else:
            self._settle_grant(grant, GrantState.ENDED)

    def _revoke(self, provider: Provider, grant: Grant) -> None:
        app = self.apps.get(provider.slug)
        if app is None or provider.oauth.revoke is None:
            raise ProviderNotConfiguredError(f"{provider.name} is not configured here.")
        tokens = self.keeper.settled_tokens(grant.tenant_id, grant.id)
        self.converser.run(provider, app, provider.oauth.revoke(app, tokens), FixedTokens(tokens))

    def _retry_grant(self, grant: Grant, error: Exception) -> None:
        with self.unit_of_work() as uow:
            now = uow.now()
            present = uow.grants.get(grant.tenant_id, grant.id, lock=True)
            if present is None or present.ending is None or present.state is not GrantState.ENDING:
                return
            ending = present.ending.failed(error_text(error))
            present = attrs.evolve(present, ending=ending, updated_at=now)
            is_left = now - ending.since >= self.lifetime
            if is_left:
                present = attrs.evolve(present, state=GrantState.LEFT, token_set=None)
            uow.grants.save(present)
            self._note_all(uow, present)
            if is_left:
                uow.schedules.cancel(present.tenant_id, present.id)
                _log_left("tokens_left", present, ending)
            else:
                plan_end(uow, present.tenant_id, present.id, self._next_try(ending.failures, error))

    def _settle_grant(self, grant: Grant, state: GrantState, left: str | None = None) -> None:
        with self.unit_of_work() as uow:
            present = uow.grants.get(grant.tenant_id, grant.id, lock=True)
            if present is None or present.ending is None or present.state is not GrantState.ENDING:
                return
            ending = attrs.evolve(present.ending, error=left)
            uow.grants.save(attrs.evolve(present, state=state, token_set=None, ending=ending, updated_at=uow.now()))
            self._note_all(uow, present)
            uow.schedules.cancel(present.tenant_id, present.id)
        if left is not None:
            _log_left("tokens_left", present, ending)

    # --- both ----------------------------------------------------------------------------------------------------

    def _postpone(self, tenant_id: TenantId, subject_id: UUID, pause: timedelta) -> None:
        with self.unit_of_work() as uow:
            plan_end(uow, tenant_id, subject_id, self.clock.now() + pause)

    def _next_try(self, failures: int, error: Exception) -> datetime:
        doublings: int = 2 ** min(failures - 1, 16)
        at = self.clock.now() + min(FIRST_PAUSE * doublings, LONGEST_PAUSE)
        return max(at, error.retry_at) if isinstance(error, RateLimitedError) else at

    def _note_all(self, uow: UnitOfWork, grant: Grant) -> None:
        for one in uow.connections.list_by_grant(grant.tenant_id, grant.id):
            uow.connections.get(one.tenant_id, one.id, lock=True)
            self._note(uow, one.tenant_id, one.id)

    def _note(self, uow: UnitOfWork, tenant_id: TenantId, connection_id: ConnectionId) -> None:
        """Show on the connection, which the caller has locked, what of it could not be ended yet."""
        connection = uow.connections.get(tenant_id, connection_id)
        if connection.status is not ConnectionStatus.REVOKED:
            return
        texts = [
            f"{one.target}: {one.ending.error}"
            for one in uow.subscriptions.list_of_connection(tenant_id, connection_id)
            if one.ending is not None and one.ending.error is not None
        ]
        grant = None if connection.grant_id is None else uow.grants.get(tenant_id, connection.grant_id)
        if grant is not None and grant.ending is not None and grant.ending.error is not None:
            texts.append(f"revocation: {grant.ending.error}")
        error = "; ".join(texts) or None
        if error != connection.end_error:
            uow.connections.save(attrs.evolve(connection, end_error=error, updated_at=self.clock.now()))


def _with_lapse(subscription: Subscription, left: str | None) -> str | None:
    """Why the subscription may be left at the provider, and when it lapses there, if that is known."""
    if left is None or subscription.expires_at is None:
        return left
    return f"{left} It lapses at {rfc3339(subscription.expires_at)}."


def _log_left(event: str, one: Grant | Subscription, ending: Ending) -> None:
    """Tell the operator. Of an erased tenant nothing else tells it."""
    about = {"tenant_id": str(one.tenant_id), "provider": one.provider, "subject_id": str(one.id)}
    log.error(event, extra={**about, "reason": ending.error})


def _log_failure(event: str, error: Exception, **about: str) -> None:
    log.warning(event, extra={**about, "reason": error_text(error)}, exc_info=is_bug(error))
