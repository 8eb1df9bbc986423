"""What the API answers about reading: jobs and coverage. The same rules hold as in `views`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import attrs
from msgspec import Meta, Struct, field

from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.sync import JobStatus, JobType
from connectors.entrypoints.representation.views import HasMore, Instant, NextCursor, Slug

Count = Annotated[int, Meta(ge=0)]


@attrs.frozen(kw_only=True, slots=False)
class ProgressView:
    """How far a job has come. Every page is kept as soon as it is read."""

    pages: Count
    items: Annotated[int, Meta(ge=0, description="The provider's items looked at, signals or not.")]
    signals: Annotated[int, Meta(ge=0, description="New ones.")]


@attrs.frozen(kw_only=True, slots=False)
class JobView:
    """One read of a connection's provider, from request to result."""

    id: UUID
    tenant_id: UUID
    connection_id: UUID
    provider: Slug
    type: Annotated[JobType, Meta(description="`webhook`: a notification only said that something has changed.")]
    status: Annotated[JobStatus, Meta(description="`queued` also between two turns, and while a provider has us wait.")]
    since: Annotated[datetime, Meta(tz=True, description="Backfill: nothing older.")] | None
    until: Annotated[datetime, Meta(tz=True, description="Backfill: nothing newer.")] | None
    target: Annotated[str | None, Meta(description="Only this part.")]
    attempts: Annotated[int, Meta(ge=0, description="How often it was begun: first, after failures, after a crash.")]
    failures: Annotated[int, Meta(ge=0, description="How often in a row it has failed without a page between.")]
    progress: ProgressView
    error: Annotated[str | None, Meta(description="The last trouble; gone with the next page.")]
    scheduled_at: Annotated[datetime, Meta(tz=True, description="When it was asked for.")]
    started_at: Instant | None
    finished_at: Instant | None
    retry_after: Annotated[datetime, Meta(tz=True, description="It goes on then, not before.")] | None
    trace_id: Annotated[str | None, Meta(description="Of the request that asked for it; in all its log lines.")]


@attrs.frozen(kw_only=True, slots=False)
class JobList:
    """A page of jobs, newest first by when they were asked for."""

    jobs: Sequence[JobView]
    next_cursor: NextCursor
    has_more: HasMore


@attrs.frozen(kw_only=True, slots=False)
class RequestedJobView:
    """The job that a request got."""

    job: JobView


@attrs.frozen(kw_only=True, slots=False)
class RequestedJobsView:
    """The jobs that a request got."""

    job: Annotated[JobView, Meta(description="The first of them.")]
    jobs: Annotated[Sequence[JobView], Meta(description="One for each active connection of the provider.")]


# --- coverage ------------------------------------------------------------------------------------------------------


class IntervalView(Struct, frozen=True, kw_only=True):
    """A stretch of time that one path has proven complete."""

    # Structs, because `from` is no name that an attrs class could have.
    from_at: Instant = field(name="from")
    to_at: Annotated[datetime, Meta(tz=True, description="Null: it still grows.")] | None = field(name="to")
    path: CoveragePath


class GapView(Struct, frozen=True, kw_only=True):
    """A stretch of time in which events may be missing, or were until it was closed."""

    id: UUID
    from_at: Instant = field(name="from")
    to_at: Annotated[datetime, Meta(tz=True, description="Null: it still grows.")] | None = field(name="to")
    cause: GapCause
    reason: str
    opened_at: Instant
    closed_at: Annotated[datetime, Meta(tz=True, description="Null: it is open.")] | None
    closed_by: Annotated[CoveragePath, Meta(description="Which path brought what was missing.")] | None


@attrs.frozen(kw_only=True, slots=False)
class FamilyView:
    """What is known of one family of events."""

    name: Annotated[str, Meta(examples=["issues"])]
    kinds: Sequence[SignalKind]
    paths: Annotated[Sequence[CoveragePath], Meta(description="Which of them can prove it complete.")]
    intervals: Annotated[
        Sequence[IntervalView], Meta(description="Proven stretches, the earliest first; different paths may overlap.")
    ]
    gaps: Annotated[
        Sequence[GapView], Meta(description="The earliest first; closed ones as long as ended jobs are kept.")
    ]
    is_complete: Annotated[
        bool, Meta(description="No gap is open. What lies outside all intervals was never looked at.")
    ]


@attrs.frozen(kw_only=True, slots=False)
class CoverageView:
    """What of a connection's events is proven complete, and where something may be missing."""

    connection_id: UUID
    families: Sequence[FamilyView]
    open_gaps: Annotated[
        int, Meta(ge=0, description="A gap whose family nobody can tell stands with every one, and counts once.")
    ]
