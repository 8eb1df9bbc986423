"""Sync jobs in memory."""

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import kept, key_text
from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.ids import ConnectionId, JobId, TenantId
from connectors.domain.model.paging import Page, PageRequest
from connectors.domain.model.sync import JobStatus, SyncJob


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

    def get(self, tenant_id: TenantId, job_id: JobId) -> SyncJob:
        """See `JobStore.get`."""
        row = self._rows.get((tenant_id, job_id))
        if row is None:
            raise NotFoundError("The tenant has no such job.")
        return row

    def save(self, job: SyncJob) -> None:
        """See `JobStore.save`.

        Raises:
            NotFoundError: the tenant has none with this id.
            ConflictError: it would be the second one QUEUED of its connection, type and target.
        """
        self.get(job.tenant_id, job.id)
        row = _kept(job)
        there = self._queued_like(row)
        if row.status is JobStatus.QUEUED and there is not None and there.id != row.id:
            raise ConflictError("A job like this one is queued already.")
        self._rows.put((row.tenant_id, row.id), row)

    def list_page(
        self,
        tenant_id: TenantId,
        page: PageRequest,
        *,
        connection_id: ConnectionId | None = None,
        status: JobStatus | None = None,
    ) -> Page[SyncJob]:
        """See `JobStore.list_page`."""
        return self._rows.page(
            tenant_id, page, lambda row: connection_id in (None, row.connection_id) and status in (None, row.status)
        )

    def _queued_like(self, job: SyncJob) -> SyncJob | None:
        key = (job.tenant_id, job.connection_id, job.type, job.target)
        return next(iter(self._rows.find("queued", key)), None)


def _kept(job: SyncJob) -> SyncJob:
    row = kept(job)
    return row if row.target is None else attrs.evolve(row, target=key_text(row.target))
