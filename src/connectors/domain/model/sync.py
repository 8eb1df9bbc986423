"""Reading a provider's API: what a walk is for, one page of it, and the job that drives it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, TenantId
from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.signal import SignalDraft

Cursor = Mapping[str, Any]
"""Where a walk stands, in the package's own words: JSON values, opaque to everybody else."""


class SyncMode(StrEnum):
    """What a walk is for."""

    BACKFILL = "backfill"
    """Bounded history."""
    INCREMENTAL = "incremental"
    """What changed since the stored cursor; without one, take a baseline and emit nothing older."""


@attrs.frozen(kw_only=True)
class SyncPlan:
    """What one walk shall cover, fixed when its job starts."""

    mode: SyncMode
    started_at: datetime = attrs.field(converter=utc)
    """The walk's upper bound: what happens later belongs to the next one."""
    since: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Backfill: nothing older."""
    until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Backfill: nothing newer. None means `started_at`."""
    last_cursor: Cursor | None = None
    """Incremental: what the walk before left, None the first time."""
    target: str | None = None
    """Only this part (a calendar, a channel), None for all."""


@attrs.frozen(kw_only=True)
class SkippedItem:
    """One item that could not be read. It steps aside; the page goes on."""

    reference: str
    """Enough to find it again: an id or URL, never contents."""
    reason: str


@attrs.frozen(kw_only=True)
class Observation:
    """The present state of one thing, for packages whose API shows states and not events.

    The engine loads the last known state under the same key and asks the package's `interpret` what happened, in the
    transaction that stores the new one.
    """

    key: str
    state: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Interpretation:
    """What an observation means against the last known state."""

    signals: tuple[SignalDraft, ...] = ()
    snapshot: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """What to remember; None forgets the thing."""


@attrs.frozen(kw_only=True)
class SyncPage:
    """What one page gave. Its signals, snapshots, cursor and progress are committed together."""

    cursor: Cursor
    """Where to go on; with `done`, what the next incremental walk starts from."""
    done: bool = False
    signals: tuple[SignalDraft, ...] = ()
    observations: tuple[Observation, ...] = ()
    items: int = 0
    """Provider items looked at, signals or not."""
    skipped: tuple[SkippedItem, ...] = ()
    gap: str | None = None
    """Set when history was lost at the provider (an expired cursor): what could not be recovered, in words."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""


@attrs.frozen(kw_only=True)
class SyncState:
    """Where a connection's incremental reading stands."""

    cursor: Cursor
    """What the next walk starts from."""
    read_until: datetime = attrs.field(converter=utc)
    """Up to when the walk that left the cursor has read: its `started_at`."""


class JobType(StrEnum):
    """Why a job exists; also its priority, the first being the most urgent."""

    WEBHOOK = "webhook"
    INCREMENTAL = "incremental"
    BACKFILL = "backfill"


class JobStatus(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    """It waits: for a worker, for its next turn, or, with `retry_after`, for a provider."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({JobStatus.QUEUED, JobStatus.RUNNING})
"""Statuses of jobs that are still to come to an end."""


@attrs.frozen(kw_only=True)
class Progress:
    """How far a job has come."""

    pages: int = 0
    items: int = 0
    signals: int = 0


@attrs.frozen(kw_only=True)
class SyncJob:
    """One walk, from request to result."""

    id: JobId
    tenant_id: TenantId
    connection_id: ConnectionId
    provider: ProviderSlug
    type: JobType
    status: JobStatus = JobStatus.QUEUED
    since: datetime | None = attrs.field(default=None, converter=optional_utc)
    until: datetime | None = attrs.field(default=None, converter=optional_utc)
    target: str | None = None
    cursor: Cursor | None = None
    """Where to resume: of the last committed page, None before the first."""
    attempts: int = 0
    """How often it was begun: the first time, after failures, after its worker died. Turns do not count."""
    failures: int = 0
    """How often in a row it has failed without a page between."""
    run: int = 0
    """Grows each time a worker takes it: one that was given up for dead cannot write any more (a fencing token)."""
    progress: Progress = attrs.field(factory=Progress)
    error: str | None = None
    """The last trouble, gone with the next page."""
    trace_id: str | None = None
    """Of the request that asked for it; in all its log lines."""
    scheduled_at: datetime = attrs.field(converter=utc)
    started_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    finished_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    retry_after: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Not before then: the provider said so, or a pause after a failure."""
    updated_at: datetime = attrs.field(
        default=attrs.Factory(lambda self: self.scheduled_at, takes_self=True), converter=utc
    )

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status not in UNFINISHED


@attrs.frozen(kw_only=True)
class JobFilter:
    """What `GET /jobs` may be narrowed to."""

    provider: ProviderSlug | None = None
    connection_id: ConnectionId | None = None
    type: JobType | None = None
    status: JobStatus | None = None
