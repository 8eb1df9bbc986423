"""How sync jobs are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import attrs
from msgspec import Meta

from connectors.domain.model.sync import JobStatus, JobType, SyncJob
from connectors.entrypoints.representation.common import Count, HasMore, Instant, NextCursor, Slug


@attrs.frozen(kw_only=True, slots=False)
class ProgressView:
    """How far a job has come. Every page is stored as soon as it is read."""

    pages: Count
    items: Annotated[int, Meta(ge=0, description="Items of the provider that were read, signals or not.")]
    signals: Annotated[int, Meta(ge=0, description="New ones.")]


@attrs.frozen(kw_only=True, slots=False)
class StreamCountsView:
    """How many parts of the account a job concerns. All zero until it is known which there are."""

    total: Count
    done: Annotated[int, Meta(ge=0, description="Those that are read as far as the job wants it.")]
    aside: Annotated[int, Meta(ge=0, description="Those that cannot be read now.")]


@attrs.frozen(kw_only=True, slots=False)
class JobView:
    """One read of a connection's provider, from request to result."""

    id: UUID
    tenant_id: UUID
    connection_id: UUID
    provider: Slug
    type: Annotated[JobType, Meta(description="`webhook`: a notification only said that something has changed.")]
    status: Annotated[
        JobStatus,
        Meta(
            description="Also `queued` between two time slices and while it waits for a provider. `partial`: it has "
            "ended, and `error` says which streams cannot be read; they are tried again and are gaps in the coverage. "
            "`failed`: the connection cannot be read at all."
        ),
    ]
    since: Annotated[datetime, Meta(tz=True, description="Backfill: nothing older.")] | None
    until: Annotated[datetime, Meta(tz=True, description="Backfill: nothing newer.")] | None
    target: Annotated[str | None, Meta(description="Only this part.")]
    attempts: Annotated[int, Meta(ge=0, description="How often it was started: first, and after its worker died.")]
    failures: Annotated[int, Meta(ge=0, description="How many of its streams cannot be read now.")]
    progress: ProgressView
    streams: StreamCountsView
    error: Annotated[str | None, Meta(description="What cannot be read now, or why nothing can.")]
    scheduled_at: Annotated[datetime, Meta(tz=True, description="When it was requested.")]
    started_at: Instant | None
    finished_at: Instant | None
    retry_after: Annotated[datetime, Meta(tz=True, description="It continues then, not before.")] | None
    trace_id: Annotated[str | None, Meta(description="Of the request that started it; in all its log lines.")]


@attrs.frozen(kw_only=True, slots=False)
class JobList:
    """A page of jobs, newest first by when they were requested."""

    jobs: Sequence[JobView]
    next_cursor: NextCursor
    has_more: HasMore


@attrs.frozen(kw_only=True, slots=False)
class RequestedJobView:
    """The job that a request started or found."""

    job: JobView


@attrs.frozen(kw_only=True, slots=False)
class RequestedJobsView:
    """The jobs that a request started or found."""

    job: Annotated[JobView, Meta(description="The first of them.")]
    jobs: Annotated[Sequence[JobView], Meta(description="One for each active connection of the provider.")]


def show_job(job: SyncJob) -> JobView:
    """The job."""
    progress, streams = job.progress, job.streams
    return JobView(
        id=job.id,
        tenant_id=job.tenant_id,
        connection_id=job.connection_id,
        provider=job.provider,
        type=job.type,
        status=job.status,
        since=job.since,
        until=job.until,
        target=job.target,
        attempts=job.attempts,
        failures=streams.aside,
        progress=ProgressView(pages=progress.pages, items=progress.items, signals=progress.signals),
        streams=StreamCountsView(total=streams.total, done=streams.done, aside=streams.aside),
        error=job.error,
        scheduled_at=job.scheduled_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        retry_after=job.retry_after,
        trace_id=job.trace_id,
    )
