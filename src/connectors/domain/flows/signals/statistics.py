"""Statistics: how much there is, and how long it waits."""

from datetime import timedelta

import attrs

from connectors.domain.model.statistics import Statistics
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory


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
            return Statistics(
                unfinished_jobs=uow.jobs.count_unfinished(),
                longest_waits={
                    # The clocks of machines differ, but no wait is negative.
                    provider: max(now - since, timedelta(0))
                    for provider, since in uow.jobs.earliest_waiting().items()
                },
                connections=uow.connections.count_by_status(),
                subscriptions=uow.subscriptions.count_by_status(),
                earliest_expiries={
                    provider: at - now for provider, at in uow.subscriptions.earliest_expiries().items()
                },
                open_gaps=uow.coverage.count_open(),
                streams=uow.streams.count(),
                longest_unread={
                    provider: max(now - since, timedelta(0)) for provider, since in uow.streams.oldest_unread().items()
                },
                parked_items=uow.parked.count_open(),
            )
