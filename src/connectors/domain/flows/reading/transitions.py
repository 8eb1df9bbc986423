"""What becomes of a stream: after a page, after a failure, after it was listed. Pure; docs/engine.md has the rules."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.flows.reading.agenda import Work
from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import read_instant
from connectors.domain.model.spans import Span, union, without
from connectors.domain.model.stream_state import (
    ClosedBy,
    ParkedState,
    ProvenSpan,
    Reading,
    StreamRun,
    StreamState,
    StreamStatus,
    with_proof,
)
from connectors.domain.model.streams import ParkedItem, Stream, StreamPage
from connectors.domain.model.sync import Cursor, SyncMode

SHORTEST_PAUSE = timedelta(seconds=30)
"""Before a stream that failed once is tried again; each further failure doubles it."""

LONGEST_PAUSE = timedelta(hours=1)
"""It is never longer, and it never ends."""

RESTART_FIRST, RESTART_EVERY = 2, 4
"""After the second failure in a row, and after every fourth from there on, the window is read from its beginning."""

MOST_REFUSALS = 3
"""How often in a row our database may refuse a page before its stream counts as failed."""

REFUSAL_PAUSE = timedelta(seconds=2)
"""Before a page that it refused is read again; each further refusal doubles it."""

ITEM_PAUSE = timedelta(minutes=5)
"""Before a parked item is asked for again; each further failure doubles it."""

LONGEST_ITEM_PAUSE = timedelta(days=1)
"""It is never longer."""

FRESH_ENOUGH = timedelta(hours=1)
"""A stream that is listed again is only written if something about it changed or the last time was so long ago."""


class CircleError(UnexpectedResponseError):
    """Positions have come again: none of the run's can be trusted, so it begins again."""


def pause_after(failures: int, shortest: timedelta = SHORTEST_PAUSE, longest: timedelta = LONGEST_PAUSE) -> timedelta:
    """The pause after so many failures in a row."""
    doublings: int = 2 ** min(max(failures - 1, 0), 20)
    return min(shortest * doublings, longest)


# --- after a page -------------------------------------------------------------------------------------------------


def advanced(state: StreamState, work: Work, cursor: Cursor | None) -> StreamRun | None:
    """The run as it continues at this cursor; None if it has ended.

    Raises:
        CircleError: the pages go in a circle.
    """
    if cursor is None:
        return None
    run = run_of(state, work)
    guard = run.guard.after(cursor)
    if guard is None:
        raise CircleError("The pages go in a circle: a position has come again.")
    return attrs.evolve(run, cursor=cursor, guard=guard)


def run_of(state: StreamState, work: Work) -> StreamRun:
    """The stream's run over the window of this work: the one that has begun, or a new one."""
    run = state.reading(work.mode).run
    return run if run is not None and run.window == work.window else StreamRun(window=work.window)


def after_page(
    state: StreamState,
    work: Work,
    page: StreamPage,
    now: datetime,
    *,
    rounds: int,
    has_news: bool,
    is_proof: bool = True,
) -> StreamState:
    """The stream after this page.

    Args:
        state: as it is stored.
        work: what was read.
        page: what came.
        now: when.
        rounds: of the package's histories.
        has_news: whether the page brought signals that nobody had: only that and the end of a run are progress. A
            circle has pages, too.
        is_proof: whether an incremental run proves its window. Where things move between streams, it does not while it
            is unknown whether there are new streams.
    """
    reading = state.reading(work.mode)
    before = run_of(state, work).oldest_shown
    if before is not None and page.cursor is None:  # an earlier page has said so
        page = attrs.evolve(page, oldest_shown=max(before, page.oldest_shown or before))
    run = advanced(state, work, None if page.lost is not None else page.cursor)
    state = attrs.evolve(state, served_at=now, updated_at=now)
    if run is not None:
        shown = (one for one in (run.oldest_shown, page.oldest_shown) if one is not None)
        run = attrs.evolve(run, oldest_shown=max(shown, default=None))
        kept = Reading(run=run) if has_news else attrs.evolve(reading, run=run, refusals=0)
        return _recovered(state, state.with_reading(work.mode, kept), now)
    state = _recovered(state, state.with_reading(work.mode, Reading()), now)
    for mode in SyncMode:
        if state.reading(mode).failures == 0:
            state = state.with_reading(mode, attrs.evolve(state.reading(mode), next_at=None))
    if page.lost is not None:
        return attrs.evolve(state, bookmark=None)
    if work.mode is SyncMode.BACKFILL:
        return _after_history(state, work, page, rounds)
    return _after_run(state, work, page, is_proof=is_proof)


def _recovered(before: StreamState, after: StreamState, now: datetime) -> StreamState:
    """The stream, read soon if it was blocked until now: jobs have ended without what is new in it."""
    is_back = before.status is StreamStatus.BLOCKED and after.status is StreamStatus.READY
    return attrs.evolve(after, requested_at=now, status_since=now) if is_back else after


def _after_run(state: StreamState, work: Work, page: StreamPage, *, is_proof: bool) -> StreamState:
    window = work.window
    low = page.read_from if window.bookmark is None else window.low
    proven = state.proven
    if state.read_until is not None and state.read_until > window.high:
        proven = _less(proven, [Span(window.high)])  # it was proven while our clock was ahead
    if low is not None and is_proof:
        shown = window.low if page.oldest_shown is None else page.oldest_shown
        # A baseline shows what is there, as history does, and not what was there and is gone.
        path = CoveragePath.BACKFILL if window.bookmark is None else CoveragePath.SYNC
        proven = with_proof(proven, Span(max(low, min(shown, window.high)), window.high), path)
    bookmark = {} if page.bookmark is None else page.bookmark
    return attrs.evolve(state, bookmark=bookmark, read_until=window.high, proven=proven)


def _after_history(state: StreamState, work: Work, page: StreamPage, rounds: int) -> StreamState:
    window = work.window
    read = Span(window.low, window.high)
    given_up = state.given_up
    if page.oldest_shown is not None and page.oldest_shown > window.low:
        hidden = Span(window.low, min(page.oldest_shown, window.high))
        given_up = union([*given_up, hidden])
        read = Span(hidden.to_at, window.high)
    if work.round_number < rounds:
        return attrs.evolve(
            state, read_once=union([*state.read_once, Span(window.low, window.high)]), given_up=given_up
        )
    proven = with_proof(state.proven, read, CoveragePath.BACKFILL)
    return attrs.evolve(state, proven=proven, given_up=given_up, read_once=without(state.read_once, [read]))


def is_quiet(page: StreamPage) -> bool:
    """Whether a page ends its run and brings nothing: many such are stored in one statement."""
    return page.cursor is None and not (
        page.signals or page.observations or page.parked or page.lost or page.oldest_shown or page.connection_metadata
    )


# --- after a failure ----------------------------------------------------------------------------------------------


def set_aside(state: StreamState, mode: SyncMode, reason: str, now: datetime) -> StreamState:
    """The stream after a failure. Its open stretch is a gap from this moment on: coverage is what is proven."""
    reading = state.reading(mode)
    failures = reading.failures + 1
    next_at = now + pause_after(failures)
    failed = attrs.evolve(
        reading,
        # Its position may be the cause, also later: some lapse while a page cannot be read.
        run=None if failures % RESTART_EVERY == RESTART_FIRST else reading.run,
        failures=failures,
        refusals=0,
        next_at=next_at,
        reason=reason,
        failed_since=reading.failed_since or now,
    )
    # Its other mode asks the same list: it waits, too.
    other = SyncMode.INCREMENTAL if mode is SyncMode.BACKFILL else SyncMode.BACKFILL
    waiting = attrs.evolve(state.reading(other), next_at=max(next_at, state.reading(other).next_at or now))
    changed = state.with_reading(other, waiting).with_reading(mode, failed)
    since = now if state.status is not changed.status else state.status_since
    return attrs.evolve(changed, status_since=since, served_at=now, updated_at=now)


def forgiven(state: StreamState, mode: SyncMode) -> StreamState:
    """The stream as if the last failure had not been its own, but its provider's."""
    reading = state.reading(mode)
    failures = max(reading.failures - 1, 0)
    if failures == 0:
        return state.with_reading(mode, Reading(run=reading.run, suspected=reading.suspected))
    return state.with_reading(mode, attrs.evolve(reading, failures=failures, next_at=None))


def suspected(state: StreamState, mode: SyncMode) -> StreamState:
    """The stream after another one could be read: it was not the provider that was down."""
    reading = state.reading(mode)
    return state.with_reading(mode, attrs.evolve(reading, suspected=reading.suspected + 1))


def write_suspect(mode: SyncMode, key: str) -> str:
    """A stream and a mode as one text."""
    return f"{mode}:{key}"


def read_suspect(text: str) -> tuple[SyncMode, str]:
    """The mode and the key that `write_suspect` put together."""
    mode, _, key = text.partition(":")
    return SyncMode(mode), key


def refused(state: StreamState, mode: SyncMode, reason: str, now: datetime) -> StreamState:
    """The stream after our database has refused to store a page of it."""
    reading = state.reading(mode)
    refusals = reading.refusals + 1
    if refusals >= MOST_REFUSALS or reading.failures > 0:
        return set_aside(state, mode, reason, now)
    waiting = attrs.evolve(reading, refusals=refusals, next_at=now + pause_after(refusals, REFUSAL_PAUSE))
    return attrs.evolve(state.with_reading(mode, waiting), served_at=now, updated_at=now)


def limited(state: StreamState, until: datetime, now: datetime) -> StreamState:
    """The stream after its provider wanted us to wait until then: others come first.

    Discovery comes before all streams, so it waits longer than they do if any are known.
    """
    state = attrs.evolve(state, served_at=now, updated_at=now)
    if not state.is_discovery or state.read_until is None:
        return state
    waiting = attrs.evolve(state.incremental, next_at=until + SHORTEST_PAUSE)
    return state.with_reading(SyncMode.INCREMENTAL, waiting)


def gone(state: StreamState, reason: str, now: datetime, parked: Iterable[Span] = ()) -> StreamState:
    """The stream when it is neither listed nor shown any more. When it comes back, what was parked is read again."""
    return attrs.evolve(
        state,
        status=StreamStatus.GONE,
        reason=reason,
        status_since=now,
        proven=_less(state.proven, tuple(parked)),
        served_at=now,
        updated_at=now,
    )


def _less(proven: Iterable[ProvenSpan], cuts: Sequence[Span]) -> tuple[ProvenSpan, ...]:
    return tuple(ProvenSpan(left, one.path) for one in proven for left in without([one.span], cuts))


# --- after it was listed ------------------------------------------------------------------------------------------


def found(owner: StreamState, stream: Stream, now: datetime) -> StreamState | None:
    """The row of a stream that is listed for the first time; None where there is nothing to keep.

    Args:
        owner: the connection's discovery.
        stream: as it is listed.
        now: when.
    """
    if stream.unreadable is not None and not stream.is_chosen:
        return None
    is_readable = stream.unreadable is None
    return StreamState(
        tenant_id=owner.tenant_id,
        connection_id=owner.connection_id,
        stream=stream,
        status=StreamStatus.READY if is_readable else StreamStatus.UNREADABLE,
        reason=stream.unreadable,
        status_since=now,
        found_at=now,
        listed_at=now,
        updated_at=now,
    )


def listed(state: StreamState, stream: Stream, asked_at: datetime, now: datetime) -> StreamState:
    """A known stream after it was listed again.

    Args:
        state: as it is stored.
        stream: as it is listed.
        asked_at: when the list was asked for: what the vendor says of silence is true until then.
        now: when.
    """
    has_changed = state.stream != attrs.evolve(stream, quiet_since=state.stream.quiet_since)
    known, state = state, attrs.evolve(state, stream=stream, listed_at=now)
    if stream.unreadable is not None:
        if state.status is not StreamStatus.UNREADABLE or state.reason != stream.unreadable:
            state = attrs.evolve(state, status=StreamStatus.UNREADABLE, reason=stream.unreadable, status_since=now)
    elif not state.is_readable:
        # While it could not be read, another stream did not show its changes either.
        state = attrs.evolve(
            state, status=StreamStatus.READY, reason=None, status_since=now, found_at=now, requested_at=now
        )
        state = state.with_reading(SyncMode.INCREMENTAL, Reading()).with_reading(SyncMode.BACKFILL, Reading())
    elif state.status is StreamStatus.BLOCKED and has_changed:
        # What was in its way may be over.
        state = attrs.evolve(
            state,
            incremental=attrs.evolve(state.incremental, next_at=None),
            backfill=attrs.evolve(state.backfill, next_at=None),
        )
    state = _kept_silent(state, asked_at)
    is_worth_it = has_changed or state.status is not known.status or state.read_until != known.read_until
    return attrs.evolve(state, updated_at=now) if is_worth_it or now - known.listed_at >= FRESH_ENOUGH else known


def _kept_silent(state: StreamState, asked_at: datetime) -> StreamState:
    """The stream, read up to when it was listed if the vendor says that nothing has happened in it since."""
    quiet_since, read_until = state.stream.quiet_since, state.read_until
    is_idle = state.incremental == Reading() and state.bookmark is not None and state.is_readable
    if quiet_since is None or read_until is None or not is_idle or not quiet_since <= read_until < asked_at:
        return state
    proven = with_proof(state.proven, Span(read_until, asked_at), CoveragePath.SYNC)
    return attrs.evolve(state, read_until=asked_at, proven=proven)


def with_legacy(
    state: StreamState, legacy: Mapping[str, Any], bookmarks: Mapping[str, Any], *, is_divided: bool
) -> StreamState:
    """A newly found stream, with what a version without streams had read of it.

    That version claimed families as a whole, also where it had been refused a part. So a stream that reads its own
    changes and of which its cursor knows nothing may never have been read: what is wanted of it is history.

    Args:
        state: as it was found.
        legacy: `read_until`, and `proven`: for each family, lists of from, to and path.
        bookmarks: by stream key.
        is_divided: whether the package can tell by the cursor which streams had been read.
    """
    if is_divided and state.stream.changes_in is None and state.key not in bookmarks:
        return state
    proven: tuple[ProvenSpan, ...] = ()
    for path in (CoveragePath.SYNC, CoveragePath.BACKFILL):
        kept: list[Span] | None = None
        for family in state.stream.families:
            spans = [_read_span(one) for one in legacy.get("proven", {}).get(family, ()) if one[2] == path]
            kept = spans if kept is None else list(without(kept, without(kept, spans)))
        for span in kept or ():
            proven = with_proof(proven, span, path)
    read_until = read_instant(legacy.get("read_until"))
    bookmark = bookmarks.get(state.key)
    if bookmark is None or read_until is None:
        return attrs.evolve(state, proven=proven)
    return attrs.evolve(state, proven=proven, bookmark=bookmark, read_until=read_until)


def _read_span(one: Any) -> Span:
    from_at, to_at = read_instant(one[0]), read_instant(one[1])
    assert from_at is not None and to_at is not None  # noqa: S101, PT018 - our own migration wrote them
    return Span(from_at, to_at)


# --- parked items -------------------------------------------------------------------------------------------------


def parked(state: StreamState, item: ParkedItem, work: Work, known: ParkedState | None, now: datetime) -> ParkedState:
    """The row of a thing that could not be read. What a person gave up stays closed; what happened to it later is new.

    A reference may come again: for a thing that has changed since, or for another one that has no name either.
    """
    span = Span(work.window.low, work.window.high) if item.between is None else Span(*sorted(item.between))
    if span.is_empty:
        span = Span(span.from_at, span.from_at + timedelta(seconds=1))
    if known is not None and known.closed_at is None:
        span = Span(min(span.from_at, known.span.from_at), max(span.to_at, known.span.to_at))
        return attrs.evolve(known, reason=item.reason, span=span)
    if known is not None and known.closed_by is ClosedBy.PERSON:
        if known.closed_at is None or span.to_at <= max(known.closed_at, known.span.to_at):
            return known
        span = Span(max(span.from_at, known.closed_at), span.to_at)
    return ParkedState(
        tenant_id=state.tenant_id,
        connection_id=state.connection_id,
        stream_key=state.key,
        reference=item.reference,
        reason=item.reason,
        span=span,
        next_at=now + ITEM_PAUSE,
        opened_at=now,
    )


def parked_again(item: ParkedState, reason: str, now: datetime) -> ParkedState:
    """A parked item that could not be read once more."""
    failures = item.failures + 1
    return attrs.evolve(
        item, failures=failures, reason=reason, next_at=now + pause_after(failures, ITEM_PAUSE, LONGEST_ITEM_PAUSE)
    )
