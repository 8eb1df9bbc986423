"""How far the reading of an account has come: one row for each of its streams, one for each parked item, one for all.

docs/engine.md explains how the engine uses them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, TenantId
from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.spans import FAR, Span, Spans, union, without
from connectors.domain.model.streams import DISCOVERY, Stream, Window
from connectors.domain.model.sync import Cursor, SyncMode


class StreamStatus(StrEnum):
    """Whether a stream can be read."""

    READY = "ready"
    BLOCKED = "blocked"
    """The last try failed. It is tried again, later and later, for ever."""
    UNREADABLE = "unreadable"
    """The vendor would refuse it now, so it is not asked, until a discovery says otherwise."""
    GONE = "gone"
    """It is not listed any more, and refused: coverage does without it."""


@attrs.frozen
class CircleGuard:
    """Notices cursors that come again, by Brent's algorithm: after at most three times the circle's length."""

    kept: str = ""
    steps: int = 0
    limit: int = 1

    def after(self, cursor: Cursor) -> "CircleGuard | None":
        """The guard after this cursor; None if it closes a circle."""
        text = json.dumps(cursor, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        if digest == self.kept:
            return None
        if self.steps + 1 == self.limit:
            return CircleGuard(digest, 0, self.limit * 2)
        return CircleGuard(self.kept, self.steps + 1, self.limit)


@attrs.frozen(kw_only=True)
class StreamRun:
    """A run over one window that has not ended."""

    window: Window
    cursor: Cursor | None = None
    """Where to continue; None at its beginning."""
    guard: CircleGuard = attrs.field(factory=CircleGuard)
    oldest_shown: datetime | None = attrs.field(default=None, converter=optional_utc)
    """The latest `StreamPage.oldest_shown` of its pages so far."""


@attrs.frozen(kw_only=True)
class Reading:
    """How reading a stream in one mode stands."""

    run: StreamRun | None = None
    failures: int = 0
    """Tries in a row that failed, with no progress in between."""
    refusals: int = 0
    """How often in a row our database refused to store a page."""
    suspected: int = 0
    """How often in a row the provider seemed to be down because of it, and others could be read soon after."""
    next_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Not before then; None: at any time."""
    reason: str | None = None
    """Why the last try failed."""
    failed_since: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When the first of the failures in a row happened."""


@attrs.frozen
class ProvenSpan:
    """A span of a stream that has been read whole, and how."""

    span: Span
    path: CoveragePath


@attrs.frozen(kw_only=True)
class StreamState:
    """One stream of a connection, and how far it is read. Discovery itself is one, with the key `DISCOVERY`."""

    tenant_id: TenantId
    connection_id: ConnectionId
    stream: Stream
    status: StreamStatus = StreamStatus.READY
    reason: str | None = None
    """Why it is not ready."""
    status_since: datetime = attrs.field(converter=utc)
    incremental: Reading = attrs.field(factory=Reading)
    backfill: Reading = attrs.field(factory=Reading)
    requested_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When somebody asked for a read of it: a webhook, or a person."""
    served_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When it was last its turn."""
    bookmark: Cursor | None = None
    """What the last incremental run left."""
    read_until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Up to when it has been read: the `high` of the last incremental run. None before the first."""
    proven: tuple[ProvenSpan, ...] = ()
    """What has been read whole. Never less, but for what was parked of a stream that is gone."""
    read_once: Spans = ()
    """History that was read in the first of several rounds."""
    is_dismissed: bool = False
    """Whether a person gave it up: while it cannot be read, nothing waits for it and nobody is told."""
    given_up: Spans = ()
    """What will not be read: a person gave it up, or the vendor does not show it. It stays unproven."""
    found_at: datetime = attrs.field(converter=utc)
    listed_at: datetime = attrs.field(converter=utc)
    """When a discovery last named it."""
    updated_at: datetime = attrs.field(converter=utc)

    @property
    def key(self) -> str:
        """Its key."""
        return self.stream.key

    @property
    def is_discovery(self) -> bool:
        """Whether this is discovery."""
        return self.stream.key == DISCOVERY

    @property
    def is_readable(self) -> bool:
        """Whether it may be asked at all."""
        return self.status in {StreamStatus.READY, StreamStatus.BLOCKED}

    def reading(self, mode: SyncMode) -> Reading:
        """How reading it in this mode stands."""
        return self.backfill if mode is SyncMode.BACKFILL else self.incremental

    def with_reading(self, mode: SyncMode, reading: Reading) -> "StreamState":
        """The state with another reading, and with the status that follows from both."""
        changed = (
            attrs.evolve(self, backfill=reading)
            if mode is SyncMode.BACKFILL
            else attrs.evolve(self, incremental=reading)
        )
        if not self.is_readable:
            return changed
        failing = [one for one in (changed.incremental, changed.backfill) if one.failures > 0]
        if not failing:
            return attrs.evolve(changed, status=StreamStatus.READY, reason=None, is_dismissed=False)
        return attrs.evolve(changed, status=StreamStatus.BLOCKED, reason=failing[0].reason)

    def proven_by(self, *paths: CoveragePath) -> Spans:
        """What has been read whole by any of these paths."""
        return union(one.span for one in self.proven if one.path in paths)


def with_proof(proven: tuple[ProvenSpan, ...], span: Span, path: CoveragePath) -> tuple[ProvenSpan, ...]:
    """The proven spans with one more, in as few as possible."""
    others = tuple(one for one in proven if one.path is not path)
    same = union([*(one.span for one in proven if one.path is path), span])
    return (*others, *(ProvenSpan(one, path) for one in same))


def less_proof(proven: tuple[ProvenSpan, ...], spans: Iterable[Span]) -> tuple[ProvenSpan, ...]:
    """The proven spans without these."""
    unread = tuple(spans)
    return tuple(ProvenSpan(left, one.path) for one in proven for left in without([one.span], unread))


@attrs.frozen(kw_only=True)
class HistoryRequest:
    """A stretch of time that is wanted of every stream of a connection, also of those that are found later."""

    since: datetime = attrs.field(converter=utc)
    until: datetime = attrs.field(default=FAR, converter=utc)
    job_id: JobId | None = None
    """The backfill that asked for it, while it is unfinished: its cancellation takes the request back."""

    @property
    def span(self) -> Span:
        """The same as a span."""
        return Span(self.since, self.until)


@attrs.frozen(kw_only=True)
class AccountState:
    """What concerns all streams of a connection together."""

    tenant_id: TenantId
    connection_id: ConnectionId
    provider: ProviderSlug
    requests: tuple[HistoryRequest, ...]
    """What is wanted. The first request, without a job, is all that happens since the account was connected."""
    paused_until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """The provider is asked nothing before then: it limits, or it is down."""
    pause_reason: str | None = None
    limits: int = 0
    """How often in a row it limited, with no page in between."""
    outages: int = 0
    """How often in a row it was down."""
    suspects: tuple[str, ...] = ()
    """Streams that failed one after the other as if the provider were down, with their mode: `backfill:KEY`."""
    last_turn: str = ""
    """Which kind of work had the last turn, so that each kind gets one."""
    run: int = 0
    """Grows each time a worker takes the connection: one that was taken for dead can no longer write (a fencing token).
    """
    running_since: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Since when a worker reads it; None if none does."""
    heartbeat_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When that worker last stored anything."""
    is_history_only: bool = False
    """Whether it reads nothing but history: such work leaves a slot to others."""
    legacy: Mapping[str, Any] | None = None
    """What an older version had read, until the first discovery divides it among the streams."""
    updated_at: datetime = attrs.field(converter=utc)

    @property
    def requested(self) -> Spans:
        """What is wanted of every stream."""
        return union(one.span for one in self.requests)


class ClosedBy(StrEnum):
    """Why a parked item is no longer asked for."""

    READ = "read"
    GONE = "gone"
    PERSON = "person"


@attrs.frozen(kw_only=True)
class ParkedState:
    """One thing of a stream that could not be read, until it is."""

    tenant_id: TenantId
    connection_id: ConnectionId
    stream_key: str
    reference: str
    """Unique within the stream while it is open."""
    reason: str
    span: Span
    """When its events happened, as far as is known: coverage leaves it out."""
    failures: int = 1
    next_at: datetime = attrs.field(converter=utc)
    opened_at: datetime = attrs.field(converter=utc)
    closed_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    closed_by: ClosedBy | None = None
