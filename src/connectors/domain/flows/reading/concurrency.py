"""Concurrency: no tenant and no provider takes more slots than the operator grants it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.sync import JobFilter, JobStatus, JobType, SyncJob
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork

SHORTEST_WAIT = timedelta(milliseconds=500)
"""The shortest pause before a job that found no free slot tries again; most time slices are longer."""

LONGEST_WAIT = timedelta(seconds=15)
"""The longest such pause. Every time slice that ends frees a slot."""

_FIRST_QUEUED = PageRequest(limit=50)
"""How many of a tenant's queued jobs `yield_slot` looks at to find one that could run."""


@attrs.frozen(kw_only=True)
class ConcurrencySettings:
    """How many jobs may run at once, in all workers together."""

    per_tenant: int = 4
    per_provider: int | None = None
    """None: no limit."""
    providers: Mapping[ProviderSlug, int] = attrs.field(factory=dict)
    """Limits of single providers, instead of `per_provider`."""


@attrs.frozen(kw_only=True)
class Concurrency:
    """Decides whether a job may run now."""

    settings: ConcurrencySettings
    entropy: Entropy

    def wait_for(self, uow: UnitOfWork, job: SyncJob, now: datetime) -> timedelta:
        """How long the job has to wait at least; zero if it may run, and then the caller marks it RUNNING."""
        if job.retry_after is not None and job.retry_after > now:
            return job.retry_after - now
        of_provider = self.settings.providers.get(job.provider, self.settings.per_provider)
        # The jobs of one connection run one after the other: where another one is RUNNING, its run is over. It may need
        # this job to end first, so it must not keep the slot from it.
        unfinished = uow.jobs.list_unfinished(job.tenant_id, job.connection_id)
        lost = sum(one.id != job.id and one.status is JobStatus.RUNNING for one in unfinished)
        of_tenant = uow.jobs.count_running(tenant_id=job.tenant_id) - lost
        if self._is_full(of_tenant, self.settings.per_tenant, job) or (
            of_provider is not None
            and self._is_full(uow.jobs.count_running(provider=job.provider) - lost, of_provider, job)
        ):
            return SHORTEST_WAIT + (LONGEST_WAIT - SHORTEST_WAIT) * self.entropy.fraction()
        return timedelta(0)

    def yield_slot(self, uow: UnitOfWork, job: SyncJob, now: datetime) -> timedelta:
        """How long a job whose time slice is over waits before the next one.

        Zero if no other job needs the slot. Else long enough for the waiting jobs to try again: they try only every few
        seconds, and without the pause this job would keep its slot until it ends. Incremental reads do not yield to
        backfills. Call it while the job counts as running.
        """
        is_needed = self._is_full(
            uow.jobs.count_running(tenant_id=job.tenant_id), self.settings.per_tenant, job
        ) and any(
            other.connection_id != job.connection_id
            and (other.retry_after is None or other.retry_after <= now)
            and _may_take_slot_of(other.type, job.type)
            for other in uow.jobs.list_page(job.tenant_id, _FIRST_QUEUED, JobFilter(status=JobStatus.QUEUED)).items
        )
        of_provider = self.settings.providers.get(job.provider, self.settings.per_provider)
        if not is_needed and of_provider is not None:
            is_needed = self._is_full(uow.jobs.count_running(provider=job.provider), of_provider, job) and any(
                (provider, status) == (job.provider, JobStatus.QUEUED) and _may_take_slot_of(job_type, job.type)
                for provider, job_type, status in uow.jobs.count_unfinished()
            )
        return LONGEST_WAIT if is_needed else timedelta(0)

    def _is_full(self, running: int, slots: int, job: SyncJob) -> bool:
        if job.status is JobStatus.RUNNING:
            running -= 1  # the job itself is counted: its worker has crashed
        if job.type is JobType.BACKFILL and slots > 1:
            slots -= 1  # backfills leave one slot free for incremental reads
        return running >= slots


def _may_take_slot_of(waiting: JobType, present: JobType) -> bool:
    return waiting is not JobType.BACKFILL or present is JobType.BACKFILL
