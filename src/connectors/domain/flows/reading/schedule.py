"""The schedule: when connections are read and maintained, when unused tokens are refreshed, and what is due now."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.reading.housekeeping import Housekeeping
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.schedule import (
    LONGEST_INTERVAL,
    RETRY_REFRESH,
    SERVICE_TASKS,
    SHORTEST_INTERVAL,
    ScheduleEntry,
)
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind, end_task, maintenance_task, proof_task, read_task, refresh_task
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

JITTER = 0.2
"""Jitter, as a share of the interval, so that connections made together do not sync together."""

BATCH = 200
"""Schedule entries per transaction: few enough that their rows stay locked only briefly."""

INTERVAL_SETTING = "sync_interval_seconds"
"""A connection's own interval, in its metadata."""

ASKED_AGAIN = timedelta(minutes=2)
"""When an entry is due again if the process that found it due dies before it has queued anything."""

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
        return timedelta(minutes=15) if provider.streams is None else provider.streams.poll_interval

    def plan_sync(self, uow: UnitOfWork, provider: Provider, connection: Connection) -> None:
        """Schedule the next read, an interval from now with jitter."""
        if provider.streams is not None:
            self._plan(uow, connection, TaskKind.SYNC, self.with_jitter(self.interval(provider, connection)))

    def plan_sync_now(self, uow: UnitOfWork, provider: Provider, connection: Connection) -> None:
        """Have the connection read as soon as somebody looks: what happened lately came by no delivery."""
        if provider.streams is not None:
            self._plan(uow, connection, TaskKind.SYNC, timedelta(0))

    def plan_read(self, uow: UnitOfWork, connection: Connection, at: datetime) -> None:
        """Wake the connection's reading at this instant: a pause ends, of the provider, a stream or a parked item."""
        uow.schedules.plan(
            ScheduleEntry(tenant_id=connection.tenant_id, subject_id=connection.id, kind=TaskKind.READ, next_at=at)
        )

    def forget_read(self, uow: UnitOfWork, connection: Connection) -> None:
        """Wake it at no certain instant."""
        uow.schedules.cancel(connection.tenant_id, connection.id, TaskKind.READ)

    def plan_maintenance(self, uow: UnitOfWork, connection: Connection, wait: timedelta) -> None:
        """Schedule the next maintenance of the connection's subscriptions, about this long from now."""
        self._plan(uow, connection, TaskKind.MAINTAIN, self.with_jitter(wait))

    def plan_proof(self, uow: UnitOfWork, connection: Connection, wait: timedelta) -> None:
        """Have the provider asked, this long from now, whether the connection still works."""
        self._plan(uow, connection, TaskKind.PROVE, wait)

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
        for kind in (TaskKind.END, TaskKind.PROVE, TaskKind.MAINTAIN, TaskKind.REFRESH, TaskKind.READ, TaskKind.SYNC):
            while (queued := self._queue_due(kind)) > 0:
                count += queued
        for kind in SERVICE_TASKS:
            count += self.housekeeping.run_if_due(kind)
        return count

    def _queue_due(self, kind: TaskKind) -> int:
        """Queue what is due of this kind; how much that was.

        Each entry is first put off, in a transaction of its own: who queues a task locks other rows before the
        schedule's, so nobody may hold these meanwhile. A process that dies in between loses no entry, only time.
        """
        with self.unit_of_work() as uow:
            due = uow.schedules.lock_due(kind, now=self.clock.now(), limit=BATCH)
            for entry in due:
                uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + ASKED_AGAIN))
        for entry in due:
            with self.unit_of_work() as uow:
                match kind:
                    case TaskKind.SYNC:
                        self._queue_sync(uow, entry)
                    case TaskKind.READ:
                        self._queue_read(uow, entry)
                    case TaskKind.END:
                        uow.queue.put(end_task(entry.tenant_id, entry.subject_id))
                    case TaskKind.PROVE:
                        self._queue_proof(uow, entry)
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
        if connection is not None and connection.status is ConnectionStatus.REVOKED:
            # Under its lock: its user may connect again at this moment.
            connection = uow.connections.get(entry.tenant_id, connection.id, lock=True)
        if connection is None or connection.status is ConnectionStatus.REVOKED:
            uow.schedules.cancel(entry.tenant_id, entry.subject_id, entry.kind)
            return None
        return connection

    def _queue_sync(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._find_connection(uow, entry)
        if connection is None:
            return
        provider = self.providers.find(connection.provider)
        if provider is None or provider.streams is None:
            # A problem of one connection must not hold up all those that are due with it.
            uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + UNREADABLE))
            return
        unfinished = uow.jobs.list_unfinished(connection.tenant_id, connection.id)
        if not any(job.type is JobType.INCREMENTAL and job.target is None for job in unfinished):
            try:
                self.jobs.enqueue(uow, connection, JobType.INCREMENTAL)
            except ConflictError:
                log.debug("sync_skipped", extra={"connection_id": str(connection.id), "status": str(connection.status)})
        # In case the job never finishes. When it does, the next read is scheduled from there.
        self.scheduler.plan_sync(uow, provider, connection)

    def _queue_read(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._find_connection(uow, entry)
        if connection is not None and connection.status is ConnectionStatus.ACTIVE:
            uow.queue.put(read_task(connection.tenant_id, connection.id))

    def _queue_maintenance(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._find_connection(uow, entry)
        if connection is None:
            return
        # In case the maintenance run never finishes. When it does, it schedules the next one itself.
        self.scheduler.plan_maintenance(uow, connection, timedelta(hours=1))
        if connection.status is not ConnectionStatus.DISABLED:
            uow.queue.put(maintenance_task(connection.tenant_id, connection.id))

    def _queue_proof(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._find_connection(uow, entry)
        if connection is not None:
            uow.queue.put(proof_task(connection.tenant_id, connection.id))

    def _queue_refresh(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        grant = uow.grants.get(entry.tenant_id, GrantId(entry.subject_id))
        if grant is None or grant.state is not GrantState.LIVE:
            uow.schedules.cancel(entry.tenant_id, entry.subject_id, TaskKind.REFRESH)
            return
        uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + RETRY_REFRESH))
        uow.queue.put(refresh_task(grant.tenant_id, grant.id))
