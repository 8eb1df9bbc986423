"""What `backfill` and `sync` are asked for, connection by connection, and the jobs that do it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError
from connectors.domain.model.sync import JobStatus, JobType, SyncJob
from connectors.entrypoints.library import Connectors

SAME_START = timedelta(days=1)
"""How far the starts of two ranges of `--days` may lie apart for the older one to serve: who runs the command again
after an interruption wants it to go on."""


@attrs.frozen(kw_only=True)
class ReadRequest:
    """What shall be read, the same for each connection."""

    type: JobType
    since: datetime | None = None
    until: datetime | None = None
    is_any_range: bool = False
    """Nobody named a range: an unfinished read of any will do."""
    is_about: bool = False
    """`since` is so many days ago, and not an instant that somebody chose."""

    def is_served_by(self, job: SyncJob) -> bool:
        """Whether this job reads what is wanted."""
        if job.type is not self.type or job.target is not None:
            return False
        if self.is_any_range or (job.since, job.until) == (self.since, self.until):
            return True
        if not self.is_about or job.until != self.until or self.since is None or job.since is None:
            return False
        return timedelta(0) <= self.since - job.since <= SAME_START


@attrs.define(kw_only=True)
class ReadTarget:
    """One connection that shall be read."""

    connection: Connection
    request: ReadRequest
    job: SyncJob | None = None
    """What serves it."""
    is_resumed: bool = False
    """The job was there before."""
    refusal: str | None = None
    """Why it cannot be read."""

    @property
    def name(self) -> str:
        """Provider and account, for people."""
        return f"{self.connection.provider} {self.connection.account.name}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.job is None or self.job.is_finished

    @property
    def is_fulfilled(self) -> bool:
        """Whether all of it was read."""
        return self.job is not None and self.job.status is JobStatus.SUCCEEDED

    @property
    def error(self) -> str | None:
        """What went or goes wrong."""
        return self.refusal if self.job is None else self.job.error

    def summary(self) -> dict[str, Any]:
        """For `--output json`: the job that serves it, in short."""
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
            "pages": 0 if job is None else job.progress.pages,
            "items": 0 if job is None else job.progress.items,
            "signals": 0 if job is None else job.progress.signals,
            "retry_after": None if job is None else job.retry_after,
            "error": self.error,
        }


def make_targets(connectors: Connectors, connections: Sequence[Connection], request: ReadRequest) -> list[ReadTarget]:
    """A wish for each connection, its job queued; a backfill that is not finished is taken up again."""
    targets = []
    for connection in connections:
        target = ReadTarget(connection=connection, request=request)
        # A read of what is new ends with what was new when it began: only history is taken up again.
        there = unfinished_of(connectors, connection, request) if request.type is JobType.BACKFILL else None
        if there is None:
            _ask(connectors, target)
        else:
            target.job, target.is_resumed = there, True
        targets.append(target)
    return targets


def unfinished_of(connectors: Connectors, connection: Connection, request: ReadRequest) -> SyncJob | None:
    """The connection's oldest job that serves the order and has not ended, or None."""
    jobs = connectors.jobs.unfinished(connection.tenant_id, connection.id)
    return next((job for job in jobs if request.is_served_by(job)), None)


def _ask(connectors: Connectors, target: ReadTarget) -> None:
    connection, request = target.connection, target.request
    try:
        target.job = connectors.jobs.request(
            connection.tenant_id, connection.id, request.type, since=request.since, until=request.until
        )
    except (ConflictError, ConnectionNotFoundError) as error:
        target.refusal = error.message


def refresh(connectors: Connectors, targets: Sequence[ReadTarget]) -> None:
    """Look how the wishes' jobs are doing."""
    going = [(target, target.job) for target in targets if target.job is not None and not target.is_over]
    for (target, _), job in zip(going, connectors.jobs.reload(job for _, job in going), strict=True):
        target.job = job
