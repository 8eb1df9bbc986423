"""Shows what has to go at vendors and what may be left there, and lets operators try again or give up."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import attrs

from connectors.domain.flows.endings.endings import Endings
from connectors.domain.model.connection import Connection
from connectors.domain.model.ending import HeldKind
from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.oauth import Grant, GrantState
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

DISMISSED = "An operator gave it up."
UNKNOWN_ACCOUNT = "an unknown account"


@attrs.frozen(kw_only=True)
class Held:
    """Something of ours that has to go at its vendor, or that may be left there."""

    id: UUID
    """The grant's or the subscription's."""
    tenant_id: TenantId
    provider: ProviderSlug
    kind: HeldKind
    target: str
    """What the subscription covers; whose tokens they are."""
    connection_id: ConnectionId | None
    """One that it belongs to; None where none uses the grant any more."""
    is_left: bool
    """Whether we have given up: its secret is destroyed."""
    since: datetime
    failures: int
    next_try_at: datetime | None
    """None once it is left, or if a worker is about to try."""
    gives_up_at: datetime | None
    """The first failure from then on is the last one; None once it is left."""
    reason: str | None
    """Why the last try failed; None before the first."""
    remove_it_at: str | None
    """Where a person can remove it; None where the provider package does not say."""


@attrs.frozen(kw_only=True)
class HeldFlow:
    """Lists what is ending or left, tries again, gives up."""

    unit_of_work: UnitOfWorkFactory
    endings: Endings
    providers: ProviderRegistry

    def list(self, tenant_id: TenantId | None, *, limit: int) -> tuple[Held, ...]:
        """What is ending or left of the tenant, or (None) of all tenants, the longest first."""
        with self.unit_of_work() as uow:
            grants = [self._of_grant(uow, one) for one in uow.grants.list_held(tenant_id, limit=limit)]
            hooks = [self._of_subscription(uow, one) for one in uow.subscriptions.list_held(tenant_id, limit=limit)]
        return tuple(sorted(filter(None, [*grants, *hooks]), key=lambda one: (one.since, one.id))[:limit])

    def of_connection(
        self, uow: UnitOfWork, connection: Connection, subscriptions: Iterable[Subscription]
    ) -> tuple[Held, ...]:
        """What is ending or left of the connection: of its subscriptions, which are these, and its grant."""
        hooks = [self._of_subscription(uow, one) for one in subscriptions]
        grant = None if connection.grant_id is None else uow.grants.get(connection.tenant_id, connection.grant_id)
        return tuple(filter(None, [*hooks, None if grant is None else self._of_grant(uow, grant)]))

    def retry(self, tenant_id: TenantId, subject_id: UUID) -> Held | None:
        """Try now to end the grant (its subscriptions first) or the subscription; None if it is gone.

        Raises:
            NotFoundError: nothing of the tenant with this id has to go.
            ConflictError: it is left: what could end it is destroyed.
        """
        held = self._get_ending(tenant_id, subject_id)
        if held.kind is HeldKind.TOKEN:
            with self.unit_of_work() as uow:
                hooks = uow.subscriptions.list_of_grant(tenant_id, GrantId(subject_id))
            for hook in hooks:
                if hook.is_ending:
                    self.endings.end(tenant_id, hook.id)
        self.endings.end(tenant_id, subject_id)
        return self._find(tenant_id, subject_id)

    def dismiss(self, tenant_id: TenantId, subject_id: UUID) -> Held | None:
        """Give the grant or subscription up: it is left from now on; None if it has ended at this moment.

        Raises: like `retry`.
        """
        held = self._get_ending(tenant_id, subject_id)
        self.endings.give_up(tenant_id, subject_id, f"{DISMISSED} {held.reason or ''}".strip())
        return self._find(tenant_id, subject_id)

    def _get_ending(self, tenant_id: TenantId, subject_id: UUID) -> Held:
        held = self._find(tenant_id, subject_id)
        if held is None:
            raise NotFoundError("Nothing with this id has to go at a vendor.")
        if held.is_left:
            where = None if held.remove_it_at is None else f"Where it can be removed by hand: {held.remove_it_at}"
            raise ConflictError("It was given up, and what could end it is destroyed.", next_step=where)
        return held

    def _find(self, tenant_id: TenantId, subject_id: UUID) -> Held | None:
        with self.unit_of_work() as uow:
            grant = uow.grants.get(tenant_id, GrantId(subject_id))
            if grant is not None:
                return self._of_grant(uow, grant)
            subscription = uow.subscriptions.get(tenant_id, SubscriptionId(subject_id))
            return None if subscription is None else self._of_subscription(uow, subscription)

    def _of_grant(self, uow: UnitOfWork, grant: Grant) -> Held | None:
        if grant.state not in {GrantState.ENDING, GrantState.LEFT}:
            return None
        users = uow.connections.list_by_grant(grant.tenant_id, grant.id)
        provider = self.providers.find(grant.provider)
        return self._of(
            uow,
            grant,
            kind=HeldKind.TOKEN,
            target=", ".join(one.account.name for one in users) or grant.grant_key or UNKNOWN_ACCOUNT,
            connection_id=users[0].id if users else None,
            is_left=grant.state is GrantState.LEFT,
            remove_it_at=None if provider is None else provider.oauth.remove_at,
        )

    def _of_subscription(self, uow: UnitOfWork, subscription: Subscription) -> Held | None:
        if subscription.status not in {SubscriptionStatus.ENDING, SubscriptionStatus.LEFT}:
            return None
        provider = self.providers.find(subscription.provider)
        webhooks = None if provider is None else provider.webhooks
        made = None if webhooks is None else webhooks.subscriptions
        return self._of(
            uow,
            subscription,
            kind=HeldKind.HOOK,
            target=subscription.target,
            connection_id=subscription.connection_id,
            is_left=subscription.status is SubscriptionStatus.LEFT,
            remove_it_at=None if made is None else made.remove_at,
        )

    def _of(
        self,
        uow: UnitOfWork,
        thing: Grant | Subscription,
        *,
        kind: HeldKind,
        target: str,
        connection_id: ConnectionId | None,
        is_left: bool,
        remove_it_at: str | None,
    ) -> Held | None:
        if thing.ending is None:
            return None
        entry = None if is_left else uow.schedules.find(thing.tenant_id, thing.id, TaskKind.END)
        return Held(
            id=thing.id,
            tenant_id=thing.tenant_id,
            provider=thing.provider,
            kind=kind,
            target=target,
            connection_id=connection_id,
            is_left=is_left,
            since=thing.ending.since,
            failures=thing.ending.failures,
            next_try_at=None if entry is None else entry.next_at,
            gives_up_at=None if is_left else thing.ending.since + self.endings.lifetime,
            reason=thing.ending.error,
            remove_it_at=remove_it_at,
        )
