"""Commits what was read: signals, snapshots, positions, parked items and progress of a page together.

Rows are locked in one order everywhere: connection, account, signals, streams, parked items, jobs, queue, schedule.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.flows.reading.agenda import Kind, Work
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import require_readable
from connectors.domain.flows.reading.time_slice import SliceLostError, TimeSlice
from connectors.domain.flows.reading.transitions import (
    advanced,
    after_page,
    found,
    is_quiet,
    listed,
    parked,
    read_suspect,
    run_of,
    suspected,
    with_legacy,
)
from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import GapCause
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.ids import SignalId
from connectors.domain.model.signal import Origin, Signal, SignalDraft
from connectors.domain.model.stream_state import AccountState, ClosedBy, ParkedState, Reading, StreamState
from connectors.domain.model.streams import DISCOVERY, DiscoveryPage, Stream, StreamPage
from connectors.domain.model.sync import Cursor, JobType, Progress, SyncMode
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)

MOST_QUIET = 200
"""How many quiet runs are stored in one statement."""

LATE = timedelta(minutes=10)
"""A stream that is first read so long after it was found was not followed meanwhile."""

MOST_LISTED = 4_096
"""How many pages discovery may have, a power of two. Streams wait for it, so one without end would starve them."""

MOST_PARKED = 1_000
"""How many things of one stream may be parked; with more, the stream itself counts as failed."""


@attrs.frozen(kw_only=True)
class PageCommitter:
    """Commits pages."""

    unit_of_work: UnitOfWorkFactory
    entropy: Entropy
    ledger: Ledger

    def commit(self, held: TimeSlice, work: Work, page: StreamPage) -> list[Signal]:
        """Store a page, or keep a quiet one for later; the signals that are new.

        Raises:
            SliceLostError: the connection is no longer ours. Nothing of the page was stored.
            ConflictError: the connection has ended or needs its user. Nothing of the page was stored.
            UnexpectedResponseError: the pages go in a circle, too many things of the stream cannot be read, or it says
                that a bookmark has lapsed that it was not given.
            InfrastructureError: our database failed.
        """
        now = held.now()
        state = held.agenda.states[work.key]
        self._check(held, state, work, page)
        # The answer that ends an outage is stored at once: until then it would be asked for again and again.
        ends_outage = held.agenda.account.outages > 0
        if is_quiet(page) and work.item is None and not ends_outage and not _is_late_baseline(state, work, page):
            held.quiet.append((work, page))
            held.agenda.states[work.key] = _after(held, state, work, page, now, has_news=False)
            if len(held.quiet) >= MOST_QUIET:
                self.flush(held)
            return []
        with self.unit_of_work() as uow:
            connection, account = self._own(uow, held, work, now)
            signals = self._record(uow, held, connection, work, _drafts(uow, held, work, page), now)
            states = self._lock_and_flush(uow, held, [work.key], now)
            changed = states[work.key]
            if page.connection_metadata:
                connection = _with_metadata(uow, connection, page.connection_metadata, now)
            if work.item is None:
                self._open_gaps(uow, held, connection, changed, work, page)
                changed = _after(held, changed, work, page, now, has_news=bool(signals))
                states[work.key] = changed
            uow.streams.save(list(states.values()))
            items = self._park(uow, changed, work, page, now)
            self._add_progress(uow, held, work.mode, Progress(1, page.items, len(signals)), now)
        held.session = attrs.evolve(held.session, connection=connection)
        self._remember(held, account, states, items)
        return signals

    def commit_discovery(self, held: TimeSlice, work: Work, page: DiscoveryPage) -> list[Signal]:
        """Store a page of discovery; the signals that are new. Raises like `commit`."""
        now = held.now()
        run = advanced(held.agenda.states[DISCOVERY], work, page.cursor)
        if run is not None and run.guard.limit > MOST_LISTED:
            raise UnexpectedResponseError(f"The list of what there is has no end: more than {MOST_LISTED} pages.")
        _check_listed(held, page)
        with self.unit_of_work() as uow:
            connection, account = self._own(uow, held, work, now)
            if page.connection_metadata:
                connection = _with_metadata(uow, connection, page.connection_metadata, now)
            signals = self._record(uow, held, connection, work, list(page.signals), now)
            keys = [DISCOVERY, *(one.key for one in page.streams)]
            states = self._lock_and_flush(uow, held, keys, now)
            owner = states[DISCOVERY]
            changed = _found(held, account, owner, page.streams, states, work, now)
            owner = attrs.evolve(owner, served_at=now, updated_at=now, listed_at=now)
            if run is not None:
                owner = owner.with_reading(SyncMode.INCREMENTAL, attrs.evolve(owner.incremental, run=run, refusals=0))
            else:
                owner = owner.with_reading(SyncMode.INCREMENTAL, Reading())
                owner = attrs.evolve(owner, bookmark=page.bookmark, read_until=work.window.high)
                account = attrs.evolve(account, legacy=None)
            owner = _with_count(
                owner, states, page, is_first=run_of(held.agenda.states[DISCOVERY], work).cursor is None
            )
            uow.streams.save([owner, *changed])
            uow.accounts.save(account)
            self._add_progress(uow, held, SyncMode.INCREMENTAL, Progress(1, 0, len(signals)), now)
        held.session = attrs.evolve(held.session, connection=connection)
        self._remember(held, account, {DISCOVERY: owner, **{one.key: one for one in changed}}, ())
        return signals

    def close_item(self, held: TimeSlice, item: ParkedState, closed_by: ClosedBy) -> None:
        """Close a parked item for which there is no page any more. Raises like `commit`."""
        now = held.now()
        with self.unit_of_work() as uow:
            _, account = self._own(uow, held, None, now)
            present = uow.parked.lock(item.tenant_id, item.connection_id, item.stream_key, item.reference)
            if present is not None and present.closed_at is None:
                uow.parked.save(attrs.evolve(present, closed_at=now, closed_by=closed_by))
        held.agenda.account = account
        held.agenda.parked.pop((item.stream_key, item.reference), None)

    def flush(self, held: TimeSlice) -> None:
        """Store the quiet runs. Raises like `commit`."""
        if not held.quiet:
            return
        now = held.now()
        pages = len(held.quiet)
        with self.unit_of_work() as uow:
            _, account = self._own(uow, held, held.quiet[-1][0], now)
            states = self._lock_and_flush(uow, held, (), now)
            uow.streams.save(list(states.values()))
            self._add_progress(uow, held, SyncMode.INCREMENTAL, Progress(pages, 0, 0), now)
        self._remember(held, account, states, ())

    # --- steps ---------------------------------------------------------------------------------------------------

    def _check(self, held: TimeSlice, state: StreamState, work: Work, page: StreamPage) -> None:
        if work.item is None:
            advanced(state, work, None if page.lost is not None else page.cursor)
        if page.lost is not None and work.window.bookmark is None:
            raise UnexpectedResponseError(page.lost)  # nothing has lapsed: it would be read again at once, for ever
        open_items = {reference for key, reference in held.agenda.parked if key == work.key}
        if page.parked and len(open_items.union(one.reference for one in page.parked)) > MOST_PARKED:
            raise UnexpectedResponseError(f"Too much of it cannot be read: more than {MOST_PARKED} things.")

    def _own(
        self, uow: UnitOfWork, held: TimeSlice, work: Work | None, now: datetime
    ) -> tuple[Connection, AccountState]:
        """The connection and its account, locked and still ours, with what a page says about the provider."""
        known = held.session.connection
        connection = uow.connections.get(known.tenant_id, known.id, lock=True)
        # It may have been disconnected while the page was being read.
        require_readable(held.session.provider, connection)
        account = uow.accounts.find(known.tenant_id, known.id, lock=True)
        if account is None or account.run != held.run:
            raise SliceLostError
        turn = account.last_turn if work is None or work.kind is Kind.DISCOVERY else work.kind
        answered = attrs.evolve(account, heartbeat_at=now, last_turn=turn, updated_at=now)
        held.suspects = []
        if held.was_answered:
            # The provider works, whatever it seemed to be.
            held.suspects = [read_suspect(one) for one in account.suspects]
            answered = attrs.evolve(answered, limits=0, outages=0, suspects=(), paused_until=None, pause_reason=None)
        uow.accounts.save(answered)
        return connection, answered

    def _record(
        self,
        uow: UnitOfWork,
        held: TimeSlice,
        connection: Connection,
        work: Work,
        drafts: Iterable[SignalDraft],
        now: datetime,
    ) -> list[Signal]:
        origin = Origin.BACKFILL if work.mode is SyncMode.BACKFILL else Origin.SYNC
        is_log = held.streams.follows_log and work.kind is not Kind.DISCOVERY
        signals = [
            Signal.from_draft(draft, connection, SignalId(self.entropy.uuid7(now)), received_at=now, origin=origin)
            for draft in drafts
            if work.window.emits(draft.occurred_at, is_log=is_log)
        ]
        new = uow.signals.record_all(signals) if signals else frozenset()
        return [signal for signal in signals if signal.id in new]

    def _lock_and_flush(
        self, uow: UnitOfWork, held: TimeSlice, keys: Sequence[str], now: datetime
    ) -> dict[str, StreamState]:
        """These streams and those with quiet runs, by key, locked; the quiet runs are ended, but not saved yet."""
        known = held.session.connection
        wanted = {*keys, *(work.key for work, _ in held.quiet), *(key for _, key in held.suspects)}
        states = {one.key: one for one in uow.streams.lock(known.tenant_id, known.id, wanted)}
        for mode, key in held.suspects:
            if key in states:
                states[key] = suspected(states[key], mode)
        for work, page in held.quiet:
            states[work.key] = _after(held, states[work.key], work, page, now, has_news=False)
        return states

    def _open_gaps(
        self,
        uow: UnitOfWork,
        held: TimeSlice,
        connection: Connection,
        state: StreamState,
        work: Work,
        page: StreamPage,
    ) -> None:
        """Record what the vendor says that it does not show: changes since a bookmark, or what is older."""
        found = []
        if page.lost is not None:
            since = state.read_until or work.window.low
            found.append((GapCause.HISTORY_LOST, page.lost, since, work.window.high))
        if page.oldest_shown is not None and work.window.low < page.oldest_shown:
            reason = f"{state.stream.name}: the vendor shows nothing older."
            found.append((GapCause.HISTORY_HIDDEN, reason, work.window.low, page.oldest_shown))
        families = sorted(state.stream.families)
        if _is_late_baseline(state, work, page):
            provider = held.session.provider
            logged = {one.name for one in provider.event_families if one.is_read and not one.is_backfilled}
            families = [name for name in families if name in logged]
            reason = f"{state.stream.name} could not be followed before: what only its changes show is not known."
            found = [(GapCause.HISTORY_LOST, reason, state.found_at, work.window.high)]
        for cause, reason, from_at, to_at in found:
            self.ledger.open_gap(
                uow,
                connection,
                families,
                cause,
                reason,
                from_at=from_at,
                to_at=to_at,
                reference=f"{state.key}@{from_at.isoformat()}",
                stream=state.key,
            )

    def _park(
        self, uow: UnitOfWork, state: StreamState, work: Work, page: StreamPage, now: datetime
    ) -> list[ParkedState]:
        """The parked items as they are now stored: those of the page, and the one that was read."""
        items = []
        again = {one.reference for one in page.parked}
        for one in sorted(page.parked, key=lambda item: item.reference):
            known = uow.parked.lock(state.tenant_id, state.connection_id, state.key, one.reference)
            if known is not None and work.item is not None and one.reference == work.item.reference:
                continue  # it was asked for, and still cannot be read: the caller counts that
            item = parked(state, one, work, known, now)
            uow.parked.save(item)
            items.append(item)
        if work.item is not None and work.item.reference not in again:
            present = uow.parked.lock(state.tenant_id, state.connection_id, state.key, work.item.reference)
            if present is not None and present.closed_at is None:
                closed = attrs.evolve(present, closed_at=now, closed_by=ClosedBy.READ)
                uow.parked.save(closed)
                items.append(closed)
        return items

    def _add_progress(
        self, uow: UnitOfWork, held: TimeSlice, mode: SyncMode, progress: Progress, now: datetime
    ) -> None:
        """Count the page for the jobs that it is read for, and see which jobs there are now."""
        known = held.session.connection
        serves = [job.id for job in held.jobs.values() if (job.type is JobType.BACKFILL) is (mode is SyncMode.BACKFILL)]
        if serves:
            uow.jobs.add_progress(known.tenant_id, serves, progress, at=now)
        held.jobs = {job.id: job for job in uow.jobs.list_unfinished(known.tenant_id, known.id)}

    @staticmethod
    def _remember(
        held: TimeSlice, account: AccountState, states: dict[str, StreamState], items: Iterable[ParkedState]
    ) -> None:
        held.quiet.clear()
        held.suspects.clear()
        held.agenda.account = account
        held.agenda.states.update(states)
        for item in items:
            if item.closed_at is None:
                held.agenda.parked[item.stream_key, item.reference] = item
            else:
                held.agenda.parked.pop((item.stream_key, item.reference), None)


def _is_late_baseline(state: StreamState, work: Work, page: StreamPage) -> bool:
    """Whether a stream is read for the first time, and long after it was found: its log shows nothing of the time
    between."""
    is_baseline = work.mode is SyncMode.INCREMENTAL and work.item is None and state.read_until is None
    return is_baseline and page.cursor is None and work.window.high - state.found_at >= LATE


def _after(
    held: TimeSlice, state: StreamState, work: Work, page: StreamPage, now: datetime, *, has_news: bool
) -> StreamState:
    rounds = held.streams.rounds
    is_proof = rounds == 1 or not held.agenda.is_discovery_failing()
    return after_page(state, work, page, now, rounds=rounds, has_news=has_news, is_proof=is_proof)


def _drafts(uow: UnitOfWork, held: TimeSlice, work: Work, page: StreamPage) -> list[SignalDraft]:
    """The page's signals, and what its observations mean, compared with the last known states, which they replace."""
    drafts = list(page.signals)
    interpret = held.streams.interpret
    if interpret is None or not page.observations:
        return drafts
    owner = held.session.connection
    context = held.context()
    known = dict(uow.snapshots.load(owner.tenant_id, owner.id, [one.key for one in page.observations]))
    changed: dict[str, Cursor | None] = {}
    for observation in page.observations:
        meaning = interpret(context, work.window, observation, known.get(observation.key))
        drafts.extend(meaning.signals)
        changed[observation.key] = meaning.snapshot
        if meaning.snapshot is None:
            known.pop(observation.key, None)
        else:
            known[observation.key] = meaning.snapshot
    uow.snapshots.save(owner.tenant_id, owner.id, changed)
    return drafts


def _with_metadata(uow: UnitOfWork, connection: Connection, metadata: Mapping[str, Any], now: datetime) -> Connection:
    merged = {**connection.metadata, **metadata}
    return uow.connections.save(attrs.evolve(connection, metadata=merged, updated_at=now))


def _check_listed(held: TimeSlice, page: DiscoveryPage) -> None:
    """Raise `UnexpectedResponseError` if a stream has no key, or if nobody would read its changes.

    Streams that show the changes of others are not claimed by themselves, so one that leaves its own to another one, or
    to itself, would be read by nobody and claimed by nobody.
    """
    named = {key: one.stream for key, one in held.agenda.states.items()} | {one.key: one for one in page.streams}
    for one in page.streams:
        if one.key == DISCOVERY:
            raise UnexpectedResponseError("A stream was listed without a key.")
        if one.changes_in is None:
            continue
        whole = named.get(one.changes_in)
        is_missing = whole is None and page.cursor is None
        if is_missing or one.changes_in == DISCOVERY or (whole is not None and whole.changes_in is not None):
            raise UnexpectedResponseError(f"The changes of {one.name} are in no stream that is read for them.")


def _found(
    held: TimeSlice,
    account: AccountState,
    owner: StreamState,
    streams: Iterable[Stream],
    states: Mapping[str, StreamState],
    work: Work,
    now: datetime,
) -> list[StreamState]:
    """The rows that change because these streams are listed, and those whose quiet runs are stored with them."""
    changed = {one.key: one for one in states.values() if not one.is_discovery}
    legacy = account.legacy
    bookmarks = {} if legacy is None else _old_bookmarks(held, legacy)
    for number, stream in enumerate(streams):
        known = changed.get(stream.key)
        if known is not None:
            changed[stream.key] = listed(known, stream, work.window.high, now)
            continue
        # In the order in which the package names them.
        new = found(owner, stream, now + timedelta(microseconds=number))
        if new is not None:
            is_divided = held.streams.split_cursor is not None
            changed[stream.key] = new if legacy is None else with_legacy(new, legacy, bookmarks, is_divided=is_divided)
    others = {work.key for work, _ in held.quiet} | {key for _, key in held.suspects}
    return [one for key, one in changed.items() if one is not states.get(key) or key in others]


def _old_bookmarks(held: TimeSlice, legacy: Mapping[str, Any]) -> Mapping[str, Cursor]:
    """The bookmarks in the cursor that an older version left; none if its package cannot read it any more."""
    if held.streams.split_cursor is None:
        return {}
    try:
        return held.streams.split_cursor(legacy["cursor"])
    except Exception:
        log.exception("old_cursor_unreadable", extra={"connection_id": str(held.session.connection.id)})
        return {}


def _with_count(
    owner: StreamState, states: Mapping[str, StreamState], page: DiscoveryPage, *, is_first: bool
) -> StreamState:
    """Discovery with the number of streams that are not kept, because they cannot be read and never could."""
    before = 0 if is_first else owner.stream.data.get("counting", 0)
    count = before + sum(one.unreadable is not None and one.key not in states for one in page.streams)
    data = {"unreadable": count} if page.cursor is None else {**owner.stream.data, "counting": count}
    return attrs.evolve(owner, stream=attrs.evolve(owner.stream, data=data))
