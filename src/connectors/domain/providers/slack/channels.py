"""Reading a channel: its history newest first and, after each page, the threads whose parents are on it.

Both are paged by time, not by Slack's cursors: a `ts` never changes and never expires. Replies are not in the history.
They are read for every parent in the window, and for older parents within the look-back.
Source: docs.slack.dev, `conversations.history`, `conversations.replies`, `conversations.join`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.errors import (
    AccessLostError,
    InsufficientScopeError,
    RateLimitedError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Conversation, form_request
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.slack.directory import CHANNEL, ask, next_page
from connectors.domain.providers.slack.endpoints import method_url
from connectors.domain.providers.slack.limits import StaleCursorError, ThreadGoneError, read_answer
from connectors.domain.providers.slack.messages import signals_of_item
from connectors.domain.providers.slack.options import PAGE_SIZE
from connectors.domain.providers.slack.payloads import Message, instant_ts, read_ts, ts_instant
from connectors.domain.providers.slack.position import Position, Span, Thread, just_after, just_before, span_of
from connectors.domain.providers.slack.workspace import workspace_of
from connectors.domain.providers.toolbox.foreign import read_object
from connectors.domain.providers.toolbox.parking import ItemGuard
from connectors.domain.providers.toolbox.structure import read_rows

MOST_CALLS = 10
"""Calls for threads on one page."""
RANGE = ".."
"""Between two `ts` in the reference of a message that cannot be read: it has none of its own."""


@attrs.frozen(kw_only=True)
class Items:
    """The items of one answer."""

    found: tuple[Message, ...]
    signals: tuple[SignalDraft, ...]
    unreadable: Mapping[int, str]
    """What is wrong with those that give no signals and should, by their index."""

    @property
    def seen(self) -> list[str]:
        """Their times, in the order of the answer."""
        return [message.ts for message in self.found if message.ts is not None]


@attrs.frozen
class ChannelReader:
    """Reads one channel for one window."""

    context: SyncContext
    stream: Stream
    window: Window

    @property
    def channel(self) -> str:
        """The channel's id."""
        return self.stream.key.removeprefix(CHANNEL)

    @property
    def span(self) -> Span:
        """The times to ask for."""
        return span_of(self.context, self.window)

    def read_page(self, position: Position) -> Conversation[StreamPage]:
        """The page at the position."""
        if position.threads:
            return (yield from self._read_threads(position))
        if position == Position() and self.stream.data.get("joins") is True:
            yield from self._join()
        return (yield from self._read_history(position))

    def read_item(self, reference: str) -> Conversation[StreamPage | None]:
        """What was parked: a thread, the rest of one, or the messages between two others. None: it is gone."""
        _, _, item = reference.partition("/")
        below, is_range, above = item.partition(RANGE)
        if is_range:
            return (yield from self._read_range(reference, below, above))
        parent, _, highest = item.partition("/")
        try:
            return (yield from self._read_thread(reference, parent, read_ts(highest)))
        except ThreadGoneError:
            return None

    # --- the history -------------------------------------------------------------------------------------------------

    def _read_history(self, position: Position) -> Conversation[StreamPage]:
        span = self.span
        oldest, latest = just_before(span.oldest), position.lowest or span.latest
        try:
            answer = yield from self._ask("conversations.history", oldest=oldest, latest=latest, cursor=position.page)
        except StaleCursorError:
            if position.page is None:
                raise
            return StreamPage(cursor=attrs.evolve(position, page=None).cursor)
        items = self._read_items(read_rows(answer, "messages", "Slack"))
        lowest = span.read_down_to(items.seen, position.lowest)
        page, is_ended = where_next(answer, is_progress=lowest != position.lowest)
        forward = attrs.evolve(
            position,
            page=page,
            lowest=lowest,
            is_ended=is_ended,
            # To an incremental run a free plan says so as well, where nothing of its window is hidden.
            is_limited=answer.get("is_limited") is True and self.window.mode is SyncMode.BACKFILL,
            threads=span.threads(items.found),
        )
        # What stands behind the position is on the next page again, and there with its neighbours.
        seen_again_below = None if page is not None or is_ended else lowest
        parked = self._parked(items, oldest, latest or just_after(instant_ts(span.high)), seen_again_below)
        return self._page(forward, items.signals, len(items.found), parked)

    def _page(
        self, position: Position, signals: Sequence[SignalDraft], items: int, parked: Iterable[ParkedItem]
    ) -> StreamPage:
        shown = None
        if position.cursor is None and position.is_limited:
            shown = self.span.high if position.lowest is None else ts_instant(position.lowest)
        return StreamPage(
            cursor=position.cursor,
            signals=tuple(signals),
            items=items,
            parked=tuple({one.reference: one for one in parked}.values()),
            oldest_shown=None if shown is None or shown <= self.span.low else shown,
        )

    def _parked(self, items: Items, oldest: str, latest: str, seen_again_below: str | None) -> Iterator[ParkedItem]:
        """The items of a page of the history that cannot be read, each by its neighbours."""
        end = max((index for index, one in enumerate(items.found) if one.ts == seen_again_below), default=0)
        for index, reason in items.unreadable.items():
            if seen_again_below is not None and index > end:
                continue
            below = next((one.ts for one in items.found[index + 1 :] if one.ts), oldest)
            above = next((one.ts for one in reversed(items.found[:index]) if one.ts), latest)
            if ts_instant(above) <= ts_instant(below):  # in no order: anywhere
                below, above = oldest, latest
            # What is older has been parked by the run before, or is not wanted.
            if self.span.low <= ts_instant(above):
                between = (ts_instant(below), ts_instant(above))
                yield ParkedItem(reference=f"{self.channel}/{below}{RANGE}{above}", reason=reason, between=between)

    def _read_range(self, reference: str, below: str, above: str) -> Conversation[StreamPage]:
        """A page of the messages between two others. What follows is parked in its place."""
        answer = yield from self._ask("conversations.history", oldest=below, latest=above)
        items = self._read_items(read_rows(answer, "messages", "Slack"))
        if where_next(answer, is_progress=True)[1]:
            return self._item_page(reference, items)
        times = [ts for ts in items.seen if ts_instant(below) < ts_instant(ts) < ts_instant(above)]
        if not times:
            raise UnexpectedResponseError("Slack shows a page of history and no messages.")
        lowest = min(times, key=ts_instant)
        following, between = f"{self.channel}/{below}{RANGE}{lowest}", (ts_instant(below), ts_instant(lowest))
        rest = ParkedItem(reference=following, reason="The history goes on.", between=between)
        return self._item_page(reference, items, rest)

    def _join(self) -> Conversation[None]:
        """Let the bot into a public channel. "Already in" is `ok` with a warning.

        Raises:
            AccessLostError: Slack does not let it.
        """
        request = form_request("POST", method_url(self.context.app, "conversations.join"), {"channel": self.channel})
        try:
            response = yield request
            read_answer(response)
        except (InsufficientScopeError, UnexpectedResponseError) as error:
            raise AccessLostError(f"could not join: {error.message}") from error

    # --- threads -----------------------------------------------------------------------------------------------------

    def _read_threads(self, position: Position) -> Conversation[StreamPage]:
        """Some pages of the first threads. A thread that cannot be read is parked."""
        guard, signals, count = ItemGuard(), list[SignalDraft](), 0
        for call in range(MOST_CALLS):
            if not position.threads or count >= self.context.app.options[PAGE_SIZE]:
                break
            thread = position.threads[0]
            reference, between = f"{self.channel}/{thread.ts}", self._between(thread)
            try:
                replies = yield from guard.read(reference, self._read_replies(position), between)
            except RateLimitedError:
                if call == 0:
                    raise
                break  # what is read stays read: a strict limit allows one call a minute
            if replies is None:
                position = position.after_thread()
                continue
            items, position = replies
            signals += items.signals
            count += len(items.found)
            for reason in [*items.unreadable.values()][:1]:
                guard.park(reference, reason, between)
        return self._page(position, signals, count, guard.parked)

    def _between(self, thread: Thread) -> tuple[datetime, datetime]:
        """The instants between which those replies lie that the window wants."""
        latest = self.window.high if thread.latest is None else ts_instant(thread.latest)
        return min(max(ts_instant(thread.ts), self.window.low), latest), latest

    def _read_replies(self, position: Position) -> Conversation[tuple[Items, Position]]:
        """One page of the first thread, oldest first, and the position after it. Slack repeats the parent on each."""
        span, parent = self.span, position.threads[0].ts
        # From the look-back on, not from the window: an earlier reply may have been edited since.
        oldest = position.highest or just_before(span.oldest)
        try:
            answer = yield from self._ask(
                "conversations.replies", ts=parent, oldest=oldest, latest=span.latest, cursor=position.thread_page
            )
        except StaleCursorError:
            if position.thread_page is None:
                raise
            return self._read_items([]), attrs.evolve(position, thread_page=None)
        listed = read_rows(answer, "messages", "Slack")
        items = self._read_items([item for item in listed if read_object(item).get("ts") != parent])
        highest = span.read_up_to(items.seen, position.highest)
        page, is_ended = where_next(answer, is_progress=highest != position.highest)
        if is_ended:
            return items, position.after_thread()
        return items, attrs.evolve(position, thread_page=page, highest=highest)

    def _read_thread(self, reference: str, parent: str, highest: str | None) -> Conversation[StreamPage]:
        """A page of one thread. What follows is parked in its place."""
        position = Position(is_ended=True, threads=(Thread(ts=parent),), highest=highest)
        for _ in range(MOST_CALLS):
            items, position = yield from self._read_replies(position)
            if not position.threads:
                return self._item_page(reference, items)
            if position.highest is not None and position.highest != highest:
                between = self._between(Thread(ts=position.highest))
                following = f"{self.channel}/{parent}/{position.highest}"
                rest = ParkedItem(reference=following, reason="The thread goes on.", between=between)
                return self._item_page(reference, items, rest)
        raise UnexpectedResponseError("Slack shows pages of a thread and no replies.")

    # --- both --------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, **params: str | None) -> Conversation[dict[str, Any]]:
        limit = str(self.context.app.options[PAGE_SIZE])
        return (yield from ask(self.context, method, channel=self.channel, limit=limit, **params))

    def _read_items(self, listed: Sequence[Any]) -> Items:
        workspace, name = workspace_of(self.context.connection), self.stream.data.get("name")
        if isinstance(name, str):
            workspace = attrs.evolve(workspace, channels={**workspace.channels, self.channel: name})
        signals, unreadable, low = list[SignalDraft](), dict[int, str](), self.span.low
        for index, item in enumerate(listed):
            document = {"type": "message", **read_object(item), "channel": self.channel}
            try:
                # What is older was emitted when it was new: look-backs are read again and again.
                signals += (draft for draft in signals_of_item(document, workspace) if draft.occurred_at >= low)
            except ValueError as error:
                unreadable[index] = f"A message has {error}."
        found = tuple(Message.read(read_object(item), self.channel) for item in listed)
        return Items(found=found, signals=tuple(signals), unreadable=unreadable)

    def _item_page(self, reference: str, items: Items, *rest: ParkedItem) -> StreamPage:
        """What was read of a parked thing; it stays parked if something of it still cannot be."""
        still = (ParkedItem(reference=reference, reason=reason) for reason in items.unreadable.values())
        return self._page(Position(is_ended=True), items.signals, len(items.found), (*still, *rest))


def where_next(answer: Mapping[str, Any], *, is_progress: bool) -> tuple[str | None, bool]:
    """Slack's cursor, if the page's times do not lead on, and whether the list has ended.

    Raises:
        UnexpectedResponseError: Slack says that there is more, and nothing leads there.
    """
    page = next_page(answer)
    if page is None and answer.get("has_more") is True and not is_progress:
        raise UnexpectedResponseError("Slack says that there are more messages, and not where.")
    is_ended = page is None and answer.get("has_more") is not True
    return (None if is_progress else page), is_ended
