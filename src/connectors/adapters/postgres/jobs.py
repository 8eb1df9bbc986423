"""Sync jobs in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import delete, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.paging import page_of, read_page
from connectors.adapters.postgres.tables import jobs
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.errors import InfrastructureError, NotFoundError
from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, TenantId
from connectors.domain.model.paging import Page, PageRequest, Position
from connectors.domain.model.sync import JobFilter, JobStatus, JobType, Progress, StreamCounts, SyncJob

ENQUEUE_ATTEMPTS = 5
"""How often a queued job like ours may vanish (taken by a worker) between our insert and our select."""

_T = jobs.c
# As literals, so that the planner sees that the partial indexes match.
_UNFINISHED = text("status IN ('queued', 'running')")
_FINISHED = text("status NOT IN ('queued', 'running')")
_NOT_BEGUN = text("status = 'queued' AND attempts = 0")

_ENQUEUE = (
    insert(jobs)
    .on_conflict_do_nothing(
        index_elements=[_T.tenant_id, _T.connection_id, _T.type, _T.target],
        index_where=_NOT_BEGUN,
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
            _T.attempts == 0,
        )
        for _ in range(ENQUEUE_ATTEMPTS):
            row = self._transaction.first(_ENQUEUE, values) or self._transaction.first(queued)
            if row is not None:
                return _read(row)
        raise InfrastructureError("The job could not be queued: similar jobs are queued and started too fast.")

    def get(self, tenant_id: TenantId, job_id: JobId, *, lock: bool = False) -> SyncJob:
        """See `JobStore.get`."""
        statement = select(jobs).where(_T.tenant_id == tenant_id, _T.id == job_id)
        row = self._transaction.first(statement.with_for_update() if lock else statement)
        if row is None:
            raise NotFoundError("The tenant has no such job.")
        return _read(row)

    def save(self, job: SyncJob) -> None:
        """See `JobStore.save`.

        Raises:
            NotFoundError: the tenant has none with this id.
            ConflictError: another job of its connection, type and target is already queued and not begun.
        """
        saved = self._transaction.count(
            update(jobs).where(_T.tenant_id == job.tenant_id, _T.id == job.id).values(_values(job))
        )
        if not saved:
            raise NotFoundError("The tenant has no such job.")

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: JobFilter) -> Page[SyncJob]:
        """See `JobStore.list_page`."""
        statement = select(jobs).where(_T.tenant_id == tenant_id)
        for column, value in (
            (_T.provider, where.provider),
            (_T.connection_id, where.connection_id),
            (_T.type, where.type),
            (_T.status, where.status),
        ):
            if value is not None:
                statement = statement.where(column == value)
        return read_page(
            self._transaction,
            page_of(statement, page, _T.scheduled_at, _T.id),
            page,
            read=_read,
            position=lambda item: Position(item.scheduled_at, item.id),
        )

    def list_unfinished(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[SyncJob]:
        """See `JobStore.list_unfinished`."""
        statement = select(jobs).where(_T.tenant_id == tenant_id, _T.connection_id == connection_id, _UNFINISHED)
        return [_read(row) for row in self._transaction.all(statement.order_by(_T.scheduled_at, _T.id))]

    def list_untouched(self, *, before: datetime, limit: int) -> Sequence[SyncJob]:
        """See `JobStore.list_untouched`."""
        is_due = or_(_T.retry_after.is_(None), _T.retry_after < before)
        statement = select(jobs).where(_UNFINISHED, _T.updated_at < before, is_due)
        return [_read(row) for row in self._transaction.all(statement.order_by(_T.updated_at, _T.id).limit(limit))]

    def add_progress(self, tenant_id: TenantId, job_ids: Iterable[JobId], progress: Progress, *, at: datetime) -> None:
        """See `JobStore.add_progress`."""
        self._transaction.run(
            update(jobs)
            .where(_T.tenant_id == tenant_id, _T.id.in_(sorted(job_ids)), _UNFINISHED)
            .values(
                pages=_T.pages + progress.pages,
                items=jobs.c["items"] + progress.items,
                signals=_T.signals + progress.signals,
                updated_at=at,
            )
        )

    def count_unfinished(self) -> Mapping[tuple[ProviderSlug, JobType, JobStatus], int]:
        """See `JobStore.count_unfinished`."""
        statement = select(_T.provider, _T.type, _T.status, func.count().label("number")).where(_UNFINISHED)
        rows = self._transaction.all(statement.group_by(_T.provider, _T.type, _T.status))
        return {(row.provider, JobType(row.type), JobStatus(row.status)): row.number for row in rows}

    def earliest_waiting(self) -> Mapping[ProviderSlug, datetime]:
        """See `JobStore.earliest_waiting`."""
        statement = select(_T.provider, func.min(_T.scheduled_at).label("first")).where(_NOT_BEGUN)
        return {row.provider: row.first for row in self._transaction.all(statement.group_by(_T.provider))}

    def prune(self, *, finished_before: datetime, limit: int) -> int:
        """See `JobStore.prune`."""
        old = select(_T.tenant_id, _T.id).where(_FINISHED, _T.finished_at < finished_before).limit(limit)
        return self._transaction.count(delete(jobs).where(tuple_(_T.tenant_id, _T.id).in_(old)))


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
        "attempts": job.attempts,
        "streams_total": job.streams.total,
        "streams_done": job.streams.done,
        "streams_aside": job.streams.aside,
        "pages": job.progress.pages,
        "items": job.progress.items,
        "signals": job.progress.signals,
        "error": job.error,
        "trace_id": job.trace_id,
        "scheduled_at": job.scheduled_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "retry_after": job.retry_after,
        "updated_at": job.updated_at,
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
        attempts=row.attempts,
        streams=StreamCounts(total=row.streams_total, done=row.streams_done, aside=row.streams_aside),
        progress=Progress(pages=row.pages, items=values["items"], signals=row.signals),
        error=row.error,
        trace_id=row.trace_id,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        retry_after=row.retry_after,
        updated_at=row.updated_at,
    )
