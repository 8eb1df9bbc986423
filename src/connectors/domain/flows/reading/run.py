"""Runs sync jobs: claims a job, reads page by page, and retries or ends it when that fails."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.reading.concurrency import Concurrency
from connectors.domain.flows.reading.jobs import require_readable
from connectors.domain.flows.reading.page_commit import JobLostError, PageCommitter, SyncRun
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    ConnectorsError,
    InfrastructureError,
    ProviderUnavailableError,
    RateLimitedError,
    UnexpectedResponseError,
    VaultError,
    error_text,
)
from connectors.domain.model.ids import JobId, TenantId
from connectors.domain.model.signal import Signal
from connectors.domain.model.sync import (
    JobStatus,
    JobType,
    SyncJob,
    SyncMode,
    SyncPage,
    SyncPlan,
)
from connectors.domain.model.tasks import sync_task
from connectors.domain.providers.contract import Limits, SyncContext
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

MOST_FAILURES = 8
"""Failures in a row, with no page in between, after which a job ends. The pauses between them add up to about ten
minutes, so the next scheduled read is soon due."""

SILENT_FOR = timedelta(minutes=2)
"""A running job that has committed nothing for so long does not keep its connection's other jobs waiting."""

OTHERS_WAIT = timedelta(seconds=5)
"""How long a job waits before it checks again whether the connection's other job is done."""

log = logging.getLogger(__name__)


def _no_report(job: SyncJob) -> None:
    """Do nothing with it."""


def _never() -> bool:
    """Never stop early."""
    return False


@attrs.frozen(kw_only=True)
class SyncFlow:
    """Runs sync jobs."""

    unit_of_work: UnitOfWorkFactory
    access: ProviderAccess
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    pages: PageCommitter
    concurrency: Concurrency
    scheduler: Scheduler
    telemetry: Telemetry

    def run(
        self,
        tenant_id: TenantId,
        job_id: JobId,
        *,
        time_slice: timedelta | None = None,
        on_page: Callable[[SyncJob], None] = _no_report,
        is_stopping: Callable[[], bool] = _never,
    ) -> SyncJob:
        """The job, run from the last committed page until it ends, has to wait, or its time slice is over.

        Errors are on the job: QUEUED with `retry_after` if it will be tried again, FAILED with `error` if not. An
        unfinished job has its next task in the queue.

        Args:
            tenant_id: whose job.
            job_id: which.
            time_slice: how long it may read before others get its slot; None for as long as it takes.
            on_page: called after every committed page.
            is_stopping: called after every page; if it is true, the time slice ends there.

        Raises:
            NotFoundError: the tenant has no such job.
            InfrastructureError: our database failed; what was committed stays, and the job continues from there.
        """
        job = self._claim(tenant_id, job_id)
        if job.status is not JobStatus.RUNNING:
            return job  # it has ended, or must wait
        try:
            sync_run = self._prepare(job, time_slice, is_stopping)
            return self._read_pages(sync_run, job, on_page)
        except JobLostError as lost:
            log.info("job_lost", extra={"job_id": str(job.id), "status": str(lost.job.status)})
            return lost.job
        except VaultError as error:
            return self._settle(job, error)  # the key is missing: trying again does not help
        except InfrastructureError:
            raise  # nothing can be recorded now; the worker queues the job again
        except ConnectorsError as error:
            return self._settle(job, error)
        except Exception as error:
            # A bug, of ours or of a provider package. The job must show it and must not be retried forever.
            log.exception("sync_crashed", extra={"job_id": str(job.id), "provider": job.provider})
            return self._settle(job, UnexpectedResponseError(error_text(error)))

    # --- claiming ------------------------------------------------------------------------------------------------

    def _claim(self, tenant_id: TenantId, job_id: JobId) -> SyncJob:
        """The job, RUNNING and ours; as it is if it has ended; or QUEUED with a task for later."""
        now = self.clock.now()
        with self.unit_of_work() as uow:
            job = uow.jobs.get(tenant_id, job_id, lock=True)
            if job.is_finished:
                return job
            wait = max(self.concurrency.wait_for(uow, job, now), self._wait_for_others(uow, job, now))
            if wait > timedelta(0):
                waiting = attrs.evolve(job, status=JobStatus.QUEUED, updated_at=now)
                uow.jobs.save(waiting)
                uow.queue.put(sync_task(waiting, is_continued=job.attempts > 0), delay=wait)
                return waiting
            # A running job's worker has crashed; a failing job is retried. A further time slice is not a new attempt.
            is_new_attempt = job.status is JobStatus.RUNNING or job.failures > 0 or job.attempts == 0
            claimed = attrs.evolve(
                job,
                status=JobStatus.RUNNING,
                attempts=job.attempts + is_new_attempt,
                run=job.run + 1,
                started_at=job.started_at or now,
                retry_after=None,
                updated_at=now,
            )
            uow.jobs.save(claimed)
            return claimed

    def _wait_for_others(self, uow: UnitOfWork, job: SyncJob, now: datetime) -> timedelta:
        """How long to wait for another run of the same connection: two would move one cursor.

        Among tasks, the queue's lock prevents that. This is for jobs that are run without a task.
        """
        for other in uow.jobs.list_unfinished(job.tenant_id, job.connection_id):
            is_alive = other.status is JobStatus.RUNNING and now - other.updated_at < SILENT_FOR
            if other.id != job.id and is_alive:
                return OTHERS_WAIT
        return timedelta(0)

    def _prepare(self, job: SyncJob, time_slice: timedelta | None, is_stopping: Callable[[], bool]) -> SyncRun:
        with self.unit_of_work() as uow:
            connection = uow.connections.get(job.tenant_id, job.connection_id)
            state = uow.sync_states.load(job.tenant_id, connection.id, job.target or "")
        provider = self.providers.get_stored(job.provider)
        sync = require_readable(provider, connection)
        session = self.access.open(connection, in_background=True)
        assert job.started_at is not None  # noqa: S101 - it has been claimed
        plan = SyncPlan(
            mode=SyncMode.BACKFILL if job.type is JobType.BACKFILL else SyncMode.INCREMENTAL,
            started_at=job.started_at,
            since=job.since,
            until=job.until,
            last_cursor=None if state is None else state.cursor,
            target=job.target,
        )
        return SyncRun(
            session=session,
            sync=sync,
            plan=plan,
            read_until=None if state is None else state.read_until,
            slice_ends_at=None if time_slice is None else self.clock.now() + time_slice,
            is_stopping=is_stopping,
            is_retry=job.failures > 0,
        )

    # --- reading -------------------------------------------------------------------------------------------------

    def _read_pages(self, sync_run: SyncRun, job: SyncJob, on_page: Callable[[SyncJob], None]) -> SyncJob:
        session, plan = sync_run.session, sync_run.plan
        context = SyncContext(app=session.app, connection=session.connection)
        cursor = job.cursor
        if cursor is None:
            cursor = session.run(sync_run.sync.start(context, plan))
        while True:
            try:
                page = session.run(sync_run.sync.read_page(context, plan, cursor))
            except RateLimitedError:
                # The start may use up all that the limit allows. Repeated each time, it would keep the job there.
                self.pages.keep_start(job, cursor)
                raise
            if page.cursor == cursor and not page.done:
                raise UnexpectedResponseError(
                    f"{session.provider.name}'s pages do not advance: the cursor stays the same."
                )
            connection, job, fresh = self.pages.commit(sync_run, context, page, job)
            context = attrs.evolve(context, connection=connection)
            self._report(sync_run, job, page, fresh)
            on_page(job)
            if job.status is not JobStatus.RUNNING:
                return job
            cursor = page.cursor

    def _report(self, sync_run: SyncRun, job: SyncJob, page: SyncPage, fresh: list[Signal]) -> None:
        for skipped in page.skipped:
            log.warning("item_skipped", extra={"reference": skipped.reference, "reason": skipped.reason})
        self.telemetry.page_read(sync_run.session.provider.slug, job.type, items=page.items, signals=len(fresh))
        if job.type is not JobType.BACKFILL:
            for signal in fresh:
                self.telemetry.signal_visible(signal.provider, signal.origin, self.clock.now() - signal.occurred_at)
        if job.is_finished:
            self._report_end(job)

    def _report_end(self, job: SyncJob) -> None:
        self.telemetry.job_ended(job)
        log.info(
            "job_ended",
            extra={
                "provider": job.provider,
                "type": str(job.type),
                "status": str(job.status),
                "pages": job.progress.pages,
                "items": job.progress.items,
                "signals": job.progress.signals,
                "reason": job.error,
            },
        )

    # --- failures ------------------------------------------------------------------------------------------------

    def _settle(self, job: SyncJob, error: ConnectorsError) -> SyncJob:
        """The job, queued for a retry or FAILED; the reason is also recorded on its connection."""
        now = self.clock.now()
        with self.unit_of_work() as uow:
            connection = uow.connections.get(job.tenant_id, job.connection_id, lock=True)
            present = uow.jobs.get(job.tenant_id, job.id, lock=True)
            if present.run != job.run or present.status is not JobStatus.RUNNING:
                return present
            provider = self.providers.find(job.provider)
            failures = present.failures + (not isinstance(error, RateLimitedError))
            retry_at = None if provider is None else self._retry_at(provider.limits, error, failures, now)
            settled = attrs.evolve(
                present,
                status=JobStatus.FAILED if retry_at is None else JobStatus.QUEUED,
                failures=failures,
                error=error.message,
                retry_after=retry_at,
                finished_at=now if retry_at is None else None,
                updated_at=now,
            )
            uow.jobs.save(settled)
            if retry_at is None:
                if provider is not None and job.type is JobType.INCREMENTAL:
                    self.scheduler.plan_sync(uow, provider, connection)
            else:
                uow.queue.put(sync_task(settled, is_continued=True), delay=max(retry_at - now, timedelta(0)))
            if not isinstance(error, RateLimitedError) and connection.status is not ConnectionStatus.REVOKED:
                uow.connections.save(attrs.evolve(connection, sync_error=error.message, updated_at=now))
        if settled.is_finished:
            self._report_end(settled)
        else:
            log.info(
                "job_waits",
                extra={"reason": error.message, "seconds": round((retry_at or now).timestamp() - now.timestamp())},
            )
        return settled

    def _retry_at(self, limits: Limits, error: ConnectorsError, failures: int, now: datetime) -> datetime | None:
        """When to try again; None for never."""
        if isinstance(error, RateLimitedError):
            return max(error.retry_at, now)
        if not isinstance(error, ProviderUnavailableError | UnexpectedResponseError) or failures >= MOST_FAILURES:
            return None
        doublings: int = 2 ** (failures - 1)
        pause = min(limits.backoff_base * doublings, limits.backoff_cap)
        # Jitter over the upper half of the pause: workers that failed together do not retry together.
        return now + pause * (0.5 + self.entropy.fraction() / 2)
