"""Sync jobs in PostgreSQL."""

from typing import Any

import attrs
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.paging import page_of, read_page
from connectors.adapters.postgres.tables import jobs
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.errors import InfrastructureError, NotFoundError
from connectors.domain.model.ids import ConnectionId, JobId, TenantId
from connectors.domain.model.paging import Page, PageRequest, Position
from connectors.domain.model.sync import JobStatus, JobType, Progress, SyncJob

ENQUEUE_ATTEMPTS = 5
"""How often a queued twin may vanish (claimed by a worker) between our insert and our look."""

_T = jobs.c
_ENQUEUE = (
    insert(jobs)
    .on_conflict_do_nothing(
        index_elements=[_T.tenant_id, _T.connection_id, _T.type, _T.target], index_where=text("status = 'queued'")
    )
    .returning(jobs)
)


class PostgresJobStore:
    """`JobStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def enqueue(self, job: SyncJob) -> SyncJob:
        """See `JobStore.enqueue`."""
        values = _values(attrs.evolve(job, status=JobStatus.QUEUED))
        queued = select(jobs).where(
            _T.tenant_id == job.tenant_id,
            _T.connection_id == job.connection_id,
            _T.type == job.type,
            _T.target.is_not_distinct_from(values["target"]),
            _T.status == JobStatus.QUEUED,
        )
        for _ in range(ENQUEUE_ATTEMPTS):
            row = self._transaction.first(_ENQUEUE, values) or self._transaction.first(queued)
            if row is not None:
                return _read(row)
        raise InfrastructureError("A job could not be queued: others like it come and go too fast.")

    def get(self, tenant_id: TenantId, job_id: JobId) -> SyncJob:
        """See `JobStore.get`."""
        row = self._transaction.first(select(jobs).where(_T.tenant_id == tenant_id, _T.id == job_id))
        if row is None:
            raise NotFoundError("The tenant has no such job.")
        return _read(row)

    def save(self, job: SyncJob) -> None:
        """See `JobStore.save`.

        Raises:
            NotFoundError: the tenant has none with this id.
            ConflictError: it would be the second one QUEUED of its connection, type and target.
        """
        saved = self._transaction.count(
            update(jobs).where(_T.tenant_id == job.tenant_id, _T.id == job.id).values(_values(job))
        )
        if not saved:
            raise NotFoundError("The tenant has no such job.")

    def list_page(
        self,
        tenant_id: TenantId,
        page: PageRequest,
        *,
        connection_id: ConnectionId | None = None,
        status: JobStatus | None = None,
    ) -> Page[SyncJob]:
        """See `JobStore.list_page`."""
        statement = select(jobs).where(_T.tenant_id == tenant_id)
        if connection_id is not None:
            statement = statement.where(_T.connection_id == connection_id)
        if status is not None:
            statement = statement.where(_T.status == status)
        return read_page(
            self._transaction,
            page_of(statement, page, _T.scheduled_at, _T.id),
            page,
            read=_read,
            position=lambda item: Position(item.scheduled_at, item.id),
        )


def _values(job: SyncJob) -> dict[str, Any]:
    return {
        "tenant_id": job.tenant_id,
        "id": job.id,
        "connection_id": job.connection_id,
        "provider": job.provider,
        "type": job.type,
        "status": job.status,
        "since": job.since,
        "until": job.until,
        "target": job.target,
        "cursor": job.cursor,
        "attempts": job.attempts,
        "pages": job.progress.pages,
        "items": job.progress.items,
        "signals": job.progress.signals,
        "error": job.error,
        "scheduled_at": job.scheduled_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "retry_after": job.retry_after,
    }


def _read(row: Row[Any]) -> SyncJob:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name, underscored to keep clear of columns
    return SyncJob(
        id=row.id,
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        provider=row.provider,
        type=JobType(row.type),
        status=JobStatus(row.status),
        since=row.since,
        until=row.until,
        target=row.target,
        cursor=row.cursor,
        attempts=row.attempts,
        progress=Progress(pages=row.pages, items=values["items"], signals=row.signals),
        error=row.error,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        retry_after=row.retry_after,
    )
