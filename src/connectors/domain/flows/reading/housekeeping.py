"""Housekeeping: deletes what has expired or was kept long enough, and queues jobs again that lost their task."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.schedule import SERVICE_TASKS, ScheduleEntry
from connectors.domain.model.tasks import TaskKind, read_task
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

LARGEST_SWEEP = 10_000
"""The most rows that one transaction deletes."""

RESCUE_BATCH = 200
"""The most jobs that one run rescues."""

UNTOUCHED_FOR = timedelta(minutes=5)
"""A job that should have continued for so long has lost its task. Time slices are far shorter."""

ENDED_KEPT = timedelta(days=7)
"""How long ended grants and subscriptions are shown; their secrets are gone."""

ERASED_KEPT = timedelta(hours=1)
"""How long an erased tenant stays known for it: longer than any request that may still be out for it."""

IDEMPOTENCY_LIFETIME = timedelta(hours=24)
"""How long a repeated `Idempotency-Key` gets the same answer."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class RetentionSettings:
    """How long records are kept."""

    deliveries: timedelta = timedelta(days=90)
    """How long webhook deliveries are kept; failed ones stay until they are replayed."""
    jobs: timedelta = timedelta(days=30)
    """How long finished jobs and closed gaps are kept."""


@attrs.frozen(kw_only=True)
class Housekeeping:
    """Runs the service's own tasks."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    retention: RetentionSettings

    def run_if_due(self, kind: TaskKind) -> int:
        """Run this service task if it is due; 1 if it was, else 0. Several processes may call this at once."""
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
                "erased_tenants": uow.tenants.forget_erased(erased_before=uow.now() - ERASED_KEPT),
                "authorization_requests": uow.authorization_requests.sweep(now=uow.now()),
                "idempotency_keys": uow.idempotency.sweep(created_before=now - IDEMPOTENCY_LIFETIME),
                "rate_limits": uow.limits.sweep(now=now),
            }
        if any(swept.values()):
            log.info("swept", extra=swept)

    def _retain(self, now: datetime) -> None:
        # In transactions of limited size, so that no lock is held for long.
        keep = self.retention
        deliveries = self._prune(
            lambda uow: uow.deliveries.prune(received_before=now - keep.deliveries, limit=LARGEST_SWEEP)
        )
        jobs = self._prune(lambda uow: uow.jobs.prune(finished_before=now - keep.jobs, limit=LARGEST_SWEEP))
        ended = self._prune(lambda uow: uow.subscriptions.prune(ended_before=now - ENDED_KEPT, limit=LARGEST_SWEEP))
        ended += self._prune(lambda uow: uow.grants.prune(ended_before=now - ENDED_KEPT, limit=LARGEST_SWEEP))
        with self.unit_of_work() as uow:
            gaps = uow.coverage.prune(closed_before=now - keep.jobs) + uow.parked.prune(closed_before=now - keep.jobs)
        if deliveries or jobs or gaps or ended:
            log.info("retention_kept", extra={"deliveries": deliveries, "jobs": jobs, "gaps": gaps, "ended": ended})

    def _prune(self, prune: Callable[[UnitOfWork], int]) -> int:
        total = 0
        while True:
            with self.unit_of_work() as uow:
                dropped = prune(uow)
            total += dropped
            if dropped < LARGEST_SWEEP:
                return total

    def _rescue(self, now: datetime) -> None:
        """Queue connections again that a worker began to read and that nobody reads, and those whose jobs wait without
        a task."""
        before = now - UNTOUCHED_FOR
        with self.unit_of_work() as uow:
            silent = uow.accounts.list_silent(before=before, limit=RESCUE_BATCH)
            waiting = uow.jobs.list_untouched(before=before, limit=RESCUE_BATCH)
        owners = {(one.tenant_id, one.connection_id) for one in silent}
        owners |= {(job.tenant_id, job.connection_id) for job in waiting}
        for tenant_id, connection_id in sorted(owners):
            with self.unit_of_work() as uow:
                # If its task still exists, this one is a duplicate or finds nothing to do.
                uow.queue.put(read_task(tenant_id, connection_id))
        if owners:
            log.warning("connections_rescued", extra={"connections": len(owners)})
