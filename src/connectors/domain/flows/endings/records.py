"""Records that something has to go at its vendor, in the transaction that decides it. `endings.py` then does it."""

from datetime import datetime, timedelta
from uuid import UUID

import attrs

from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.ending import Ending
from connectors.domain.model.ids import GrantId, TenantId
from connectors.domain.model.oauth import Grant, GrantState
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.ports.unit_of_work import UnitOfWork

FIRST_LOOK = timedelta(minutes=1)
"""When a worker looks at it, if the process that decided it dies before it has tried."""

LIVING = frozenset({ConnectionStatus.ACTIVE, ConnectionStatus.DISABLED})
"""The statuses of connections that need their grant. The grant of one whose user has to connect again is dead."""


def plan_end(uow: UnitOfWork, tenant_id: TenantId, subject_id: UUID, at: datetime) -> None:
    """Schedule the next try to end this grant or subscription, or all of the tenant."""
    uow.schedules.plan(ScheduleEntry(tenant_id=tenant_id, subject_id=subject_id, kind=TaskKind.END, next_at=at))


def begin_ending_grant(uow: UnitOfWork, grant: Grant, now: datetime) -> Grant:
    """The grant, which has to go from now on. The caller has locked it."""
    ending = attrs.evolve(grant, state=GrantState.ENDING, ending=Ending(since=now), updated_at=now)
    uow.grants.save(ending)
    uow.schedules.cancel(grant.tenant_id, grant.id, TaskKind.REFRESH)
    plan_end(uow, grant.tenant_id, grant.id, now + FIRST_LOOK)
    return ending


def begin_ending_subscription(uow: UnitOfWork, subscription: Subscription, now: datetime) -> Subscription:
    """The subscription, which has to go from now on, or is over at once if there is nothing of it at the vendor."""
    is_there = subscription.may_be_there(now)
    if is_there and subscription.grant_id is not None:
        moved = subscription.moved_to(SubscriptionStatus.ENDING, at=now, error=subscription.error)
        ending = attrs.evolve(moved, ending=Ending(since=now))
        uow.subscriptions.save(ending)
        plan_end(uow, ending.tenant_id, ending.id, now + FIRST_LOOK)
        return ending
    if subscription.status in {SubscriptionStatus.ENDING, SubscriptionStatus.ENDED, SubscriptionStatus.LEFT}:
        return subscription
    moved = subscription.moved_to(SubscriptionStatus.ENDED, at=now, error=subscription.error)
    ended = attrs.evolve(moved, secret=None)
    uow.subscriptions.save(ended)
    return ended


def is_lived_on(uow: UnitOfWork, tenant_id: TenantId, grant_id: GrantId) -> bool:
    """Whether a connection needs the grant."""
    return any(one.status in LIVING for one in uow.connections.list_by_grant(tenant_id, grant_id))


def begin_ending_connection(uow: UnitOfWork, ended: Connection, now: datetime) -> tuple[UUID, ...]:
    """What has to go with a connection that has just ended: its subscriptions first, then the grant if nobody needs it.

    The caller has locked the grant and the connection, and stored the connection.
    """
    begun: list[UUID] = [
        one.id
        for one in uow.subscriptions.list_of_connection(ended.tenant_id, ended.id)
        if begin_ending_subscription(uow, one, now).is_ending
    ]
    if ended.grant_id is not None and not is_lived_on(uow, ended.tenant_id, ended.grant_id):
        grant = uow.grants.get(ended.tenant_id, ended.grant_id, lock=True)
        if grant is not None and grant.state is GrantState.LIVE:
            begun.append(begin_ending_grant(uow, grant, now).id)
    return tuple(begun)


def lock_with_grant(uow: UnitOfWork, tenant_id: TenantId, connection: Connection) -> Connection | None:
    """The connection, locked after its grant, as everywhere; None if it has another grant by now: begin again."""
    if connection.grant_id is not None:
        uow.grants.get(tenant_id, connection.grant_id, lock=True)
    present = uow.connections.get(tenant_id, connection.id, lock=True)
    return present if present.grant_id == connection.grant_id else None
