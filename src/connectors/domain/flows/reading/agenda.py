"""What to read next. Pure: it looks at a connection's rows and decides; docs/engine.md explains the rules."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import attrs

from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.spans import FAR, Span, Spans, common, union, without
from connectors.domain.model.stream_state import (
    AccountState,
    HistoryRequest,
    ParkedState,
    Reading,
    StreamState,
    StreamStatus,
)
from connectors.domain.model.streams import DISCOVERY, Window
from connectors.domain.model.sync import JobType, SyncJob, SyncMode
from connectors.domain.providers.contract import Streams

REST = timedelta(seconds=2)
"""How long a stream that somebody asks for again and again is left alone between two reads."""

BLOCKED_REST = timedelta(seconds=150)
"""The same for a stream that could not be read the last time."""

CLOCK_BACK = timedelta(days=1)
"""How far back is read again of a stream that has been read up to an instant that is yet to come: our clock has gone
back, and nobody knows by how much it had been ahead, or since when."""

MOST_PAGES = 10
"""How many pages of one stream are read before another stream of its kind gets a turn."""

LONGEST_TURN = timedelta(seconds=5)
"""How long such a turn lasts at most. Not page by page: some vendors' positions expire."""


LOOKED_AT_EVERY = timedelta(seconds=1)
"""How long it may take until a stream whose pause has ended is seen to be due, while others are being read."""


class Kind(StrEnum):
    """Kinds of work. Each that has something due gets every n-th turn, so that none starves another."""

    DISCOVERY = "discovery"
    """Find the streams. Before all others."""
    REQUESTED = "requested"
    """Read a stream that somebody asked for."""
    INCREMENTAL = "incremental"
    """Read what is new in a stream."""
    PARKED = "parked"
    """Ask again for a single thing that could not be read."""
    BACKFILL = "backfill"
    """Read a stream's history."""


TURNS = (Kind.REQUESTED, Kind.INCREMENTAL, Kind.PARKED, Kind.BACKFILL)


@attrs.frozen(kw_only=True)
class Work:
    """One page to read."""

    kind: Kind
    key: str
    """Of the stream."""
    window: Window
    round_number: int = 1
    """Of a history that is read in several rounds."""
    item: ParkedState | None = None

    @property
    def mode(self) -> SyncMode:
        """In which mode the stream is read."""
        return self.window.mode


@attrs.define(kw_only=True)
class Agenda:
    """What is due of one connection. The caller replaces rows as they change."""

    streams: Streams
    account: AccountState
    states: dict[str, StreamState]
    parked: dict[tuple[str, str], ParkedState] = attrs.field(factory=dict)
    """The open ones, by stream and reference."""
    wanted_by: datetime | None = None
    """Every stream must be read up to here, because a job wants it."""
    discovered_by: datetime | None = None
    """The streams must have been found again since then, because a job wants it."""
    looked_for_at: datetime | None = None
    """Since when a job wants a stream that is not known yet: a later discovery may find it."""
    turns: dict[Kind, "Turn"] = attrs.field(factory=dict)
    _queues: "Queues | None" = None
    _known_wholes: tuple[int, frozenset[str]] | None = None
    _known_histories: dict[str, tuple[StreamState, StreamState | None, tuple[HistoryRequest, ...], Spans]] = (
        attrs.field(factory=dict)
    )
    """What `history` said, with the rows that it follows from: they are replaced, never changed."""

    def next(self, now: datetime) -> Work | None:
        """The next page to read now; None if nothing is due."""
        probe = self._probe(now) if self.account.outages > 0 else None
        if probe is not None:
            return probe
        discovery = self._discovery(now)
        if discovery is not None:
            return discovery
        due = self._waiting(now)
        items = self._due_items(now)
        after = TURNS.index(Kind(self.account.last_turn)) + 1 if self.account.last_turn in TURNS else 0
        for kind in (*TURNS[after:], *TURNS[:after]):
            if kind is Kind.PARKED and items:
                return self._ask_again(items, now)
            if due.queues[kind]:
                return self._read(kind, self._chosen(kind, due, now), now)
        return None

    def is_history_only(self, now: datetime) -> bool:
        """Whether history is due and nothing else. The list that a backfill begins with is part of it."""
        discovery = self.states.get(DISCOVERY)
        is_listing_due = self._discovery(now) is not None
        if is_listing_due and discovery is not None and not self._is_only_for_history(discovery, now):
            return False
        due = self._due(now)
        if self._due_items(now) or any(due[kind] for kind in TURNS if kind is not Kind.BACKFILL):
            return False
        return is_listing_due or bool(due[Kind.BACKFILL])

    def next_at(self, now: datetime) -> datetime | None:
        """When something will be due that is not due now: a pause ends. None if nothing waits."""
        waits = [
            at
            for state in self.states.values()
            if state.is_readable
            for at in self._waits(state, now)
            if at is not None and at > now
        ]
        if self.streams.read_item is not None:
            waits += [item.next_at for item in self.parked.values() if item.next_at > now and self._is_readable(item)]
        return min(waits, default=None)

    def took_turn(self, work: Work, now: datetime) -> None:
        """Count a page of this work as a turn of its stream."""
        turn = self.turns.get(work.kind)
        if turn is None or turn.key != work.key:
            turn = Turn(key=work.key, began_at=now)
        self.turns[work.kind] = attrs.evolve(turn, pages=turn.pages + 1)

    # --- what is due -------------------------------------------------------------------------------------------------

    def _probe(self, now: datetime) -> Work | None:
        """While the provider seems to be down: a stream that has not made it seem so, due or not.

        Often only those that fail are due, and they would prolong the outage for ever.
        """
        suspects = {one.partition(":")[2] for one in self.account.suspects}
        sound = [
            one
            for one in self.states.values()
            if one.status is StreamStatus.READY
            and not one.is_discovery
            and one.key not in suspects
            and one.stream.changes_in is None
            and one.stream.interval is None
        ]
        if not sound:
            return None
        return self._read(Kind.INCREMENTAL, self._present(Kind.INCREMENTAL, sound, now) or min(sound, key=_waited), now)

    def _discovery(self, now: datetime) -> Work | None:
        state = self.states.get(DISCOVERY)
        if state is None or not self._is_discovery_due(state, now):
            return None
        return self._read(Kind.DISCOVERY, state, now)

    def _is_discovery_due(self, state: StreamState, now: datetime) -> bool:
        reading = state.incremental
        if _waits(reading, now) and not self._is_asked(state, now):
            return False
        has_begun = reading.run is not None or reading.failures or reading.refusals
        if has_begun or state.read_until is None or state.read_until > now or self._is_asked(state, now):
            return True
        if self._is_looked_for(state) and now - state.read_until >= REST:
            return True
        rest = self.streams.discovery_interval
        if rest is None:
            return self.discovered_by is not None and state.read_until < self.discovered_by
        return self.wanted_by is not None and now - state.read_until >= rest

    def _is_only_for_history(self, discovery: StreamState, now: datetime) -> bool:
        """Whether a list that is due is wanted by backfills and nobody else."""
        is_known = discovery.read_until is not None and discovery.incremental == Reading()
        return is_known and self.wanted_by is None and self.looked_for_at is None and not self._is_asked(discovery, now)

    def _is_looked_for(self, discovery: StreamState) -> bool:
        at, known_until = self.looked_for_at, discovery.read_until
        return at is not None and known_until is not None and known_until <= at

    def _waiting(self, now: datetime) -> "Queues":
        """The streams that are due, in the order of their turns.

        Looking at all of them before each page would cost the square of their number. So they are looked at again when
        a queue has run out, when something has changed that concerns all of them, and after a while: pauses end.
        """
        concerns_all = (
            *(self.wanted_by, self.discovered_by, self.looked_for_at, self.account.requests),
            *(len(self.states), self.is_discovery_failing()),
        )
        known = self._queues
        age = LOOKED_AT_EVERY if known is None else now - known.made_at
        if known is not None and known.concerns_all == concerns_all and timedelta(0) <= age < LOOKED_AT_EVERY:
            is_first_round_over = self._is_first_round_over()
            for kind, queue in known.queues.items():
                while queue and not self._is_still_due(kind, queue[-1], now, is_first_round_over):
                    queue.pop()
            # Where nothing was due, something may be by now: nobody would look again.
            if known.begun and all(known.queues[kind] for kind in known.begun):
                return known
        queues = {kind: sorted(found, key=_waited, reverse=True) for kind, found in self._due(now).items()}
        begun = frozenset(kind for kind, queue in queues.items() if queue)
        self._queues = Queues(made_at=now, concerns_all=concerns_all, queues=queues, begun=begun)
        return self._queues

    def _is_still_due(self, kind: Kind, state: StreamState, now: datetime, is_first_round_over: bool) -> bool:  # noqa: FBT001 - private
        return self.states.get(state.key) is state and kind in self._kinds_of(state, now, is_first_round_over)

    def _due(self, now: datetime) -> Mapping[Kind, list[StreamState]]:
        due: dict[Kind, list[StreamState]] = {kind: [] for kind in TURNS}
        is_first_round_over = self._is_first_round_over()
        for state in self.states.values():
            for kind in self._kinds_of(state, now, is_first_round_over):
                due[kind].append(state)
        return due

    def _kinds_of(self, state: StreamState, now: datetime, is_first_round_over: bool) -> list[Kind]:  # noqa: FBT001 - private
        """For which kinds of work a stream is due."""
        if state.is_discovery or not state.is_readable:
            return []
        kinds = []
        if state.stream.changes_in is None:
            if self._is_asked(state, now):
                kinds.append(Kind.REQUESTED)
            elif self._is_incremental_due(state, now):
                kinds.append(Kind.INCREMENTAL)
        # What has moved to a stream that is not known yet would not be missed.
        is_unsure = self.streams.rounds > 1 and self.is_discovery_failing()
        if is_unsure or _waits(state.backfill, now):
            return kinds
        if self._history_of(state, is_first_round_over) is not None:
            kinds.append(Kind.BACKFILL)
        return kinds

    def is_discovery_failing(self) -> bool:
        """Whether it is unknown now which streams there are."""
        discovery = self.states.get(DISCOVERY)
        return discovery is not None and discovery.incremental.failures > 0

    def _due_items(self, now: datetime) -> list[ParkedState]:
        if self.streams.read_item is None:
            return []
        return [one for one in self.parked.values() if one.next_at <= now and self._is_readable(one)]

    def _is_asked(self, state: StreamState, now: datetime) -> bool:
        """Whether somebody has asked for a read since the last one. Asking overrides a pause after failures, once."""
        asked_at = state.requested_at
        if asked_at is None or (state.read_until is not None and asked_at <= state.read_until):
            return False
        is_failing = state.incremental.failures > 0
        if is_failing and state.served_at is not None and asked_at <= state.served_at:
            return not _waits(state.incremental, now)
        rest = BLOCKED_REST if is_failing else REST
        has_begun = state.incremental.run is not None and not is_failing
        return has_begun or state.served_at is None or state.served_at + rest <= now

    def _is_incremental_due(self, state: StreamState, now: datetime) -> bool:
        reading = state.incremental
        if _waits(reading, now):
            return False
        if reading.run is not None or state.read_until is None or reading.failures or reading.refusals:
            return True
        if state.read_until > now:
            return True  # the clock has gone back
        if self.wanted_by is None or state.read_until >= self.wanted_by:
            return False
        return state.stream.interval is None or now - state.read_until >= state.stream.interval

    def _is_readable(self, item: ParkedState) -> bool:
        state = self.states.get(item.stream_key)
        return state is not None and state.is_readable

    def _waits(self, state: StreamState, now: datetime) -> Iterator[datetime | None]:
        if state.incremental.failures or state.incremental.refusals:
            yield state.incremental.next_at
        if _waits(state.backfill, now) and self.history(state):
            yield state.backfill.next_at
        asked_at, served_at = state.requested_at, state.served_at
        if asked_at is not None and served_at is not None and (state.read_until is None or asked_at > state.read_until):
            is_failing = state.incremental.failures > 0
            if not is_failing or asked_at > served_at:
                yield served_at + (BLOCKED_REST if is_failing else REST)
        if state.is_discovery and state.read_until is not None and self._is_looked_for(state):
            yield state.read_until + REST

    # --- history -----------------------------------------------------------------------------------------------------

    def history(self, state: StreamState) -> Spans:
        """The stretches of a stream that are wanted, unproven, and the business of history, the latest last."""
        whole = self._whole_of(state)
        until = self.read_until(state)
        if state.is_discovery or until is None or state.key in self._wholes():
            return ()
        known = self._known_histories.get(state.key)
        if known is None or known[0] is not state or known[1] is not whole or known[2] != self.account.requests:
            wanted = common(self.account.requested, [Span(self._floor(), until)])
            left = without(wanted, [*self.proven(state), *state.given_up])
            known = self._known_histories[state.key] = (state, whole, self.account.requests, left)
        return known[3]

    def read_until(self, state: StreamState) -> datetime | None:
        """Up to when what is new in it is read, by itself or by the stream that shows its changes."""
        whole = self._whole_of(state)
        return state.read_until if whole is None else whole.read_until

    def _whole_of(self, state: StreamState) -> StreamState | None:
        """The stream that shows its changes, if another one does."""
        return None if state.stream.changes_in is None else self.states.get(state.stream.changes_in)

    def proven(self, state: StreamState, paths: Sequence[CoveragePath] = tuple(CoveragePath)) -> Spans:
        """What has been read of a stream, where another one shows its changes by that one as well."""
        own = state.proven_by(*paths)
        other = self._whole_of(state)
        if other is None:
            return own
        return union([*own, *common(other.proven_by(*paths), [Span(state.found_at)])])

    def _wholes(self) -> frozenset[str]:
        """Streams that show the changes of others. Those are their parts, and have the history."""
        if self._known_wholes is None or self._known_wholes[0] != len(self.states):
            wholes = frozenset(one.stream.changes_in for one in self.states.values() if one.stream.changes_in)
            self._known_wholes = (len(self.states), wholes)
        return self._known_wholes[1]

    def _is_first_round_over(self) -> bool:
        if self.streams.rounds == 1:
            return False
        return not any(
            state.status is StreamStatus.READY and without(self.history(state), state.read_once)
            for state in self.states.values()
            if not state.is_discovery
        )

    def _history_of(self, state: StreamState, is_first_round_over: bool) -> tuple[Span, int] | None:  # noqa: FBT001 - private
        """The stretch to read next, and in which round."""
        left = self.history(state)
        if not left or self.streams.rounds == 1:
            return (left[-1], 1) if left else None
        first = without(left, state.read_once)
        if first:
            return first[-1], 1
        return (left[-1], 2) if is_first_round_over else None

    # --- turning it into work ----------------------------------------------------------------------------------------

    def _chosen(self, kind: Kind, due: "Queues", now: datetime) -> StreamState:
        """The stream whose turn it is: the present one, or the one that has waited longest."""
        turn = self.turns.get(kind)
        present = None if turn is None else self.states.get(turn.key)
        if present is not None and kind not in self._kinds_of(present, now, self._is_first_round_over()):
            present = None
        return self._present(kind, [] if present is None else [present], now) or due.queues[kind][-1]

    def _present(self, kind: Kind, due: list[StreamState], now: datetime) -> StreamState | None:
        """The stream that has the turn, if it is due and may keep the turn."""
        turn = self.turns.get(kind)
        if turn is None or turn.pages >= MOST_PAGES or now - turn.began_at >= LONGEST_TURN:
            return None
        return next((one for one in due if one.key == turn.key and one.reading(_mode(kind)).run), None)

    def _ask_again(self, items: list[ParkedState], now: datetime) -> Work:
        item = min(items, key=lambda one: (one.next_at, one.stream_key, one.reference))
        floor = self._floor()
        bookmark = self.states[item.stream_key].bookmark
        window = Window(mode=SyncMode.INCREMENTAL, low=floor, high=now, floor=floor, bookmark=bookmark)
        return Work(kind=Kind.PARKED, key=item.stream_key, window=window, item=item)

    def _read(self, kind: Kind, state: StreamState, now: datetime) -> Work:
        mode = _mode(kind)
        run = state.reading(mode).run
        if mode is SyncMode.INCREMENTAL:
            window = run.window if run is not None else self._incremental_window(state, now)
            return Work(kind=kind, key=state.key, window=window)
        found = self._history_of(state, self._is_first_round_over())
        assert found is not None  # noqa: S101 - it is due
        span, round_number = found
        if run is not None and not common([Span(run.window.low, run.window.high)], [span]):
            run = None  # nobody wants it any more
        window = run.window if run is not None else self._history_window(span, now)
        return Work(kind=kind, key=state.key, window=window, round_number=round_number)

    def _incremental_window(self, state: StreamState, now: datetime) -> Window:
        floor = self._floor()
        low = floor if state.read_until is None else max(state.read_until, floor)
        if low > now:
            low = min(max(now - CLOCK_BACK, floor), now)
        return Window(mode=SyncMode.INCREMENTAL, low=low, high=now, floor=floor, bookmark=state.bookmark)

    def _history_window(self, span: Span, now: datetime) -> Window:
        """The stretch, emitting what belongs to the request that it is part of."""
        whole = next((one for one in self.account.requested if common([one], [span])), span)
        until = None if whole.to_at == FAR else whole.to_at
        return Window(
            mode=SyncMode.BACKFILL,
            low=span.from_at,
            high=span.to_at,
            floor=whole.from_at,
            until=until,
            begun_at=now,
        )

    def _floor(self) -> datetime:
        return min(one.since for one in self.account.requests)


@attrs.frozen(kw_only=True)
class Queues:
    """Which streams were due when all were looked at."""

    made_at: datetime
    concerns_all: tuple[object, ...]
    """What the answer depends on besides the streams' own rows."""
    queues: Mapping[Kind, list[StreamState]]
    """Of each kind, that which has waited longest last."""
    begun: frozenset[Kind]
    """The kinds that had something due."""


@attrs.frozen(kw_only=True)
class Turn:
    """How long a stream has been served without another one in between."""

    key: str
    began_at: datetime
    pages: int = 0


def wanted_by(jobs: Iterable[SyncJob], began_at: datetime) -> datetime | None:
    """Up to when these unfinished jobs want everything to be read; None if none of them does.

    Not beyond the beginning of the time slice: a clock may have gone back since a job was requested.
    """
    return _latest([job for job in jobs if job.type is not JobType.BACKFILL and job.target is None], began_at)


def discovered_by(jobs: Iterable[SyncJob], began_at: datetime) -> datetime | None:
    """Since when these unfinished jobs want the streams to be found; as in `wanted_by`."""
    return _latest([job for job in jobs if job.target is None], began_at)


def looked_for_at(jobs: Iterable[SyncJob], known: Container[str], began_at: datetime) -> datetime | None:
    """Since when these unfinished jobs want a stream that is not among the known ones; as in `wanted_by`."""
    return _latest([job for job in jobs if job.target is not None and job.target not in known], began_at)


def is_request_lost(state: StreamState, job: SyncJob) -> bool:
    """Whether an unfinished job asks for this stream and the row does not say so.

    The row may not have been there when the job was requested, and what was read since may bear an earlier time: clocks
    are read a moment before they are compared.
    """
    is_read = state.read_until is not None and state.read_until >= job.scheduled_at
    is_noted = state.requested_at is not None and state.requested_at >= job.scheduled_at
    return not is_read and not is_noted


def _latest(jobs: Iterable[SyncJob], began_at: datetime) -> datetime | None:
    times = [job.scheduled_at for job in jobs]
    return min(max(times), began_at) if times else None


def _mode(kind: Kind) -> SyncMode:
    return SyncMode.BACKFILL if kind is Kind.BACKFILL else SyncMode.INCREMENTAL


def _waited(state: StreamState) -> tuple[datetime, str]:
    """Whose turn it is: the least."""
    return state.served_at or state.found_at, state.key


def _waits(reading: Reading, now: datetime) -> bool:
    return reading.next_at is not None and reading.next_at > now
