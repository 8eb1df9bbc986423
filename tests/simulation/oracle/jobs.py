"""Jobs end, and little is left of them."""

from datetime import timedelta
from typing import TYPE_CHECKING

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.sync import JobStatus, JobType, SyncJob
from tests.simulation.oracle.looks import Shown

if TYPE_CHECKING:
    from tests.simulation.run import Run

LONG = timedelta(hours=1)
MOST_ATTEMPTS = 100

MOST_RUNS = 1500
"""How often a connection is taken, with its time slices and its waits for a vendor."""

MOST_ROWS = {
    "authorization_requests": 60,
    "connections": 12,
    "deliveries": 500,
    "gaps": 80,
    "grants": 40,
    "intervals": 120,
    "jobs": 300,
    "limits": 20,
    "schedules": 30,
    "snapshots": 1000,
    "subscriptions": 60,
    "accounts": 12,
    "streams": 400,
    "parked": 60,
    "tasks": 10,
}
"""Rows that so few accounts may have, by table: about twice the most that is seen."""

LONGEST_WAIT = timedelta(days=2)
"""For which a vendor may send a job away."""


def end(run: "Run") -> None:
    """No job hangs, spins, or gives up what nobody asks for again."""
    now = run.schedule.instant()
    jobs = list(run.database.memory.jobs.values())
    told_to_wait = {one.slug for one in run.accounts.values() if run.wire.is_told_to_wait(one.mount)}
    # One reader reads a connection: what is queued behind a job that waits for the vendor waits, too.
    waits = (one for one in jobs if not one.is_finished and one.retry_after is not None and one.retry_after > now)
    waiting = {one.connection_id for one in waits}
    for job in jobs:
        is_due = job.connection_id not in waiting and job.provider not in told_to_wait
        if not job.is_finished and now - job.scheduled_at > LONG and is_due:
            run.schedule.report("job-stuck", f"{job.type} {job.status}: {job.error}", job.provider)
        if not job.is_finished and job.retry_after is not None and job.retry_after - now > LONGEST_WAIT:
            run.schedule.report("job-postponed", f"{job.type} waits for days: {job.error}", job.provider)
        if job.attempts > MOST_ATTEMPTS:
            run.schedule.report("job-spins", f"{job.type} {job.status}: {job.error}", job.provider)
        if job.type is JobType.BACKFILL and job.status is JobStatus.FAILED and _is_nobodys(run, job):
            run.schedule.report("backfill-given-up", f"{job.error}", job.provider)
    for account in run.database.memory.accounts.values():
        if account.run > MOST_RUNS:
            run.schedule.report("job-spins", f"taken more than {MOST_RUNS} times", account.provider)


def _is_nobodys(run: "Run", job: SyncJob) -> bool:
    """Whether the connection works, and what the backfill was to read is neither read nor said to be missing."""
    memory = run.database.memory
    connection = memory.connections.get((job.tenant_id, job.connection_id))
    if connection is None or connection.status is not ConnectionStatus.ACTIVE:
        return False
    shown = Shown(run, connection)
    return any(shown.pending.values()) and not shown.open_gaps


def _is_readable(run: "Run", job: SyncJob) -> bool:
    """Whether its connection works: one that has ended keeps what was wanted, for the next consent."""
    connection = run.database.memory.connections.get((job.tenant_id, job.connection_id))
    return (
        connection is not None
        and connection.status is ConnectionStatus.ACTIVE
        and not run.people.deeds(
            next(name for name, one in run.accounts.items() if one.slug == job.provider), "disconnect", "withdraw"
        )
    )


def leave_little_behind(run: "Run") -> None:
    """Tables hold as much as the accounts need, however much went wrong."""
    is_paused = any(run.wire.is_told_to_wait(one.mount) for one in run.accounts.values())
    for name, most in MOST_ROWS.items():
        number = len(getattr(run.database.memory, name).values())
        if number > most and not (is_paused and name == "tasks"):
            run.schedule.report("growth", f"more than {most} rows in {name}")
    _leave_nothing_without_owner(run)


def _leave_nothing_without_owner(run: "Run") -> None:
    """What is scheduled is done, and what nobody wants is not asked for."""
    memory = run.database.memory
    for account in memory.accounts.values():
        for request in account.requests:
            job = None if request.job_id is None else memory.jobs.get((account.tenant_id, request.job_id))
            if job is not None and job.status is JobStatus.CANCELLED and _is_readable(run, job):
                text = "what only a cancelled backfill asked for is still wanted"
                run.schedule.report("left-over", text, account.provider)
    for entry in memory.schedules.values():
        if entry.next_at < run.schedule.instant() - LONG:
            run.schedule.report("left-over", f"a schedule entry that nobody looks at: {entry.kind}")
