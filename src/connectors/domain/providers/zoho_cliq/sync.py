"""Reading chats: the joined channels, which of them have changed, then the messages of each, window by window.

The messages API has neither paging token nor documented order: it takes a window of time and gives up to 100 messages.
A full page therefore leaves two windows open, above its newest and below its oldest message, both ends shared with it.
From whichever end Cliq fills its pages, only the first page of a chat leaves a window that turns out to be empty: the
next ones begin at a message that is known.

Each chat has a mark of its own: the upper end of the last window that was read to its end. A chat that is idle, or that
moves in the list while the list is read, loses nothing: it is read from its own mark when it next shows up. A list of
channels that takes several pages is read again until a pass shows no new one.

Edits keep id and time of a message and deletions leave nothing behind: only webhooks tell of them.
Source: zoho.com/cliq/help/restapi/v2: channels, chats, messages.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import attrs

from connectors.domain.model.errors import AccessLostError, InsufficientScopeError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers._zoho.limits import read_answer
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.toolbox.foreign import (
    LATEST_MILLIS,
    instant_millis,
    read_list,
    read_millis,
    read_name,
    read_object,
    read_objects,
    read_text,
)
from connectors.domain.providers.zoho_cliq.oauth import NAME, cliq_url
from connectors.domain.providers.zoho_cliq.payloads import read_row
from connectors.domain.providers.zoho_cliq.signals import is_own_bot, posted_row
from connectors.domain.providers.zoho_cliq.sync_run import Stop, SyncRun, Window, read_sync_run
from connectors.domain.providers.zoho_cliq.webhooks import CHATS

LIMIT = 100
"""Items of a page: the most that Cliq gives, for it counts calls (15 reads of messages a minute, then a lock)."""
OVERLAP = timedelta(minutes=5)
"""How far before its mark a chat is read: the mark is of our clock, the messages of Zoho's."""
DEFAULT_HISTORY = timedelta(days=30)
"""The default range of a backfill."""
TARGET_HISTORY = timedelta(hours=1)
"""How far back a chat is read when a webhook names it for the first time."""
PASSES = 10
"""Passes over the list of channels; if it still grows, that is an error."""
CHATS_KEPT = 2000
"""Chats whose names a connection remembers."""
POLL_INTERVAL = timedelta(minutes=15)
DIRECT_OPTION = "direct_messages"

OVERFULL = "More than 100 messages of one chat are of the same millisecond; Cliq shows 100 of them."
LAWLESS = "Cliq answered with a full page of times outside the window that was asked for."
RESTLESS = "More than 100 chats changed while they were listed; one that was left out is read when it next changes."


def start(context: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The first cursor. Needs no call."""
    yield from ()
    return first_step(context, plan).to_cursor()


def first_step(context: SyncContext, plan: SyncPlan) -> SyncRun:
    """The sync run before its first page; already finished for a baseline, which reads nothing."""
    last = read_sync_run(plan.last_cursor)
    upper = plan.started_at if plan.until is None else min(plan.until, plan.started_at)
    ceiling = instant_millis(upper)
    if plan.mode is SyncMode.BACKFILL:
        floor = max(instant_millis(plan.since or plan.started_at - DEFAULT_HISTORY), 0)
        sync_run = SyncRun(
            floor=floor, listed_from=floor, ceiling=ceiling, phase="channels" if floor <= ceiling else "rest"
        )
    elif last is not None:
        listed_from = max(last.ceiling - OVERLAP // timedelta(milliseconds=1), 0)
        sync_run = SyncRun(
            floor=last.floor, listed_from=listed_from, ceiling=ceiling, marks=last.marks, behind=last.behind
        )
    elif plan.target is not None:
        floor = instant_millis(upper - TARGET_HISTORY)
        sync_run = SyncRun(floor=floor, listed_from=floor, ceiling=ceiling)
    else:
        return SyncRun(floor=ceiling, listed_from=ceiling, ceiling=ceiling, phase="rest")
    if plan.target is None or sync_run.phase == "rest":
        return sync_run
    name = read_name(read_object(context.connection.metadata.get(CHATS)).get(plan.target))
    return attrs.evolve(sync_run, phase="messages", queue=(Stop(plan.target, name or plan.target),))


def read_page(context: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """The page at the cursor. An unknown cursor (of an older version) starts the sync run again."""
    sync_run = read_sync_run(cursor) or first_step(context, plan)
    if sync_run.phase == "channels":
        return (yield from read_channels(context, sync_run))
    if sync_run.phase == "chats":
        return (yield from read_chats(context, plan, sync_run))
    if sync_run.phase == "messages" and sync_run.queue:
        return (yield from read_messages(context, sync_run))
    return page_at(attrs.evolve(sync_run, phase="rest"))


def page_at(sync_run: SyncRun, **found: Any) -> SyncPage:
    """A page after which the sync run is at this position."""
    at_rest = sync_run.phase == "rest" or (sync_run.phase == "messages" and not sync_run.queue)
    if at_rest:
        sync_run = attrs.evolve(sync_run, phase="rest", page=None, queue=(), windows=())
    return SyncPage(cursor=sync_run.to_cursor(), done=at_rest, **found)


# --- which chats -----------------------------------------------------------------------------------------------------


def read_channels(context: SyncContext, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One page of the channels that the user has joined."""
    params = {"joined": "true", "status": "created", "limit": str(LIMIT), "next_token": sync_run.page}
    response = yield call(context, "/channels", params)
    answer = read_object(read_answer(NAME, response))
    entries = read_objects(answer.get("channels"))
    queue = {stop.id: stop for stop in sync_run.queue}
    skipped = []
    for entry in entries:
        chat_id = read_id(entry.get("chat_id"))
        if chat_id is None:
            skipped.append(SkippedItem(reference="channels", reason="a channel without a chat"))
            continue
        name = read_name(entry.get("name")) or read_name(entry.get("unique_name")) or chat_id
        queue[chat_id] = Stop(chat_id, name.removeprefix("#") or chat_id)
    page = read_text(answer.get("next_token")) if answer.get("has_more") is True else None
    if page is not None and page == sync_run.page:
        raise UnexpectedResponseError("Cliq's list of channels does not go on.")
    has_grown = sync_run.has_grown or len(queue) > len(sync_run.queue)
    ahead = attrs.evolve(sync_run, page=page, queue=tuple(queue.values()), has_grown=has_grown)
    if page is None:
        # A list of one page cannot shift; in a longer one a channel may have moved from one page to the one before.
        is_again = sync_run.passes + 1 < PASSES and has_grown and (sync_run.passes > 0 or sync_run.page is not None)
        phase = "channels" if is_again else "chats"
        ahead = attrs.evolve(ahead, phase=phase, passes=sync_run.passes + 1, has_grown=False)
    return page_at(ahead, items=len(entries), skipped=tuple(skipped))


def read_chats(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> Conversation[SyncPage]:
    """Leave out the channels without changes since the last sync run. If those are unknown, all are read."""
    window = sync_run.windows[0] if sync_run.windows else Window(sync_run.listed_from, LATEST_MILLIS)
    params = {
        "limit": str(LIMIT),
        # Cliq does not document whether the bounds are included.
        "modified_after": str(max(window.low - 1, 0)),
        "modified_before": None if window.high == LATEST_MILLIS else str(window.high + 1),
    }
    skipped: tuple[SkippedItem, ...] = ()
    listed: Any = None
    try:
        response = yield call(context, "/chats", params)
        listed = read_object(read_answer(NAME, response)).get("chats")
    except (InsufficientScopeError, AccessLostError) as error:
        skipped = (SkippedItem(reference="chats", reason=error.message),)
    entries = read_objects(listed)
    known = {stop.id: stop for stop in sync_run.queue}
    active: dict[str, tuple[int, Stop]] = {}
    for entry in entries:
        chat_id = read_id(entry.get("chat_id"))
        if chat_id is None or (chat_id not in known and not wants_direct(context.app)):
            continue
        stop = known.get(chat_id) or Stop(chat_id, read_name(entry.get("name")) or chat_id)
        active[chat_id] = (read_modified(entry.get("last_modified_time")), stop)
    # A full page may have left some out, and Cliq does not document the order of the list.
    is_full = isinstance(listed, list) and len(listed) >= LIMIT
    is_whole = isinstance(listed, list) and not is_full and not sync_run.windows
    # The busiest first: an interrupted sync run has then reported the most.
    queue = [stop for _, stop in sorted(active.values(), key=lambda one: -one[0])]
    queue += [stop for stop in sync_run.queue if stop.id not in active and (not is_whole or stop.id in sync_run.behind)]
    rest, gap = sync_run.windows[1:], None
    if wants_direct(context.app) and isinstance(listed, list):
        # Reading an unchanged channel only costs a call; a direct chat that is not listed is unknown.
        times = [at for at, _ in active.values() if window.low <= at <= window.high]
        rest, gap = open_list(plan, sync_run, window, times, is_full=is_full)
    ahead = attrs.evolve(sync_run, queue=tuple(queue), windows=rest)
    if rest:
        return page_at(ahead, items=len(entries), gap=gap)
    names = {stop.id: stop.name for stop in [*sync_run.queue, *queue]}
    marks = sync_run.marks
    if known and not wants_direct(context.app):
        # Only joined channels are read, and these are all of them: a channel that was left needs no mark.
        marks = {chat_id: at for chat_id, at in marks.items() if chat_id in known}
    return page_at(
        attrs.evolve(ahead, phase="messages", windows=(), marks=marks, behind=()),
        items=len(entries),
        skipped=skipped,
        gap=gap,
        connection_metadata={CHATS: dict(list(names.items())[:CHATS_KEPT])},
    )


def open_list(
    plan: SyncPlan, sync_run: SyncRun, window: Window, times: list[int], *, is_full: bool
) -> tuple[tuple[Window, ...], str | None]:
    """What a page left open of the list of chats, and what may be missing, in words.

    A chat that changes while the list is read in windows moves to the top, so the top is read once more.
    """
    last = sync_run.windows[1:]
    if not sync_run.windows:
        if not is_full:
            return (), None
        last = (Window(instant_millis(plan.started_at - OVERLAP), LATEST_MILLIS),)
    elif not last:
        return (), RESTLESS if is_full else None
    parts, gap = open_windows(window, times, is_full=is_full)
    return (*parts, *last), gap


def wants_direct(app: ProviderApp) -> bool:
    """Whether the operator enabled chats that are no channels."""
    return bool(app.options[DIRECT_OPTION])


def read_modified(value: Any) -> int:
    """Milliseconds of a chat's last change; 0 if it does not say."""
    instant = read_instant(value)
    return (read_millis(value) or 0) if instant is None else instant_millis(instant)


# --- messages --------------------------------------------------------------------------------------------------------


def read_messages(context: SyncContext, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One window of one chat."""
    stop = sync_run.queue[0]
    windows = sync_run.windows or first_windows(sync_run, stop)
    if not windows:
        return page_at(next_chat(sync_run, is_through=False))
    window = windows[0]
    params = {"fromtime": str(window.low), "totime": str(window.high), "limit": str(LIMIT)}
    try:
        response = yield call(context, f"/chats/{quote(stop.id, safe='')}/messages", params)
        entries = read_list(read_object(read_answer(NAME, response)).get("data"))
    except AccessLostError as error:
        # The user has left the chat, or it is gone. Its mark stays where it is, and the next sync run asks again.
        behind = (*sync_run.behind, stop.id)[-CHATS_KEPT:]
        return page_at(
            attrs.evolve(next_chat(sync_run, is_through=False), behind=behind),
            skipped=(SkippedItem(reference=stop.id, reason=error.message),),
        )
    signals, skipped, times = read_rows(context, stop, window, entries)
    is_full = len(entries) >= LIMIT
    rest, gap = open_windows(window, times, is_full=is_full)
    ahead = attrs.evolve(sync_run, windows=(*rest, *windows[1:]))
    if not ahead.windows:
        ahead = next_chat(ahead, is_through=True)
    return page_at(ahead, signals=signals, skipped=skipped, items=len(entries), gap=gap)


def first_windows(sync_run: SyncRun, stop: Stop) -> tuple[Window, ...]:
    """The window to read of a chat: from before its mark to the sync run's upper bound."""
    mark = sync_run.marks.get(stop.id)
    low = sync_run.floor if mark is None else max(mark - OVERLAP // timedelta(milliseconds=1), sync_run.floor)
    return (Window(low, sync_run.ceiling),) if low <= sync_run.ceiling else ()


def read_rows(
    context: SyncContext, stop: Stop, window: Window, entries: list[Any]
) -> tuple[tuple[SignalDraft, ...], tuple[SkippedItem, ...], list[int]]:
    """The messages of the window in a page; rows that cannot be read; the times of all that lie in the window."""
    signals: list[SignalDraft] = []
    skipped: list[SkippedItem] = []
    times: list[int] = []
    for entry in entries:
        document = read_object(entry)
        row = read_row(document)
        if isinstance(row, str):
            skipped.append(SkippedItem(reference=f"{stop.id}/{read_id(document.get('id')) or '?'}", reason=row))
            continue
        if not window.low <= row.time <= window.high:
            continue
        times.append(row.time)
        if row.content.is_message and not is_own_bot(context.app, row.sender):
            signals.append(posted_row(context.connection, stop.id, stop.name, row, document))
    return tuple(signals), tuple(skipped), times


def open_windows(window: Window, times: list[int], *, is_full: bool) -> tuple[tuple[Window, ...], str | None]:
    """What a page left open of its window, and what cannot be had at all, in words.

    The parts share their end with the page, so that a millisecond that the page cut in two is read again; each is
    smaller than the window, so that this comes to an end.
    """
    if not is_full:
        return (), None
    if not times:
        return (), LAWLESS
    lowest, highest = min(times), max(times)
    if lowest == highest:
        around = (Window(highest + 1, window.high), Window(window.low, max(lowest - 1, 0)))
        return tuple(part for part in around if part.low <= part.high), OVERFULL
    above = (Window(highest, window.high),) if highest < window.high else ()
    below = (Window(window.low, lowest),) if lowest > window.low else ()
    return above + below, None


def next_chat(sync_run: SyncRun, *, is_through: bool) -> SyncRun:
    """The sync run at the next chat; the mark of this one moves if it was read to the end."""
    marks = dict(sync_run.marks)
    if is_through:
        chat_id = sync_run.queue[0].id
        marks[chat_id] = max(sync_run.ceiling, marks.get(chat_id, 0))
    return attrs.evolve(sync_run, queue=sync_run.queue[1:], windows=(), marks=marks)


def call(context: SyncContext, path: str, params: Mapping[str, str | None]) -> HttpRequest:
    """A read of the REST API."""
    return HttpRequest(method="GET", url=with_query(cliq_url(context.app, context.connection) + path, params))


SYNC = Sync(start=start, read_page=read_page, poll_interval=POLL_INTERVAL)
