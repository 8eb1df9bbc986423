"""Statistics: how much there is, and how long it waits."""

from datetime import timedelta

import attrs

from connectors.domain.model.ending import HeldKind
from connectors.domain.model.statistics import Statistics
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory

AT_VENDOR = frozenset(
    {
        SubscriptionStatus.PENDING,
        SubscriptionStatus.ACTIVE,
        SubscriptionStatus.ENDING,
        SubscriptionStatus.LEFT,
    }
)
"""The statuses of subscriptions that may be there."""


@attrs.frozen(kw_only=True)
class StatisticsFlow:
    """Counts for operators, across tenants."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    def collect(self) -> Statistics:
        """The present counts.

        Raises:
            InfrastructureError: our database failed.
        """
        now = self.clock.now()
        with self.unit_of_work() as uow:
            subscriptions = uow.subscriptions.count_by_status()
            return Statistics(
                unfinished_jobs=uow.jobs.count_unfinished(),
                longest_waits={
                    # The clocks of machines differ, but no wait is negative.
                    provider: max(now - since, timedelta(0))
                    for provider, since in uow.jobs.earliest_waiting().items()
                },
                connections=uow.connections.count_by_status(),
                subscriptions=subscriptions,
                earliest_expiries={
                    provider: at - now for provider, at in uow.subscriptions.earliest_expiries().items()
                },
                open_gaps=uow.coverage.count_open(),
                streams=uow.streams.count(),
                longest_unread={
                    provider: max(now - since, timedelta(0)) for provider, since in uow.streams.oldest_unread().items()
                },
                held={
                    **{
                        (provider, HeldKind.TOKEN, str(state)): count
                        for (provider, state), count in uow.grants.count_by_state().items()
                    },
                    **{
                        (provider, HeldKind.HOOK, str(status)): count
                        for (provider, status), count in subscriptions.items()
                        if status in AT_VENDOR
                    },
                },
                longest_ending=max(
                    (
                        now - since
                        for since in (uow.grants.oldest_ending(), uow.subscriptions.oldest_ending())
                        if since is not None and since < now
                    ),
                    default=timedelta(0),
                ),
                parked_items=uow.parked.count_open(),
            )
