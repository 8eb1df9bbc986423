"""The schedule: when connections are read and maintained, when unused tokens are refreshed, and what is due now."""

import logging
from collections.abc import Mapping
from datetime import timedelta

import attrs

from connectors.domain.flows.reading.housekeeping import Housekeeping
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug
from connectors.domain.model.schedule import LONGEST_INTERVAL, SERVICE_TASKS, SHORTEST_INTERVAL, ScheduleEntry
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind, maintenance_task, refresh_task
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

JITTER = 0.2
"""Jitter, as a share of the interval, so that connections made together do not sync together."""

BATCH = 200
"""Schedule entries per transaction: few enough that their rows stay locked only briefly."""

RETRY_REFRESH = timedelta(hours=6)
"""When an idle grant is checked again if its refresh does not move the schedule entry itself."""

INTERVAL_SETTING = "sync_interval_seconds"
"""A connection's own interval, in its metadata."""

UNREADABLE = timedelta(days=1)
"""When a connection is checked again whose provider is no longer installed or cannot be read."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ScheduleSettings:
    """How often connections are read."""

    interval: timedelta | None = None
    """Between two reads of a connection; None: each provider package's own, 15 minutes for most."""
    intervals: Mapping[ProviderSlug, timedelta] = attrs.field(factory=dict)
    """The same for single providers."""


@attrs.frozen(kw_only=True)
class Scheduler:
    """Makes schedule entries."""

    clock: Clock
    entropy: Entropy
    settings: ScheduleSettings

    def interval(self, provider: Provider, connection: Connection) -> timedelta:
        """The time between two reads of the connection."""
        own = connection.metadata.get(INTERVAL_SETTING)
        if isinstance(own, int) and not isinstance(own, bool) and own > 0:
            return timedelta(seconds=min(max(own, SHORTEST_INTERVAL.total_seconds()), LONGEST_INTERVAL.total_seconds()))
        chosen = self.settings.intervals.get(provider.slug, self.settings.interval)
        if chosen is not None:
            return chosen
        return timedelta(minutes=15) if provider.sync is None else provider.sync.poll_interval

    def plan_sync(self, uow: UnitOfWork, provider: Provider, connection: Connection) -> None:
        """Schedule the next read, an interval from now with jitter."""
        if provider.sync is not None:
            self._plan(uow, connection, TaskKind.SYNC, self.with_jitter(self.interval(provider, connection)))

    def plan_maintenance(self, uow: UnitOfWork, connection: Connection, wait: timedelta) -> None:
        """Schedule the next maintenance of the connection's subscriptions, about this long from now."""
        self._plan(uow, connection, TaskKind.MAINTAIN, self.with_jitter(wait))

    def with_jitter(self, interval: timedelta) -> timedelta:
        """The interval, up to `JITTER` longer or shorter."""
        return interval * (1 + JITTER * (2 * self.entropy.fraction() - 1))

    def _plan(self, uow: UnitOfWork, connection: Connection, kind: TaskKind, wait: timedelta) -> None:
        uow.schedules.plan(
            ScheduleEntry(
                tenant_id=connection.tenant_id,
                subject_id=connection.id,
                kind=kind,
                next_at=self.clock.now() + wait,
            )
        )


@attrs.frozen(kw_only=True)
class ScheduleFlow:
    """Queues what is due. Several processes may do so at once: each schedule entry is taken once."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    providers: ProviderRegistry
    scheduler: Scheduler
    jobs: SyncJobs
    housekeeping: Housekeeping

    def tick(self) -> int:
        """Queue everything that is due; the number of tasks. After a long pause each entry is due only once."""
        count = 0
        for kind in (TaskKind.MAINTAIN, TaskKind.REFRESH, TaskKind.SYNC):
            while (queued := self._queue_due(kind)) > 0:
                count += queued
        for kind in SERVICE_TASKS:
            count += self.housekeeping.run_if_due(kind)
        return count

    def _queue_due(self, kind: TaskKind) -> int:
        with self.unit_of_work() as uow:
            due = uow.schedules.lock_due(kind, now=self.clock.now(), limit=BATCH)
            for entry in due:
                match kind:
                    case TaskKind.SYNC:
                        self._queue_sync(uow, entry)
                    case TaskKind.MAINTAIN:
                        self._queue_maintenance(uow, entry)
                    case _:
                        self._queue_refresh(uow, entry)
        return len(due)

    def _find_connection(self, uow: UnitOfWork, entry: ScheduleEntry) -> Connection | None:
        try:
            connection = uow.connections.get(entry.tenant_id, ConnectionId(entry.subject_id))
        except ConnectionNotFoundError:
            connection = None
        if connection is None or connection.status is ConnectionStatus.REVOKED:
            # Only the entry that is locked already: whoever connects again plans the others at the same time, in an
            # order of its own, and each would wait for the other.
            uow.schedules.cancel(entry.tenant_id, entry.subject_id, entry.kind)
            return None
        return connection

    def _queue_sync(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._find_connection(uow, entry)
        if connection is None:
            return
        provider = self.providers.find(connection.provider)
        if provider is None or provider.sync is None:
            # A problem of one connection must not hold up all those that are due with it.
            uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + UNREADABLE))
            return
        # Schedule now in case the job never finishes. When it does, it schedules the next read itself.
        self.scheduler.plan_sync(uow, provider, connection)
        unfinished = uow.jobs.list_unfinished(connection.tenant_id, connection.id)
        if any(job.type is JobType.INCREMENTAL and job.target is None for job in unfinished):
            return  # that job will read what this one would have read
        try:
            self.jobs.enqueue(uow, connection, JobType.INCREMENTAL)
        except ConflictError:
            log.debug("sync_skipped", extra={"connection_id": str(connection.id), "status": str(connection.status)})

    def _queue_maintenance(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._find_connection(uow, entry)
        if connection is None:
            return
        # In case the maintenance run never finishes. When it does, it schedules the next one itself.
        self.scheduler.plan_maintenance(uow, connection, timedelta(hours=1))
        if connection.status is not ConnectionStatus.DISABLED:
            uow.queue.put(maintenance_task(connection.tenant_id, connection.id))

    def _queue_refresh(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        grant = uow.grants.get(entry.tenant_id, GrantId(entry.subject_id))
        if grant is None:
            uow.schedules.cancel(entry.tenant_id, entry.subject_id)
            return
        uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + RETRY_REFRESH))
        uow.queue.put(refresh_task(grant.tenant_id, grant.id))
