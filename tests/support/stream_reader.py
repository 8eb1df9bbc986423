"""Reads an account by its streams as the engine does, without stores, tasks and time: for the tests of provider packages."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.errors import (
    AccessLostError,
    ProviderUnavailableError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Conversation
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import DISCOVERY, DiscoveryPage, ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import Streams, SyncContext

MOST_PAGES = 2000
"""A run with more pages counts as endless."""

Converse = Callable[[Conversation[Any]], Any]
"""Runs a conversation against a fake vendor and returns or raises what it does."""


def through_json(value: Any) -> Any:
    """The value as it comes back from a database."""
    return json.loads(json.dumps(value))


@attrs.define(kw_only=True)
class ReadStream:
    """What is known of one stream."""

    stream: Stream
    bookmark: Any = None
    read_until: datetime | None = None


@attrs.define(kw_only=True)
class StreamReader:
    """One connection's reader. `pages` and what is derived from them hold all that was read since `forget`."""

    streams: Streams
    context: SyncContext
    converse: Converse
    floor: datetime
    """When the connection was made: nothing earlier is wanted unless a backfill says so."""
    known: dict[str, ReadStream] = attrs.field(factory=dict)
    discovery: ReadStream = attrs.field(factory=lambda: ReadStream(stream=Stream(key=DISCOVERY, name="discovery")))
    snapshots: dict[str, Any] = attrs.field(factory=dict)
    pages: list[StreamPage] = attrs.field(factory=list)
    signals: list[SignalDraft] = attrs.field(factory=list)
    parked: list[tuple[str, ParkedItem]] = attrs.field(factory=list)
    refused: dict[str, str] = attrs.field(factory=dict)
    """Streams that could not be read in the last run over them, and why; they keep their bookmark and `read_until`."""
    lost: list[str] = attrs.field(factory=list)

    def forget(self) -> None:
        """Forget the pages and signals so far, not the streams."""
        self.pages, self.signals, self.parked, self.lost = [], [], [], []

    @property
    def keys(self) -> set[str]:
        """The dedupe keys of all signals."""
        return {draft.dedupe_key for draft in self.signals}

    def read(self, now: datetime) -> None:
        """An incremental read of everything: discovery, then each stream."""
        self.discover(now)
        for key in list(self.known):
            self.read_stream(key, now)

    def backfill(self, since: datetime, now: datetime, until: datetime | None = None) -> None:
        """Read the history of everything from `since`, in as many rounds as the package asks for."""
        self.discover(now)
        self.floor = min(self.floor, since)
        for _ in range(self.streams.rounds):
            for key in list(self.known):
                self.backfill_stream(key, since, now, until)

    def discover(self, now: datetime) -> None:
        """Find the streams. Those that are no longer named are kept."""
        state = self.discovery
        window = Window(
            mode=SyncMode.INCREMENTAL,
            low=state.read_until or self.floor,
            high=now,
            floor=self.floor,
            bookmark=state.bookmark,
        )
        cursor = None
        for _ in range(MOST_PAGES):
            page: DiscoveryPage = self.converse(self.streams.discover(self.context, window, cursor))
            for stream in page.streams:
                if stream.unreadable is None or stream.key in self.known:
                    kept = attrs.evolve(stream, data=through_json(dict(stream.data)))
                    self.known.setdefault(stream.key, ReadStream(stream=kept)).stream = kept
            self.signals.extend(draft for draft in page.signals if window.emits(draft.occurred_at))
            self._merge(page.connection_metadata)
            if page.cursor is None:
                state.bookmark, state.read_until = through_json(page.bookmark), now
                return
            cursor = through_json(page.cursor)
        raise AssertionError("discovery does not end")

    def read_stream(self, key: str, now: datetime) -> None:
        """An incremental run over one stream. After a lost bookmark: a new baseline, and the time since as history."""
        state = self.known[key]
        if state.stream.unreadable is not None or state.stream.changes_in is not None:
            return
        low = state.read_until or self.floor
        window = Window(mode=SyncMode.INCREMENTAL, low=low, high=now, floor=self.floor, bookmark=state.bookmark)
        last = self._run(key, window)
        if last is None:
            return
        if last.lost is not None:
            self.lost.append(last.lost)
            state.bookmark = None
            self.read_stream(key, now)
            self.backfill_stream(key, low, now)
            return
        state.bookmark, state.read_until = through_json(last.bookmark), now

    def backfill_stream(self, key: str, since: datetime, now: datetime, until: datetime | None = None) -> None:
        """A run over one stream's history."""
        state = self.known[key]
        if state.stream.unreadable is not None:
            return
        high = now if until is None else min(until, now)
        window = Window(mode=SyncMode.BACKFILL, low=since, high=high, floor=since, until=until, begun_at=now)
        last = self._run(key, window)
        if last is not None and state.bookmark is None and last.bookmark is not None:
            state.bookmark, state.read_until = through_json(last.bookmark), now

    def read_parked(self, key: str, item: ParkedItem, now: datetime) -> StreamPage | None:
        """The page of one parked thing; None if it is gone."""
        assert self.streams.read_item is not None
        window = Window(mode=SyncMode.INCREMENTAL, low=self.floor, high=now, floor=self.floor)
        stream = self.known[key].stream
        page: StreamPage | None = self.converse(self.streams.read_item(self.context, stream, window, item.reference))
        if page is not None:
            self._take(key, window, page)
        return page

    def _run(self, key: str, window: Window) -> StreamPage | None:
        """The last page; None if the stream was refused."""
        stream, cursor = self.known[key].stream, None
        self.refused.pop(key, None)
        for _ in range(MOST_PAGES):
            try:
                page: StreamPage = self.converse(self.streams.read_page(self.context, stream, window, cursor))
            except (AccessLostError, UnexpectedResponseError, ProviderUnavailableError) as error:
                self.refused[key] = error.message
                return None
            self._take(key, window, page)
            if page.cursor is None or page.lost is not None:
                return page
            following = through_json(page.cursor)
            assert following != cursor, "the pages do not advance"
            cursor = following
        raise AssertionError("the run does not end")

    def _take(self, key: str, window: Window, page: StreamPage) -> None:
        self.pages.append(page)
        drafts = list(page.signals)
        for one in page.observations:
            assert self.streams.interpret is not None
            known: Mapping[str, Any] | None = self.snapshots.get(one.key)
            meaning = self.streams.interpret(self.context, window, one, known)
            drafts.extend(meaning.signals)
            if meaning.snapshot is None:
                self.snapshots.pop(one.key, None)
            else:
                self.snapshots[one.key] = through_json(dict(meaning.snapshot))
        self.signals.extend(
            draft for draft in drafts if window.emits(draft.occurred_at, is_log=self.streams.follows_log)
        )
        self.parked.extend((key, one) for one in page.parked)
        self._merge(page.connection_metadata)

    def _merge(self, metadata: Mapping[str, Any]) -> None:
        if metadata:
            connection = self.context.connection
            merged = attrs.evolve(connection, metadata={**connection.metadata, **metadata})
            self.context = attrs.evolve(self.context, connection=merged)
