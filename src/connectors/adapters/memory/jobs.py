"""Sync jobs in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, TenantId
from connectors.domain.model.paging import Page, PageRequest
from connectors.domain.model.sync import JobFilter, JobStatus, JobType, Progress, SyncJob


class MemoryJobStore:
    """`JobStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.jobs

    def enqueue(self, job: SyncJob) -> SyncJob:
        """See `JobStore.enqueue`."""
        self._database.require_tenant(job.tenant_id)
        row = attrs.evolve(_kept(job), status=JobStatus.QUEUED)
        there = self._queued_like(row)
        if there is not None:
            return there
        if self._rows.get((row.tenant_id, row.id)) is not None:
            raise ConflictError("Another job has this id.")
        self._rows.put((row.tenant_id, row.id), row)
        return row

    def get(self, tenant_id: TenantId, job_id: JobId, *, lock: bool = False) -> SyncJob:  # noqa: ARG002 - the unit of work holds the lock
        """See `JobStore.get`."""
        row = self._rows.get((tenant_id, job_id))
        if row is None:
            raise NotFoundError("The tenant has no such job.")
        return row

    def save(self, job: SyncJob) -> None:
        """See `JobStore.save`.

        Raises:
            NotFoundError: the tenant has none with this id.
            ConflictError: another job of its connection, type and target is already queued and not begun.
        """
        self.get(job.tenant_id, job.id)
        row = _kept(job)
        there = self._queued_like(row)
        is_waiting = row.status is JobStatus.QUEUED and not row.attempts
        if is_waiting and there is not None and there.id != row.id:
            raise ConflictError("A job like this one is already queued.")
        self._rows.put((row.tenant_id, row.id), row)

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: JobFilter) -> Page[SyncJob]:
        """See `JobStore.list_page`."""
        return self._rows.page(
            tenant_id,
            page,
            lambda row: (
                where.provider in (None, row.provider)
                and where.connection_id in (None, row.connection_id)
                and where.type in (None, row.type)
                and where.status in (None, row.status)
            ),
        )

    def list_unfinished(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[SyncJob]:
        """See `JobStore.list_unfinished`."""
        rows = self._rows.find("connection", (tenant_id, connection_id))
        return sorted((row for row in rows if not row.is_finished), key=lambda row: (row.scheduled_at, row.id))

    def list_untouched(self, *, before: datetime, limit: int) -> Sequence[SyncJob]:
        """See `JobStore.list_untouched`."""
        rows = [
            row
            for row in self._rows.values()
            if not row.is_finished and max(row.updated_at, row.retry_after or row.updated_at) < before
        ]
        return sorted(rows, key=lambda row: (row.updated_at, row.id))[:limit]

    def add_progress(self, tenant_id: TenantId, job_ids: Iterable[JobId], progress: Progress, *, at: datetime) -> None:
        """See `JobStore.add_progress`."""
        for job_id in job_ids:
            row = self._rows.get((tenant_id, job_id))
            if row is None or row.is_finished:
                continue
            known = row.progress
            added = Progress(
                known.pages + progress.pages, known.items + progress.items, known.signals + progress.signals
            )
            self._rows.put((tenant_id, job_id), attrs.evolve(row, progress=added, updated_at=at))

    def count_unfinished(self) -> Mapping[tuple[ProviderSlug, JobType, JobStatus], int]:
        """See `JobStore.count_unfinished`."""
        return Counter((row.provider, row.type, row.status) for row in self._rows.values() if not row.is_finished)

    def earliest_waiting(self) -> Mapping[ProviderSlug, datetime]:
        """See `JobStore.earliest_waiting`."""
        earliest: dict[ProviderSlug, datetime] = {}
        for row in self._rows.values():
            if row.status is JobStatus.QUEUED and not row.attempts:
                earliest[row.provider] = min(row.scheduled_at, earliest.get(row.provider, row.scheduled_at))
        return earliest

    def prune(self, *, finished_before: datetime, limit: int) -> int:
        """See `JobStore.prune`."""
        old = [
            row
            for row in self._rows.values()
            if row.is_finished and (row.finished_at or row.updated_at) < finished_before
        ]
        for row in old[:limit]:
            self._rows.remove((row.tenant_id, row.id))
        return len(old[:limit])

    def _queued_like(self, job: SyncJob) -> SyncJob | None:
        key = (job.tenant_id, job.connection_id, job.type, job.target)
        return next(iter(self._rows.find("queued", key)), None)


def _kept(job: SyncJob) -> SyncJob:
    row = as_stored(job)
    return row if row.target is None else attrs.evolve(row, target=key_text(row.target))
