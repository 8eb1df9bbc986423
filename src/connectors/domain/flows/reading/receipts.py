"""Ends time slices: which jobs are done, what is said of the connection, and when it is read next."""

import logging
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.reading.agenda import REST, Agenda
from connectors.domain.flows.reading.claims import Claims
from connectors.domain.flows.reading.concurrency import Concurrency
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.flows.reading.time_slice import TimeSlice
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.spans import FAR, Span, common
from connectors.domain.model.stream_state import AccountState, Reading, StreamState, StreamStatus
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.sync import JobStatus, JobType, StreamCounts, SyncJob, SyncMode
from connectors.domain.model.tasks import read_task
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

SHORT_WAIT = timedelta(minutes=1)
"""For longer waits the schedule wakes the connection; a queued task holds back the connection's other tasks."""

WORTH_SAYING = timedelta(minutes=10)
"""A provider's pause of this length is said on the connection."""

MOST_NAMED = 3
"""How many streams a summary names."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Receipts:
    """Settles time slices."""

    unit_of_work: UnitOfWorkFactory
    concurrency: Concurrency
    scheduler: Scheduler
    ledger: Ledger
    telemetry: Telemetry

    def settle(self, held: TimeSlice) -> None:
        """Give the slot back, end the jobs that are done, and see to it that the rest goes on by itself.

        Raises:
            InfrastructureError: our database failed; the next time slice settles everything.
        """
        now = held.now()
        with self.unit_of_work() as uow:
            known = held.session.connection
            connection = uow.connections.get(known.tenant_id, known.id, lock=True)
            account = uow.accounts.find(known.tenant_id, known.id, lock=True)
            if account is None or account.run != held.run:
                return
            agenda = held.agenda
            agenda.account = account = attrs.evolve(account, running_since=None, heartbeat_at=None, updated_at=now)
            self._forget_unwanted(uow, agenda)
            claims = Claims(agenda=agenda)
            error = self._summary(held, claims, now)
            jobs = [self._settled(held, job, error, now) for job in uow.jobs.list_unfinished(known.tenant_id, known.id)]
            ended = [job for job in jobs if job.is_finished]
            uow.accounts.save(_without_jobs(account, ended))
            self.ledger.review(uow, connection, claims)
            self._note(uow, connection, error, now, has_read=held.failure is None)
            for job in jobs:
                uow.jobs.save(job)
            if connection.status is ConnectionStatus.ACTIVE:
                self._plan(uow, held, connection, jobs, now)
        for job in ended:
            self._report(job)

    def _forget_unwanted(self, uow: UnitOfWork, agenda: Agenda) -> None:
        """Forget failures of histories that nobody wants any more: they would never be read, and so never succeed."""
        keys = [one.key for one in agenda.states.values() if one.backfill.failures and not agenda.history(one)]
        if not keys:
            return
        account = agenda.account
        states = [
            one.with_reading(SyncMode.BACKFILL, Reading())
            for one in uow.streams.lock(account.tenant_id, account.connection_id, keys)
        ]
        uow.streams.save(states)
        agenda.states.update({one.key: one for one in states})

    def _note(
        self, uow: UnitOfWork, connection: Connection, error: str | None, now: datetime, *, has_read: bool
    ) -> None:
        if connection.status is ConnectionStatus.REVOKED:
            return
        read_at = now if has_read else connection.last_synced_at
        uow.connections.save(attrs.evolve(connection, last_synced_at=read_at, sync_error=error, updated_at=now))

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _settled(self, held: TimeSlice, job: SyncJob, error: str | None, now: datetime) -> SyncJob:
        """The job as it stands: ended, or waiting for the next time slice."""
        if held.failure is not None:
            return attrs.evolve(
                job,
                status=JobStatus.FAILED,
                error=held.failure.message,
                retry_after=None,
                finished_at=now,
                updated_at=now,
            )
        counts = counts_of(held.agenda, job, held.wanted_by(job), now)
        if counts is not None and counts.done + counts.aside == counts.total:
            status = JobStatus.PARTIAL if counts.aside else JobStatus.SUCCEEDED
            return attrs.evolve(
                job,
                status=status,
                streams=counts,
                error=error if counts.aside else None,
                retry_after=None,
                finished_at=now,
                updated_at=now,
            )
        paused_until = held.agenda.account.paused_until
        return attrs.evolve(
            job,
            status=JobStatus.QUEUED,
            attempts=max(job.attempts, 1),
            streams=counts or job.streams,
            error=error,
            retry_after=paused_until if paused_until is not None and paused_until > now else None,
            updated_at=now,
        )

    def _report(self, job: SyncJob) -> None:
        self.telemetry.job_ended(job)
        log.info(
            "job_ended",
            extra={
                "job_id": str(job.id),
                "provider": job.provider,
                "type": str(job.type),
                "status": str(job.status),
                "pages": job.progress.pages,
                "items": job.progress.items,
                "signals": job.progress.signals,
                "reason": job.error,
            },
        )

    # --- what is said --------------------------------------------------------------------------------------------

    def _summary(self, held: TimeSlice, claims: Claims, now: datetime) -> str | None:
        """What is wrong with reading the connection, in a sentence or two; None if nothing is."""
        if held.failure is not None:
            return held.failure.message
        account = claims.agenda.account
        parts = []
        paused_until = account.paused_until
        if paused_until is not None and paused_until > now:
            if account.outages > 0:
                parts.append(account.pause_reason or "The provider is not available.")
            elif paused_until - now >= WORTH_SAYING:
                parts.append(f"{account.pause_reason} Nothing is read before {rfc3339(paused_until)}.")
        aside = claims.aside()
        if aside:
            parts.append(_named(aside, sum(not one.is_discovery for one in claims.agenda.states.values())))
        items = claims.agenda.parked.values()
        if items:
            first = min(items, key=lambda one: one.opened_at)
            count = "1 thing" if len(items) == 1 else f"{len(items)} things"
            parts.append(f"{count} cannot be read: {first.reference} ({first.reason.rstrip('.')}).")
        return " ".join(parts) or None

    # --- what is next --------------------------------------------------------------------------------------------

    def _plan(
        self, uow: UnitOfWork, held: TimeSlice, connection: Connection, jobs: list[SyncJob], now: datetime
    ) -> None:
        """Queue the next time slice, or plan it. Regular reads have an entry of their own in the schedule."""
        agenda = held.agenda
        if held.failure is None:
            wake_at = self._wake_at(held, jobs, now)
            if wake_at is None:
                self.scheduler.forget_read(uow, connection)
            else:
                self.wake(uow, connection, agenda, wake_at, now, is_whole=wake_at == agenda.account.paused_until)
        if any(job.type is JobType.INCREMENTAL and job.is_finished for job in jobs):
            self.scheduler.plan_sync(uow, held.session.provider, connection)

    @staticmethod
    def _wake_at(held: TimeSlice, jobs: list[SyncJob], now: datetime) -> datetime | None:
        """When there is something to read again; None before the next regular read."""
        agenda = held.agenda
        paused_until = agenda.account.paused_until
        if paused_until is not None and paused_until > now:
            return paused_until
        if agenda.next(now) is not None or any(not job.is_finished and job.id not in held.begun for job in jobs):
            return now
        wake_at = agenda.next_at(now)
        if wake_at is None and any(not job.is_finished for job in jobs):
            return now + SHORT_WAIT
        return wake_at

    def wake(
        self,
        uow: UnitOfWork,
        connection: Connection,
        agenda: Agenda,
        at: datetime,
        now: datetime,
        *,
        is_whole: bool = False,
    ) -> None:
        """See to it that the connection is read again at that instant.

        Args:
            uow: the caller's transaction.
            connection: which.
            agenda: its rows.
            at: when.
            now: the present instant.
            is_whole: whether nothing of it may be read before. A task that waits in the queue holds back the others of
                its connection: what only one stream waits for is left to the schedule.
        """
        if at - now > (SHORT_WAIT if is_whole else REST):
            self.scheduler.plan_read(uow, connection, at)
            return
        is_history_only = agenda.is_history_only(max(at, now))
        pause = self.concurrency.yield_slot(uow, agenda.account, is_history_only=is_history_only, now=now)
        task = read_task(connection.tenant_id, connection.id, is_history_only=is_history_only)
        uow.queue.put(task, delay=max(at - now, pause))
        self.scheduler.forget_read(uow, connection)


def counts_of(agenda: Agenda, job: SyncJob, wanted_by: datetime, now: datetime) -> StreamCounts | None:
    """How many streams the job concerns and how they stand; None while it is not known which there are.

    Args:
        agenda: the connection's rows.
        job: the job.
        wanted_by: up to when it wants everything to be read.
        now: the present instant.
    """
    discovery = agenda.states.get(DISCOVERY)
    if discovery is None or discovery.read_until is None:
        if discovery is not None and discovery.incremental.failures > 0 and _is_aside(discovery, now):
            return StreamCounts(total=1, aside=1)
        return None
    if job.target is not None:
        state = agenda.states.get(job.target)
        if state is None and discovery.read_until <= wanted_by:
            return StreamCounts(total=1, aside=int(_is_aside(discovery, now)))  # a later listing may name it
        concerned = [] if state is None else [state]
    else:
        concerned = [one for one in agenda.states.values() if not one.is_discovery]
        if discovery.read_until < wanted_by and agenda.streams.discovery_interval is None:
            concerned.append(discovery)
    done = [one for one in concerned if _is_done(agenda, one, job, wanted_by, now)]
    aside = [one for one in concerned if one not in done and _is_aside(one, now)]
    return StreamCounts(total=len(concerned), done=len(done), aside=len(aside))


def _is_done(agenda: Agenda, state: StreamState, job: SyncJob, wanted_by: datetime, now: datetime) -> bool:
    if state.status is StreamStatus.GONE or (state.status is StreamStatus.UNREADABLE and not state.proven):
        return True
    if job.type is JobType.BACKFILL:
        if state.is_discovery or agenda.read_until(state) is None:
            return False
        wanted = Span(job.since or min(one.since for one in agenda.account.requests), job.until or FAR)
        return not common(agenda.history(state), [Span(wanted.from_at, min(wanted.to_at, wanted_by))])
    if state.stream.changes_in is not None:
        return True
    if state.read_until is None:
        return False
    if state.read_until >= wanted_by:
        return True
    interval = state.stream.interval
    return interval is not None and now - state.read_until < interval


def _is_aside(state: StreamState, now: datetime) -> bool:
    """Whether there is nothing that could be done for it now."""
    if state.status is StreamStatus.UNREADABLE:
        return True
    waits = [
        one.next_at is not None and one.next_at > now for one in (state.incremental, state.backfill) if one.failures > 0
    ]
    return state.status is StreamStatus.BLOCKED and all(waits)


def _without_jobs(account: AccountState, ended: list[SyncJob]) -> AccountState:
    """The account, whose requests of ended jobs are now everybody's. Those of one stretch become one."""
    ids = {job.id for job in ended}
    mine = [one for one in account.requests[1:] if one.job_id is not None and one.job_id not in ids]
    merged: dict[tuple[datetime, datetime], None] = dict.fromkeys(
        (one.since, one.until) for one in account.requests[1:] if one.job_id is None or one.job_id in ids
    )
    kept = [
        attrs.evolve(account.requests[0], since=since, until=until)
        for since, until in merged
        if not any(other != (since, until) and other[0] <= since and until <= other[1] for other in merged)
    ]
    return attrs.evolve(account, requests=(account.requests[0], *kept, *mine))


def _named(aside: list[StreamState], total: int) -> str:
    first = sorted(aside, key=lambda one: one.status_since)[:MOST_NAMED]
    named = "; ".join(
        f"{one.stream.name or 'the list of what there is'} ({(one.reason or 'unreadable').rstrip('.')}, "
        f"since {rfc3339(one.status_since.replace(microsecond=0))})"
        for one in first
    )
    more = len(aside) - len(first)
    return f"{len(aside)} of {total} streams cannot be read: {named}{f'; and {more} more' if more else ''}."
