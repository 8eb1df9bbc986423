"""Reading a provider's API: the purpose of a sync run, one page of it, and the job that drives it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, TenantId
from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.signal import SignalDraft

Cursor = Mapping[str, Any]
"""The position of a sync run, in the provider package's own form: JSON values, opaque to everybody else."""


class SyncMode(StrEnum):
    """The purpose of a sync run."""

    BACKFILL = "backfill"
    """Bounded history."""
    INCREMENTAL = "incremental"
    """Changes since the stored cursor; without one, take a baseline and emit nothing older."""


@attrs.frozen(kw_only=True)
class SyncPlan:
    """What one sync run covers, fixed when its job starts."""

    mode: SyncMode
    started_at: datetime = attrs.field(converter=utc)
    """The upper bound of the sync run: later events belong to the next one."""
    since: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Backfill: nothing older."""
    until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Backfill: nothing newer. None means `started_at`."""
    last_cursor: Cursor | None = None
    """Incremental: the cursor of the previous sync run; None the first time."""
    target: str | None = None
    """Only this part (a calendar, a channel), None for all."""


@attrs.frozen(kw_only=True)
class SkippedItem:
    """One item that could not be read. It is skipped; the page continues."""

    reference: str
    """Enough to find it again: an id or URL, never contents."""
    reason: str
    at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When it happened, if that is known: else all that the sync run reads stays unproven."""


@attrs.frozen(kw_only=True)
class Observation:
    """The current state of one thing, for provider packages whose API shows states and not events.

    The engine loads the last known state under the same key and asks the provider package's `interpret` what happened,
    in the transaction that stores the new state.
    """

    key: str
    state: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Interpretation:
    """What an observation means, compared with the last known state."""

    signals: tuple[SignalDraft, ...] = ()
    snapshot: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """The state to store; None deletes it."""


@attrs.frozen(kw_only=True)
class SyncPage:
    """The result of one page. Its signals, snapshots, cursor and progress are committed together."""

    cursor: Cursor
    """Where to continue; with `done`, where the next incremental sync run starts."""
    done: bool = False
    signals: tuple[SignalDraft, ...] = ()
    observations: tuple[Observation, ...] = ()
    items: int = 0
    """Provider items read, with or without signals."""
    skipped: tuple[SkippedItem, ...] = ()
    gap: str | None = None
    """Set if history was lost at the provider (an expired cursor): what could not be recovered, in words."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""


class JobType(StrEnum):
    """Why a job exists."""

    WEBHOOK = "webhook"
    INCREMENTAL = "incremental"
    BACKFILL = "backfill"


class JobStatus(StrEnum):
    """The state of a job in its life cycle."""

    QUEUED = "queued"
    """It waits: for a worker, for its next time slice, or, with `retry_after`, for a provider."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    """It has ended, and something could not be read: each such stream is still tried, and is a gap until then."""
    FAILED = "failed"
    """The connection cannot be read at all: its user, or an operator, has to act."""
    CANCELLED = "cancelled"


UNFINISHED = frozenset({JobStatus.QUEUED, JobStatus.RUNNING})
"""Statuses of jobs that have not ended."""


@attrs.frozen
class Progress:
    """What was read for a job. A page may count for several."""

    pages: int = 0
    items: int = 0
    signals: int = 0


@attrs.frozen(kw_only=True)
class StreamCounts:
    """How many streams a job concerns."""

    total: int = 0
    done: int = 0
    aside: int = 0
    """Those that cannot be read now."""


@attrs.frozen(kw_only=True)
class SyncJob:
    """A request for reading, and what has become of it. Reading itself goes on by the streams' own rows."""

    id: JobId
    tenant_id: TenantId
    connection_id: ConnectionId
    provider: ProviderSlug
    type: JobType
    status: JobStatus = JobStatus.QUEUED
    since: datetime | None = attrs.field(default=None, converter=optional_utc)
    until: datetime | None = attrs.field(default=None, converter=optional_utc)
    target: str | None = None
    attempts: int = 0
    """How often it was begun: the first time, and after its worker died. Time slices do not count."""
    progress: Progress = attrs.field(factory=Progress)
    streams: StreamCounts = attrs.field(factory=StreamCounts)
    error: str | None = None
    """What cannot be read, or why nothing can."""
    trace_id: str | None = None
    """The trace id of the request that asked for it; all its log lines carry it."""
    scheduled_at: datetime = attrs.field(converter=utc)
    started_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    finished_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    retry_after: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Nothing is read for it before then: the provider asked for that, or it is down."""
    updated_at: datetime = attrs.field(
        default=attrs.Factory(lambda self: self.scheduled_at, takes_self=True), converter=utc
    )

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.status not in UNFINISHED


@attrs.frozen(kw_only=True)
class JobFilter:
    """The filters of `GET /jobs`."""

    provider: ProviderSlug | None = None
    connection_id: ConnectionId | None = None
    type: JobType | None = None
    status: JobStatus | None = None
