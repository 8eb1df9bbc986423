"""Reads connections, one time slice at a time: decides what is next, reads it, and stores it or sets it aside."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.reading.agenda import (
    Agenda,
    Kind,
    Work,
    discovered_by,
    is_request_lost,
    looked_for_at,
    wanted_by,
)
from connectors.domain.flows.reading.concurrency import Concurrency
from connectors.domain.flows.reading.failures import Failures
from connectors.domain.flows.reading.jobs import lock_account, require_readable
from connectors.domain.flows.reading.page_commit import PageCommitter
from connectors.domain.flows.reading.receipts import WORTH_SAYING, Receipts
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.flows.reading.time_slice import SliceLostError, TimeSlice
from connectors.domain.flows.reading.transitions import run_of
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import (
    ClientRejectedError,
    ConflictError,
    ConnectorsError,
    InfrastructureError,
    InsufficientScopeError,
    ProviderNotConfiguredError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    VaultError,
)
from connectors.domain.model.ids import ConnectionId, JobId, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.signal import Signal
from connectors.domain.model.stream_state import AccountState, ClosedBy, StreamState
from connectors.domain.model.streams import DISCOVERY, Stream
from connectors.domain.model.sync import JobStatus, JobType, SyncJob, SyncMode
from connectors.domain.providers.contract import Streams
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

SILENT_FOR = timedelta(minutes=2)
"""A worker that has stored nothing for so long is taken for dead by those who have no task of the queue."""

OTHERS_WAIT = timedelta(seconds=5)
"""How long a connection waits that somebody else is reading."""

log = logging.getLogger(__name__)


def _no_report(job: SyncJob) -> None:
    """Do nothing with it."""


def _report_one(jobs: list[SyncJob], job_id: JobId, on_page: Callable[[SyncJob], None]) -> None:
    for job in jobs:
        if job.id == job_id:
            on_page(job)


def _never() -> bool:
    """Never stop early."""
    return False


@attrs.frozen(kw_only=True)
class SyncFlow:
    """Reads connections."""

    unit_of_work: UnitOfWorkFactory
    access: ProviderAccess
    clock: Clock
    providers: ProviderRegistry
    pages: PageCommitter
    failures: Failures
    receipts: Receipts
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
        """The job, after its connection was read until the job has ended, has to wait, or the time slice is over.

        What was not read goes on by itself: the next task is in the queue, or the schedule.

        Args:
            tenant_id: whose job.
            job_id: which.
            time_slice: how long to read before others get the slot; None for as long as there is something to read.
            on_page: called with the job after every page.
            is_stopping: called after every page; if it is true, the time slice ends there.

        Raises:
            NotFoundError: the tenant has no such job.
            InfrastructureError: our database failed; what was stored stays, and reading continues from there.
        """
        with self.unit_of_work() as uow:
            job = uow.jobs.get(tenant_id, job_id)
        if not job.is_finished:
            self.read(
                tenant_id,
                job.connection_id,
                time_slice=time_slice,
                on_page=lambda jobs: _report_one(jobs, job_id, on_page),
                is_stopping=is_stopping,
                is_queued=False,
            )
            with self.unit_of_work() as uow:
                job = uow.jobs.get(tenant_id, job_id)
        return job

    def read(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        *,
        time_slice: timedelta | None = None,
        on_page: Callable[[list[SyncJob]], object] = len,
        is_stopping: Callable[[], bool] = _never,
        is_queued: bool = True,
    ) -> None:
        """Read the connection until nothing is due, it has to wait, or the time slice is over.

        Args:
            tenant_id: whose connection.
            connection_id: which.
            time_slice: see `run`.
            on_page: called with the connection's unfinished jobs after every page.
            is_stopping: see `run`.
            is_queued: whether this is a task of the queue, of which only one runs for a connection: a worker that
                seems to be reading it must have died.

        Raises:
            ConnectionNotFoundError: the tenant has no such connection.
            InfrastructureError: our database failed; what was stored stays, and reading continues from there.
        """
        held = self._begin(tenant_id, connection_id, time_slice, is_stopping, is_queued=is_queued)
        if held is None:
            return
        try:
            self._read(held, on_page)
            self._flush(held)
        except SliceLostError:
            log.info("slice_lost", extra={"connection_id": str(connection_id)})
            return
        except ConflictError as error:
            log.info("slice_ended", extra={"connection_id": str(connection_id), "reason": error.message})
        except VaultError as error:
            held.failure = error  # the key is missing: trying again does not help
        except InfrastructureError:
            raise  # nothing can be stored now; the worker queues the connection again
        except ConnectorsError as error:
            held.failure = error
        self.receipts.settle(held)

    # --- the beginning -------------------------------------------------------------------------------------------

    def _begin(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        time_slice: timedelta | None,
        is_stopping: Callable[[], bool],
        *,
        is_queued: bool,
    ) -> TimeSlice | None:
        """A time slice that is ours; None if the connection has to wait, or cannot be read."""
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            now = uow.now()
            jobs = list(uow.jobs.list_unfinished(tenant_id, connection_id))
            try:
                provider = self.providers.get_stored(connection.provider)
                streams = require_readable(provider, connection)
                session = self.access.open(connection, in_background=True)
            except InfrastructureError:
                raise
            except ConnectorsError as error:
                self._fail(uow, connection, jobs, error, now)
                return None
            account = lock_account(uow, connection)
            agenda = self._agenda(uow, streams, account, jobs, now)
            wait = self._wait(uow, agenda, now, is_queued=is_queued)
            if wait > timedelta(0):
                self._wait_for(uow, connection, agenda, jobs, now, now + wait)
                return None
            jobs = [self._begun(job, now) for job in jobs]
            for job in jobs:
                uow.jobs.save(job)
            agenda.account = attrs.evolve(
                account,
                run=account.run + 1,
                running_since=now,
                heartbeat_at=now,
                is_history_only=agenda.is_history_only(now),
                updated_at=now,
            )
            uow.accounts.save(agenda.account)
        offset = now - self.clock.now()
        return TimeSlice(
            session=session,
            streams=streams,
            agenda=agenda,
            jobs={job.id: job for job in jobs},
            begun=frozenset(job.id for job in jobs),
            run=agenda.account.run,
            clock=self.clock,
            clock_offset=offset,
            began_at=now,
            ends_at=None if time_slice is None else now + time_slice,
            is_stopping=is_stopping,
        )

    def _agenda(
        self, uow: UnitOfWork, streams: Streams, account: AccountState, jobs: list[SyncJob], now: datetime
    ) -> Agenda:
        owner = (account.tenant_id, account.connection_id)
        states = {one.key: one for one in uow.streams.list(*owner)}
        if DISCOVERY not in states:
            states[DISCOVERY] = StreamState(
                tenant_id=account.tenant_id,
                connection_id=account.connection_id,
                stream=Stream(key=DISCOVERY, name="the list of what there is"),
                status_since=now,
                found_at=now,
                listed_at=now,
                updated_at=now,
            )
            uow.streams.save([states[DISCOVERY]])
        for job in jobs:
            if job.target in states and is_request_lost(states[job.target], job):
                uow.streams.request(*owner, job.target, at=job.scheduled_at)
                states[job.target] = attrs.evolve(states[job.target], requested_at=job.scheduled_at)
        return Agenda(
            streams=streams,
            account=account,
            states=states,
            parked={(one.stream_key, one.reference): one for one in uow.parked.list_open(*owner)},
            wanted_by=wanted_by(jobs, now),
            discovered_by=discovered_by(jobs, now),
            looked_for_at=looked_for_at(jobs, states, now),
        )

    def _wait(self, uow: UnitOfWork, agenda: Agenda, now: datetime, *, is_queued: bool) -> timedelta:
        account = agenda.account
        if account.paused_until is not None and account.paused_until > now:
            return account.paused_until - now
        is_alive = account.heartbeat_at is not None and now - account.heartbeat_at < SILENT_FOR
        if account.running_since is not None and is_alive and not is_queued:
            return OTHERS_WAIT
        return self.concurrency.wait_for(uow, account, is_history_only=agenda.is_history_only(now))

    def _wait_for(
        self,
        uow: UnitOfWork,
        connection: Connection,
        agenda: Agenda,
        jobs: list[SyncJob],
        now: datetime,
        until: datetime,
    ) -> None:
        """Come back then."""
        is_paused = agenda.account.paused_until == until
        if is_paused and until - now >= WORTH_SAYING and connection.sync_error is None:
            error = f"{agenda.account.pause_reason} Nothing is read before {rfc3339(until)}."
            uow.connections.save(attrs.evolve(connection, sync_error=error, updated_at=now))
        for job in jobs:
            retry_after = until if is_paused else None
            uow.jobs.save(attrs.evolve(job, status=JobStatus.QUEUED, retry_after=retry_after, updated_at=now))
        self.receipts.wake(uow, connection, agenda, until, now, is_whole=True)

    def _begun(self, job: SyncJob, now: datetime) -> SyncJob:
        # A job that is still running has lost its worker. A further time slice is not a new attempt.
        is_new_attempt = job.status is JobStatus.RUNNING or job.attempts == 0
        return attrs.evolve(
            job,
            status=JobStatus.RUNNING,
            attempts=job.attempts + is_new_attempt,
            started_at=job.started_at or now,
            retry_after=None,
            updated_at=now,
        )

    def _fail(
        self, uow: UnitOfWork, connection: Connection, jobs: list[SyncJob], error: ConnectorsError, now: datetime
    ) -> None:
        """End the jobs: the connection cannot be read at all."""
        for job in jobs:
            uow.jobs.save(
                attrs.evolve(
                    job,
                    status=JobStatus.FAILED,
                    error=error.message,
                    started_at=job.started_at or now,
                    retry_after=None,
                    finished_at=now,
                    updated_at=now,
                )
            )
        if connection.status is ConnectionStatus.ACTIVE:
            uow.connections.save(attrs.evolve(connection, sync_error=error.message, updated_at=now))
            provider = self.providers.find(connection.provider)
            if provider is not None and any(job.type is JobType.INCREMENTAL for job in jobs):
                self.scheduler.plan_sync(uow, provider, connection)

    # --- reading -------------------------------------------------------------------------------------------------

    def _read(self, held: TimeSlice, on_page: Callable[[list[SyncJob]], object]) -> None:
        while True:
            now = held.now()
            paused_until = held.agenda.account.paused_until
            work = None if paused_until is not None and paused_until > now else held.agenda.next(now)
            if work is None:
                if not held.quiet:
                    return
                self._flush(held)  # it may tell of new jobs
                self._refresh(held)
                continue
            held.agenda.took_turn(work, now)
            self._do(held, work)
            on_page(list(held.jobs.values()))
            self._refresh(held)
            if held.is_over():
                return

    def _flush(self, held: TimeSlice) -> None:
        """Store the quiet runs; if that fails, one by one: what cannot be stored is the failure of its stream alone."""
        runs = list(held.quiet)
        try:
            self.pages.flush(held)
        except (SliceLostError, ConflictError, VaultError):
            raise
        except Exception:  # noqa: BLE001 - of whatever kind, it is the fault of one of them
            log.warning("quiet_runs_refused", extra={"runs": len(runs)})
            for work, page in runs:
                held.quiet = [(work, page)]
                try:
                    self.pages.flush(held)
                except (SliceLostError, ConflictError, VaultError):
                    raise
                except Exception as error:  # noqa: BLE001 - the stream shows it
                    self.failures.refused_by_us(held, work, error)

    def _refresh(self, held: TimeSlice) -> None:
        held.agenda.wanted_by = wanted_by(held.jobs.values(), held.began_at)
        held.agenda.discovered_by = discovered_by(held.jobs.values(), held.began_at)
        held.agenda.looked_for_at = looked_for_at(held.jobs.values(), held.agenda.states, held.began_at)

    def _do(self, held: TimeSlice, work: Work) -> None:
        """Read one page and store it, or record why that was not possible."""
        try:
            signals, items = self._read_one(held, work)
        except (SliceLostError, ConflictError, VaultError):
            raise
        except ConnectorsError as error:
            if isinstance(error, InfrastructureError) and held.is_storing and held.quiet:
                # It may have been one of them that was refused: the page comes again without them.
                self._flush(held)
            else:
                self._record(held, work, error)
        except Exception as error:
            if held.is_storing and held.quiet:
                self._flush(held)  # as above; if it was the page, it crashes again without them
                return
            # A bug, of ours or of a provider package: the stream shows it, and the others go on.
            log.exception("reading_crashed", extra={"provider": held.session.provider.slug, "stream": work.key})
            self.failures.set_aside(held, work, error)
        else:
            self._report(held, work, signals, items)

    def _record(self, held: TimeSlice, work: Work, error: ConnectorsError) -> None:
        """Record what an error means, and for whom. Raises those that end the reading of the whole connection."""
        is_scope_of_stream = isinstance(error, InsufficientScopeError) and work.kind is not Kind.DISCOVERY
        match error:
            case RateLimitedError():
                self.failures.limited(held, work, error)
            case ProviderUnavailableError():
                self.failures.unavailable(held, work, error)
            case InfrastructureError():
                self.failures.refused_by_us(held, work, error)
            case ReauthorizationRequiredError() | ClientRejectedError() | ProviderNotConfiguredError() if (
                not is_scope_of_stream
            ):
                raise error
            case _:
                self.failures.set_aside(held, work, error)

    def _read_one(self, held: TimeSlice, work: Work) -> tuple[list[Signal], int]:
        """Read and store one page; its new signals and the number of its items."""
        streams, context = held.streams, held.context()
        state = held.agenda.states[work.key]
        cursor = run_of(state, work).cursor
        if work.kind is Kind.DISCOVERY:
            listing = held.converse(streams.discover(context, work.window, cursor))
            return self.pages.commit_discovery(held, work, listing), 0
        if work.item is None:
            page = held.converse(streams.read_page(context, state.stream, work.window, cursor))
            return self.pages.commit(held, work, page), page.items
        assert streams.read_item is not None  # noqa: S101 - the agenda has looked
        found = held.converse(streams.read_item(context, state.stream, work.window, work.item.reference))
        if found is None:
            self.pages.close_item(held, work.item, ClosedBy.GONE)
            return [], 0
        still = next((one.reason for one in found.parked if one.reference == work.item.reference), None)
        signals = self.pages.commit(held, work, found)
        if still is not None:
            self.failures.again_later(held, work, still)
        return signals, found.items

    def _report(self, held: TimeSlice, work: Work, signals: list[Signal], items: int) -> None:
        provider = held.session.provider.slug
        is_backfill = work.mode is SyncMode.BACKFILL
        job_type = JobType.BACKFILL if is_backfill else JobType.INCREMENTAL
        self.telemetry.page_read(provider, job_type, items=items, signals=len(signals))
        if not is_backfill:
            for signal in signals:
                self.telemetry.signal_visible(signal.provider, signal.origin, held.now() - signal.occurred_at)
