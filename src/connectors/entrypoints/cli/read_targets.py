"""What `backfill` and `sync` read, connection by connection, and the jobs that read it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError
from connectors.domain.model.sync import JobStatus, JobType, StreamCounts, SyncJob
from connectors.entrypoints.library import Connectors

SAME_START = timedelta(days=1)
"""How far apart the starts of two `--days` ranges may be for the older one's unfinished job to be continued: a command
that is run again after an interruption should not start over."""


@attrs.frozen(kw_only=True)
class ReadRequest:
    """What to read of each connection."""

    type: JobType
    since: datetime | None = None
    until: datetime | None = None
    is_any_range: bool = False
    """No range was given, so an unfinished job of any range can be continued."""
    is_relative: bool = False
    """`since` was given in days, and not as an instant."""

    def is_served_by(self, job: SyncJob) -> bool:
        """Whether this job reads what is requested."""
        if job.type is not self.type or job.target is not None:
            return False
        if self.is_any_range or (job.since, job.until) == (self.since, self.until):
            return True
        if not self.is_relative or job.until != self.until or self.since is None or job.since is None:
            return False
        return timedelta(0) <= self.since - job.since <= SAME_START


@attrs.define(kw_only=True)
class ReadTarget:
    """One connection to read."""

    connection: Connection
    request: ReadRequest
    job: SyncJob | None = None
    """The job that reads it."""
    is_resumed: bool = False
    """The job existed before this command."""
    refusal: str | None = None
    """Why it cannot be read."""

    @property
    def name(self) -> str:
        """Provider and account, for people."""
        return f"{self.connection.provider} {self.connection.account.name}"

    @property
    def is_over(self) -> bool:
        """Whether its job has ended or could not be queued."""
        return self.job is None or self.job.is_finished

    @property
    def is_complete(self) -> bool:
        """Whether all of it was read."""
        return self.job is not None and self.job.status is JobStatus.SUCCEEDED

    @property
    def is_partial(self) -> bool:
        """Whether all of it was read but for streams that cannot be read now."""
        return self.job is not None and self.job.status is JobStatus.PARTIAL

    @property
    def streams(self) -> str:
        """`12/480`: how many streams are read, of how many; empty while that is not known."""
        counts = None if self.job is None else self.job.streams
        return "" if counts is None or not counts.total else f"{counts.done:,}/{counts.total:,}"

    @property
    def error(self) -> str | None:
        """The present error, if there is one."""
        return self.refusal if self.job is None else self.job.error

    def summary(self) -> dict[str, Any]:
        """Its job, in short, for `--output json`."""
        job = self.job
        return {
            "job": None if job is None else job.id,
            "tenant_id": self.connection.tenant_id,
            "connection_id": self.connection.id,
            "provider": self.connection.provider,
            "type": self.request.type,
            "status": "refused" if job is None else job.status,
            "since": self.request.since if job is None else job.since,
            "until": self.request.until if job is None else job.until,
            "streams": attrs.asdict(StreamCounts() if job is None else job.streams),
            "pages": 0 if job is None else job.progress.pages,
            "items": 0 if job is None else job.progress.items,
            "signals": 0 if job is None else job.progress.signals,
            "retry_after": None if job is None else job.retry_after,
            "error": self.error,
        }


def make_targets(connectors: Connectors, connections: Sequence[Connection], request: ReadRequest) -> list[ReadTarget]:
    """A target for each connection, its job queued; an unfinished backfill is continued instead."""
    targets = []
    for connection in connections:
        target = ReadTarget(connection=connection, request=request)
        # An incremental read that is running would miss events that are newer than it: only backfills are continued.
        found = find_unfinished(connectors, connection, request) if request.type is JobType.BACKFILL else None
        if found is None:
            _queue(connectors, target)
        else:
            target.job, target.is_resumed = found, True
        targets.append(target)
    return targets


def find_unfinished(connectors: Connectors, connection: Connection, request: ReadRequest) -> SyncJob | None:
    """The connection's oldest unfinished job that reads what is requested, or None."""
    jobs = connectors.jobs.unfinished(connection.tenant_id, connection.id)
    return next((job for job in jobs if request.is_served_by(job)), None)


def _queue(connectors: Connectors, target: ReadTarget) -> None:
    connection, request = target.connection, target.request
    try:
        target.job = connectors.jobs.request(
            connection.tenant_id, connection.id, request.type, since=request.since, until=request.until
        )
    except (ConflictError, ConnectionNotFoundError) as error:
        target.refusal = error.message


def refresh(connectors: Connectors, targets: Sequence[ReadTarget]) -> None:
    """Read the present state of the targets' jobs, and of the streams of those that are being read."""
    running = [(target, target.job) for target in targets if target.job is not None and not target.is_over]
    for (target, _), job in zip(running, connectors.jobs.reload(job for _, job in running), strict=True):
        target.job = job
        if job.status is JobStatus.RUNNING:
            with suppress(ConnectionNotFoundError):
                target.job = attrs.evolve(job, streams=connectors.streams.count(job))
