"""The schedule: reads, subscription maintenance, refreshes of unused tokens, and the service's housekeeping."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError, NotFoundError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug
from connectors.domain.model.schedule import LONGEST_INTERVAL, SERVICE_TASKS, SHORTEST_INTERVAL, ScheduleEntry
from connectors.domain.model.sync import JobType, SyncJob
from connectors.domain.model.tasks import TaskKind, maintenance_task, refresh_task, sync_task
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

JITTER = 0.2
"""Jitter to either side, as a share of the interval, so that connections made together do not sync together."""

BATCH = 200
"""Schedule entries per transaction: few enough that their rows stay locked only briefly."""

LARGEST_SWEEP = 10_000
"""Rows that one transaction deletes."""

UNTOUCHED_FOR = timedelta(minutes=5)
"""A job that should continue and has not for so long has lost its task. Time slices are far shorter."""

IDEMPOTENCY_LIFETIME = timedelta(hours=24)
"""How long a repeated `Idempotency-Key` gets the same answer."""

RETRY_REFRESH = timedelta(hours=6)
"""When an idle grant is checked again if its refresh did not move the schedule entry itself."""

INTERVAL_SETTING = "sync_interval_seconds"
"""A connection's own interval, in its metadata."""

UNREADABLE = timedelta(days=1)
"""When a connection is checked again whose provider is no longer installed, or cannot be read."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ScheduleSettings:
    """How often scheduled tasks run, and how long records are kept."""

    interval: timedelta | None = None
    """Between two reads of a connection; None: each provider package's own, 15 minutes for most."""
    intervals: Mapping[ProviderSlug, timedelta] = attrs.field(factory=dict)
    """The same for single providers."""
    delivery_retention: timedelta = timedelta(days=90)
    """How long webhook deliveries are kept; failed ones stay until they are replayed."""
    job_retention: timedelta = timedelta(days=30)
    """How long finished jobs and closed gaps are kept."""


@attrs.frozen(kw_only=True)
class Scheduler:
    """Makes schedule entries."""

    clock: Clock
    entropy: Entropy
    settings: ScheduleSettings

    def interval(self, provider: Provider, connection: Connection) -> timedelta:
        """How long the connection waits between two reads."""
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
        """Schedule the next maintenance of the connection's subscriptions, about so long from now."""
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
    """Queues what is due. Any number of processes may do so at once: each schedule entry is taken once."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    providers: ProviderRegistry
    scheduler: Scheduler
    jobs: SyncJobs
    settings: ScheduleSettings

    def tick(self) -> int:
        """Queue everything that is due; how much that was. After a long pause each entry is due once."""
        done = 0
        for kind in (TaskKind.MAINTAIN, TaskKind.REFRESH, TaskKind.SYNC):
            while (kept := self._keep(kind)) > 0:
                done += kept
        for kind in SERVICE_TASKS:
            done += self._housekeep(kind)
        return done

    def _keep(self, kind: TaskKind) -> int:
        with self.unit_of_work() as uow:
            due = uow.schedules.lock_due(kind, now=self.clock.now(), limit=BATCH)
            for entry in due:
                match kind:
                    case TaskKind.SYNC:
                        self._sync(uow, entry)
                    case TaskKind.MAINTAIN:
                        self._maintain(uow, entry)
                    case _:
                        self._refresh(uow, entry)
        return len(due)

    def _connection(self, uow: UnitOfWork, entry: ScheduleEntry) -> Connection | None:
        try:
            connection = uow.connections.get(entry.tenant_id, ConnectionId(entry.subject_id))
        except ConnectionNotFoundError:
            connection = None
        if connection is None or connection.status is ConnectionStatus.REVOKED:
            uow.schedules.cancel(entry.tenant_id, entry.subject_id)
            return None
        return connection

    def _sync(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._connection(uow, entry)
        if connection is None:
            return
        provider = self.providers.find(connection.provider)
        if provider is None or provider.sync is None:
            # A problem of one connection must not hold up all those that are due with it.
            uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + UNREADABLE))
            return
        # Already now, in case the job never finishes. When it does, it schedules the next read itself.
        self.scheduler.plan_sync(uow, provider, connection)
        unfinished = uow.jobs.list_unfinished(connection.tenant_id, connection.id)
        if any(job.type is JobType.INCREMENTAL and job.target is None for job in unfinished):
            return  # that job will read what this one would have read
        try:
            self.jobs.enqueue(uow, connection, JobType.INCREMENTAL)
        except ConflictError:
            log.debug("sync_skipped", extra={"connection_id": str(connection.id), "status": str(connection.status)})

    def _maintain(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        connection = self._connection(uow, entry)
        if connection is None:
            return
        self.scheduler.plan_maintenance(
            uow, connection, timedelta(hours=1)
        )  # the maintenance run sets a better time itself
        if connection.status is not ConnectionStatus.DISABLED:
            uow.queue.put(maintenance_task(connection.tenant_id, connection.id))

    def _refresh(self, uow: UnitOfWork, entry: ScheduleEntry) -> None:
        grant = uow.grants.get(entry.tenant_id, GrantId(entry.subject_id))
        if grant is None:
            uow.schedules.cancel(entry.tenant_id, entry.subject_id)
            return
        uow.schedules.plan(attrs.evolve(entry, next_at=self.clock.now() + RETRY_REFRESH))
        uow.queue.put(refresh_task(grant.tenant_id, grant.id))

    # --- the service's own ---------------------------------------------------------------------------------------

    def _housekeep(self, kind: TaskKind) -> int:
        now = self.clock.now()
        with self.unit_of_work() as uow:
            uow.schedules.ensure(ScheduleEntry(kind=kind, next_at=now))
            due = uow.schedules.lock_due(kind, now=now, limit=1)
            for entry in due:
                uow.schedules.plan(attrs.evolve(entry, next_at=now + SERVICE_TASKS[kind]))
        if due:
            match kind:
                case TaskKind.SWEEP:
                    self._sweep(now)
                case TaskKind.RETAIN:
                    self._retain(now)
                case _:
                    self._rescue(now)
        return len(due)

    def _sweep(self, now: datetime) -> None:
        with self.unit_of_work() as uow:
            swept = {
                "authorization_requests": uow.authorization_requests.sweep(now=now),
                "idempotency_keys": uow.idempotency.sweep(created_before=now - IDEMPOTENCY_LIFETIME),
                "rate_limits": uow.limits.sweep(now=now),
            }
        if any(swept.values()):
            log.info("swept", extra=swept)

    def _retain(self, now: datetime) -> None:
        deliveries = jobs = 0
        dropped = LARGEST_SWEEP
        while dropped == LARGEST_SWEEP:
            with self.unit_of_work() as uow:
                dropped = uow.deliveries.prune(
                    received_before=now - self.settings.delivery_retention, limit=LARGEST_SWEEP
                )
            deliveries += dropped
        dropped = LARGEST_SWEEP
        while dropped == LARGEST_SWEEP:
            with self.unit_of_work() as uow:
                dropped = uow.jobs.prune(finished_before=now - self.settings.job_retention, limit=LARGEST_SWEEP)
            jobs += dropped
        with self.unit_of_work() as uow:
            gaps = uow.coverage.prune(closed_before=now - self.settings.job_retention)
        if deliveries or jobs or gaps:
            log.info("retention_kept", extra={"deliveries": deliveries, "jobs": jobs, "gaps": gaps})

    def _rescue(self, now: datetime) -> None:
        with self.unit_of_work() as uow:
            untouched = uow.jobs.list_untouched(before=now - UNTOUCHED_FOR, limit=BATCH)
        rescued = sum(self._rescue_one(job, now) for job in untouched)
        if rescued:
            log.warning("jobs_rescued", extra={"jobs": rescued})

    def _rescue_one(self, job: SyncJob, now: datetime) -> bool:
        with self.unit_of_work() as uow:
            try:
                present = uow.jobs.get(job.tenant_id, job.id, lock=True)
            except NotFoundError:
                return False  # erased with its tenant
            if present.is_finished or present.updated_at != job.updated_at:
                return False  # it has changed since: what its worker wrote must stay
            # If the old task still exists, this one is a duplicate or finds nothing to do. It has its own queueing
            # lock, because another job's task may hold the one for new jobs.
            uow.queue.put(sync_task(present, is_continued=True))
            uow.jobs.save(attrs.evolve(present, updated_at=now))  # others come first next time
            return True
