"""Commits each page of a sync run: its signals, snapshots, cursor and progress together, and what it proves."""

import logging
from collections.abc import Callable
from datetime import datetime

import attrs

from connectors.domain.flows.provider_access.session import ProviderSession
from connectors.domain.flows.reading.concurrency import Concurrency
from connectors.domain.flows.reading.coverage import Ledger, shown_families
from connectors.domain.flows.reading.jobs import SyncJobs, require_readable
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.ids import SignalId
from connectors.domain.model.signal import Origin, Signal, SignalDraft
from connectors.domain.model.sync import (
    Cursor,
    JobStatus,
    JobType,
    Progress,
    SyncJob,
    SyncMode,
    SyncPage,
    SyncPlan,
    SyncState,
)
from connectors.domain.model.tasks import sync_task
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)


class JobLostError(Exception):
    """The job is no longer ours: cancelled, or taken over by a worker that took us for crashed."""

    def __init__(self, job: SyncJob) -> None:
        super().__init__()
        self.job = job


@attrs.frozen(kw_only=True)
class SyncRun:
    """One time slice of a job: what it needs, fixed when the job was claimed."""

    session: ProviderSession
    sync: Sync
    plan: SyncPlan
    read_until: datetime | None
    """Incremental: up to when the previous run has read."""
    slice_ends_at: datetime | None
    is_stopping: Callable[[], bool]
    is_retry: bool = False
    """Whether the previous try of the job has failed."""


@attrs.frozen(kw_only=True)
class PageCommitter:
    """Commits pages."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    entropy: Entropy
    jobs: SyncJobs
    concurrency: Concurrency
    scheduler: Scheduler
    ledger: Ledger

    def commit(
        self, sync_run: SyncRun, context: SyncContext, page: SyncPage, job: SyncJob
    ) -> tuple[Connection, SyncJob, list[Signal]]:
        """The connection and the job as they are after this page, and the signals that are new.

        The job is RUNNING if it continues, QUEUED with a task if its time slice is over, SUCCEEDED after the last page.

        Raises:
            JobLostError: the job is no longer ours. Nothing of the page was committed.
            ConflictError: the connection has ended or needs its user. Nothing of the page was committed.
            InfrastructureError: our database failed.
        """
        now = self.clock.now()
        with self.unit_of_work() as uow:
            connection = uow.connections.get(job.tenant_id, job.connection_id, lock=True)
            self._require_ours(uow, job)
            # It may have been disconnected while the page was being read.
            require_readable(sync_run.session.provider, connection)
            drafts = [*page.signals, *_interpret(uow, sync_run, context, page)]
            origin = Origin.BACKFILL if sync_run.plan.mode is SyncMode.BACKFILL else Origin.SYNC
            signals = [
                Signal.from_draft(draft, connection, SignalId(self.entropy.uuid7(now)), received_at=now, origin=origin)
                for draft in drafts
            ]
            new = uow.signals.record_all(signals) if signals else frozenset()
            job = self._progressed(job, sync_run, page, len(new), now)
            if page.connection_metadata:
                metadata = {**connection.metadata, **page.connection_metadata}
                connection = uow.connections.save(attrs.evolve(connection, metadata=metadata, updated_at=now))
            if page.gap is not None:
                self._note_lost_history(uow, sync_run, connection, page.gap, job)
            if page.done:
                connection = self._finish(uow, sync_run, connection, page.cursor, job)
            elif job.status is JobStatus.QUEUED:
                pause = self.concurrency.yield_slot(uow, job, now)
                uow.queue.put(sync_task(job, is_continued=True), delay=pause)
            uow.jobs.save(job)
        return connection, job, [signal for signal in signals if signal.id in new]

    def _require_ours(self, uow: UnitOfWork, job: SyncJob) -> None:
        present = uow.jobs.get(job.tenant_id, job.id, lock=True)
        if present.run != job.run or present.status is not JobStatus.RUNNING:
            raise JobLostError(present)

    def _progressed(self, job: SyncJob, sync_run: SyncRun, page: SyncPage, added: int, now: datetime) -> SyncJob:
        status = job.status
        if page.done:
            status = JobStatus.SUCCEEDED
        elif (sync_run.slice_ends_at is not None and now >= sync_run.slice_ends_at) or sync_run.is_stopping():
            status = JobStatus.QUEUED  # behind the waiting jobs, so that a long history delays none of them
        return attrs.evolve(
            job,
            status=status,
            cursor=page.cursor,
            progress=Progress(
                pages=job.progress.pages + 1,
                items=job.progress.items + page.items,
                signals=job.progress.signals + added,
            ),
            failures=0,
            error=None,
            finished_at=now if page.done else None,
            updated_at=now,
        )

    def _finish(
        self, uow: UnitOfWork, sync_run: SyncRun, connection: Connection, cursor: Cursor, job: SyncJob
    ) -> Connection:
        now = self.clock.now()
        plan = sync_run.plan
        target = plan.target or ""
        # Incremental reading begins where the backfill ends, unless it has begun already.
        if plan.mode is SyncMode.INCREMENTAL or plan.last_cursor is None:
            state = SyncState(cursor=cursor, read_until=plan.started_at)
            uow.sync_states.save(connection.tenant_id, connection.id, state, target)
        if plan.target is None:
            self._prove(uow, sync_run, connection, job)
        if job.type is JobType.INCREMENTAL:
            self.scheduler.plan_sync(uow, sync_run.session.provider, connection)
        error = _remaining_error(uow, sync_run, connection, job)
        return uow.connections.save(attrs.evolve(connection, last_synced_at=now, sync_error=error, updated_at=now))

    def keep_start(self, job: SyncJob, cursor: Cursor) -> None:
        """Let the job's next time slice begin here although no page has been read yet. Raises like `commit`."""
        if job.cursor is not None:
            return
        with self.unit_of_work() as uow:
            self._require_ours(uow, job)
            uow.jobs.save(attrs.evolve(job, cursor=cursor, updated_at=self.clock.now()))

    def _prove(self, uow: UnitOfWork, sync_run: SyncRun, connection: Connection, job: SyncJob) -> None:
        plan = sync_run.plan
        lost = any(
            gap.cause is GapCause.HISTORY_LOST and gap.reference == str(job.id)
            for gap in uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=True)
        )
        if lost:
            return  # the run itself found that history is missing
        if plan.mode is SyncMode.BACKFILL:
            until = plan.started_at if plan.until is None else min(plan.until, plan.started_at)
            if plan.since is not None:
                path = CoveragePath.BACKFILL
                self.ledger.prove_all(uow, connection, sync_run.session.provider, path, plan.since, until)
            return
        if sync_run.read_until is not None:
            path = CoveragePath.SYNC
            self.ledger.prove_all(
                uow, connection, sync_run.session.provider, path, sync_run.read_until, plan.started_at
            )

    def _note_lost_history(
        self, uow: UnitOfWork, sync_run: SyncRun, connection: Connection, reason: str, job: SyncJob
    ) -> None:
        log.warning("history_gap", extra={"connection_id": str(connection.id), "reason": reason})
        is_backfill = sync_run.plan.mode is SyncMode.BACKFILL
        from_at = sync_run.plan.since if is_backfill else sync_run.read_until
        if from_at is None:
            return
        path = CoveragePath.BACKFILL if is_backfill else CoveragePath.SYNC
        is_new = self.ledger.open_gap(
            uow,
            connection,
            [family.name for family in shown_families(sync_run.session.provider, path)],
            GapCause.HISTORY_LOST,
            reason,
            from_at=from_at,
            to_at=sync_run.plan.started_at,
            reference=str(job.id),
        )
        if is_new and not is_backfill and sync_run.plan.target is None:
            # A backfill may still find what the cursor no longer shows.
            self.jobs.enqueue(uow, connection, JobType.BACKFILL, since=from_at)


def _remaining_error(uow: UnitOfWork, sync_run: SyncRun, connection: Connection, job: SyncJob) -> str | None:
    """The connection's sync error after this job has succeeded: another job may still be failing."""
    others = (one for one in uow.jobs.list_unfinished(connection.tenant_id, connection.id) if one.id != job.id)
    failing = next((one.error for one in others if one.failures > 0 and one.error is not None), None)
    if failing is not None:
        return failing
    # A read of one target proves nothing about the others, unless it was this target that could not be read.
    return connection.sync_error if job.target is not None and not sync_run.is_retry else None


def _interpret(uow: UnitOfWork, sync_run: SyncRun, context: SyncContext, page: SyncPage) -> list[SignalDraft]:
    """What the page's observations mean, compared with the last known states, which they replace."""
    if sync_run.sync.interpret is None or not page.observations:
        return []
    owner = context.connection
    keys = [one.key for one in page.observations]
    known = dict(uow.snapshots.load(owner.tenant_id, owner.id, keys))
    drafts: list[SignalDraft] = []
    changed: dict[str, Cursor | None] = {}
    for observation in page.observations:
        meaning = sync_run.sync.interpret(context, sync_run.plan, observation, known.get(observation.key))
        drafts.extend(meaning.signals)
        changed[observation.key] = meaning.snapshot
        if meaning.snapshot is None:
            known.pop(observation.key, None)
        else:
            known[observation.key] = meaning.snapshot
    uow.snapshots.save(owner.tenant_id, owner.id, changed)
    return drafts
