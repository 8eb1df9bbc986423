"""Reading Gmail: history from a stored id, and the message list for what was before.

    backfill       messages in the window, newest first → history from before the listing
    first read     only the mailbox's present history id is taken
    incremental    history; 404 (the id has lapsed) → messages since the last one seen, less a day → history

The history id is taken before anything is listed. A page of ids is followed by one `messages.get` for each, because
labels in history are not reliable; a message that is gone by then is skipped.

Source: developers.google.com/workspace/gmail/api/guides/sync.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.instant import read_instant
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.gmail.calls import get_history_id, get_message, later, with_pairs
from connectors.domain.providers.gmail.limits import PAGE_SIZE
from connectors.domain.providers.gmail.listing import OVERLAP, begin_listing, is_bad_page, read_listed
from connectors.domain.providers.gmail.oauth import mailbox_url
from connectors.domain.providers.gmail.payloads import (
    Message,
    MessageHistory,
    labels_at_arrival,
    read_history,
    read_message,
)
from connectors.domain.providers.gmail.signals import (
    arrival_kind,
    interpret,
    label_kind,
    observe_message,
    wants_label_events,
)
from connectors.domain.providers.toolbox.foreign import read_count, read_objects, read_text

HISTORY_SIZE = 100
"""Records per answer. They are cheap, and what they say of one message belongs together; the messages that they name
are read `PAGE_SIZE` to a page."""
POSITION = frozenset({"begin_at", "end_at", "done"})
"""The cursor's position within one answer: its records, and how many of their messages are read."""
HISTORY_TYPES = ("messageAdded", "labelAdded", "labelRemoved", "messageDeleted")
LABEL_RUN = ("INBOX", "SENT")
"""Without the right to search, what is listed label by label."""

GAP = (
    "Gmail no longer has the history since the last read. Messages are listed again; what was deleted or labeled "
    "meanwhile cannot be recovered."
)


def start(ctx: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The history id first; then what is to be listed before it is followed."""
    last = plan.last_cursor or {}
    stored = read_count(last.get("history_id"))
    known = (yield from get_history_id(ctx)) if stored is None else stored
    cursor: dict[str, Any] = {"history_id": str(known), "seen_at": read_text(last.get("seen_at"))}
    if plan.mode is SyncMode.BACKFILL:
        return {**cursor, "listing": begin_listing(ctx, plan.since, plan.until).to_state()}
    # Without a stored id there is nothing to follow yet: what comes after this id is the next sync run's.
    return cursor if stored is None else {**cursor, "follow": True}


def read_page(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page: of the listing if there is one, then of history."""
    if isinstance(cursor.get("listing"), dict):
        page = yield from read_listed(ctx, cursor)
    elif cursor.get("follow") is True:
        page = yield from _read_history(ctx, plan, cursor)
    else:
        page = _at_rest(cursor, read_count(cursor.get("history_id")) or 0)
    return page


def _at_rest(cursor: Cursor, history_id: int, **found: Any) -> SyncPage:
    """The last page. The history id goes to the connection too: a push that is older needs no read."""
    rest = {"history_id": str(history_id), "seen_at": cursor.get("seen_at")}
    return SyncPage(cursor=rest, done=True, connection_metadata={"history_id": str(history_id)}, **found)


# --- history -------------------------------------------------------------------------------------------------------


def _read_history(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    begin = read_count(cursor.get("history_id"))
    page = read_text(cursor.get("page"))
    url = with_pairs(
        mailbox_url(ctx.app) + "/history",
        [
            # Pages of one list all keep the id that it began with.
            ("startHistoryId", str(begin or 0)),
            *(("historyTypes", each) for each in HISTORY_TYPES),
            ("maxResults", str(HISTORY_SIZE)),
            ("pageToken", page),
        ],
    )
    try:
        response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    except UnexpectedResponseError as error:
        if page is None or cursor.get("restarted") is True or not is_bad_page(error):
            raise
        # The page token has lapsed: read from the same id again, once. The keys are the same.
        again = {name: value for name, value in cursor.items() if name not in {"page", *POSITION}}
        return SyncPage(cursor={**again, "restarted": True})
    if response.status == HTTPStatus.NOT_FOUND:
        if cursor.get("resynced") is True:
            raise UnexpectedResponseError("Gmail does not know the history id that it has just given.")
        return (yield from _resync(ctx, plan, cursor))
    answer = response.json_object()
    records = read_objects(answer.get("history"))
    # An answer may name more messages than a page reads. Records are only ever added: what was counted stays where it
    # is, however late the rest is read.
    begin_at, done = read_count(cursor.get("begin_at")) or 0, read_count(cursor.get("done")) or 0
    end_at = read_count(cursor.get("end_at")) or len(records)
    histories = list(read_history(records[begin_at:end_at]).values())
    chunk = histories[done : done + PAGE_SIZE]
    observations, skipped, seen_at = yield from _observe_history(ctx, chunk)
    found: dict[str, Any] = {"observations": observations, "skipped": skipped, "items": len(chunk)}
    moved = {name: value for name, value in cursor.items() if name not in POSITION}
    moved["seen_at"] = later(cursor, seen_at)
    if done + PAGE_SIZE < len(histories):
        rest = {"begin_at": begin_at, "end_at": end_at, "done": done + PAGE_SIZE}
        return SyncPage(cursor={**moved, **rest}, **found)
    if end_at < len(records):
        return SyncPage(cursor={**moved, "begin_at": end_at}, **found)
    following = read_text(answer.get("nextPageToken"))
    if following is not None:
        if following == page:
            raise UnexpectedResponseError("Gmail's history does not go on.")
        return SyncPage(cursor={**moved, "page": following}, **found)
    # The cursor never goes back: an answer without an id, or with an older one, leaves it unchanged.
    return _at_rest(moved, max(begin or 0, read_count(answer.get("historyId")) or 0), **found)


def _resync(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """The stored id has lapsed, which says nothing about the connection: list what came since, then go on."""
    history_id = yield from get_history_id(ctx)
    seen_at = read_instant(cursor.get("seen_at")) or ctx.connection.last_synced_at or ctx.connection.created_at
    listing = begin_listing(ctx, min(seen_at, plan.started_at) - OVERLAP, None)
    rest = {
        "history_id": str(history_id),
        "seen_at": cursor.get("seen_at"),
        "listing": listing.to_state(),
        "resynced": True,
    }
    return SyncPage(cursor=rest, gap=GAP)


def _observe_history(
    ctx: SyncContext, histories: Sequence[MessageHistory]
) -> Conversation[tuple[tuple[Observation, ...], tuple[SkippedItem, ...], datetime | None]]:
    wants_all = wants_label_events(ctx.app)
    observations = []
    skipped = []
    seen_at: datetime | None = None
    for history in histories:
        events = tuple(
            event.to_state()
            for event in history.label_events
            if any(label_kind(label, was_added=event.was_added, wants_all=wants_all) for label in event.labels)
        )
        if not (history.was_added or history.was_uncovered or events or history.deletion):
            continue
        document = None
        if history.was_added or history.was_uncovered or events:
            document = yield from get_message(ctx, history.id)
        message = None if document is None else read_message(document)
        if isinstance(message, str):
            skipped.append(SkippedItem(reference=history.id, reason=message))
            document = None
        arrival = None
        if isinstance(message, Message) and history.was_added:
            arrival = labels_at_arrival(message, history)
            seen_at = max(seen_at or message.received_at, message.received_at)
        was_reported = arrival is not None and arrival_kind(arrival) is not None
        if isinstance(message, Message) and history.was_uncovered and not was_reported:
            arrival = message.labels  # a repeated arrival has the key of the first
        observations.append(
            observe_message(
                history.id,
                document=document,
                arrival_labels=arrival,
                label_events=events,
                deletion=history.deletion,
            )
        )
    return tuple(observations), tuple(skipped), seen_at


SYNC = Sync(start=start, read_page=read_page, interpret=interpret, poll_interval=timedelta(minutes=10))
