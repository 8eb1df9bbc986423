"""Reading Gmail: the mailbox is one stream, because it has one history.

    baseline       only the mailbox's present history id is taken
    incremental    history from the stored id; 404 means that the id has lapsed
    backfill       the message list, newest first (`listing.py`)

A page of ids is followed by one `messages.get` for each, because labels in history are not reliable. A message that is
gone by then is left out, one that cannot be read is parked.

Source: developers.google.com/workspace/gmail/api/guides/sync.
"""

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.streams import DiscoveryPage, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, Observation, SyncMode
from connectors.domain.providers._google.ids import NAMELESS, read_id, reference_to
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.gmail.calls import get_envelope, get_history_id, get_message, with_pairs
from connectors.domain.providers.gmail.limits import PAGE_SIZE
from connectors.domain.providers.gmail.listing import read_listed
from connectors.domain.providers.gmail.oauth import mailbox_of, mailbox_url
from connectors.domain.providers.gmail.old_cursor import MAILBOX, bookmark_at, split_cursor
from connectors.domain.providers.gmail.payloads import (
    HIDDEN_LABELS,
    MessageHistory,
    labels_at_arrival,
    read_history,
    read_message,
)
from connectors.domain.providers.gmail.signals import (
    FAMILIES,
    arrival_kind,
    interpret,
    label_kind,
    observe_message,
    wants_label_events,
)
from connectors.domain.providers.toolbox.foreign import read_count, read_object, read_text
from connectors.domain.providers.toolbox.parking import ItemGuard
from connectors.domain.providers.toolbox.structure import read_rows

HISTORY_SIZE = 100
"""Records per answer. They are cheap, and what they say of one message belongs together; the messages that they name
are read `PAGE_SIZE` to a page."""
HISTORY_TYPES = ("messageAdded", "labelAdded", "labelRemoved", "messageDeleted")
HIDDEN = "hidden:"
"""Prefix of the reference of a parked message that nothing has shown outside the spam and the trash."""

GAP = (
    "Gmail no longer has the history since the last read. Messages are listed again; what was deleted or labeled "
    "meanwhile cannot be recovered."
)


def discover(ctx: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:  # noqa: ARG001
    """The mailbox, without a request."""
    yield from ()
    families = frozenset(family.name for family in FAMILIES)
    return DiscoveryPage(streams=(Stream(key=MAILBOX, name=mailbox_of(ctx.connection), families=families),))


def read_page(ctx: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:  # noqa: ARG001
    """One page: of the message list for history, else of Gmail's own history."""
    if window.mode is SyncMode.BACKFILL:
        page = yield from read_listed(ctx, window, cursor)
    elif window.bookmark is None:
        page = _end((yield from get_history_id(ctx)))
    else:
        page = yield from _read_history(ctx, window, read_object(cursor))
    return page


def _end(history_id: int, **found: Any) -> StreamPage:
    """The last page. The connection gets the history id with it: a push of that id, or an older one, needs no read."""
    bookmark = bookmark_at(history_id)
    return StreamPage(cursor=None, bookmark=bookmark, connection_metadata=bookmark, **found)


def _read_history(ctx: SyncContext, window: Window, cursor: Cursor) -> Conversation[StreamPage]:
    begin = read_count(read_object(window.bookmark).get("history_id")) or 0
    page = read_text(cursor.get("page"))
    url = with_pairs(
        mailbox_url(ctx.app) + "/history",
        [
            # Pages of one list all keep the id that it began with.
            ("startHistoryId", str(begin)),
            *(("historyTypes", each) for each in HISTORY_TYPES),
            ("maxResults", str(HISTORY_SIZE)),
            ("pageToken", page),
        ],
    )
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    if response.status == HTTPStatus.NOT_FOUND:
        # No push counts as read until there is a new baseline.
        return StreamPage(cursor=None, lost=GAP, connection_metadata={"history_id": None})
    answer = response.json_object()
    # The bookmark will be the id of the run's first answer, which lists all records up to it. Later answers may name
    # the id of a record that they no longer list. It never goes back.
    latest = read_count(answer.get("historyId"))
    if latest is None:
        raise UnexpectedResponseError("Gmail's history does not say where it ends.")
    end = read_count(cursor.get("history_id")) or max(begin, latest)
    # An answer may name more messages than a page reads. Records are only ever added: what was counted stays where it
    # is, however late the rest is read, and what is added meanwhile is the next run's.
    records = [read_object(one) for one in read_rows({"history": [], **answer}, "history", "Gmail")]
    done, size = read_count(cursor.get("done")) or 0, read_count(cursor.get("size")) or len(records)
    histories = list(read_history(records[:size]).values())
    chunk = histories[done : done + PAGE_SIZE]
    guard = ItemGuard()
    observations = yield from _observe_history(ctx, guard, chunk)
    found: dict[str, Any] = {"observations": observations, "parked": tuple(guard.parked), "items": len(chunk)}
    position = {"history_id": str(end), "page": page}
    if done + PAGE_SIZE < len(histories):
        return StreamPage(cursor={**position, "size": size, "done": done + PAGE_SIZE}, **found)
    following = read_text(answer.get("nextPageToken"))
    if following is not None:
        return StreamPage(cursor={**position, "page": following}, **found)
    return _end(end, **found)


def _observe_history(
    ctx: SyncContext, guard: ItemGuard, histories: Sequence[MessageHistory]
) -> Conversation[tuple[Observation, ...]]:
    wants_all = wants_label_events(ctx.app)
    observations = []
    for history in histories:
        events = tuple(
            event.to_state()
            for event in history.label_events
            if any(label_kind(label, was_added=event.was_added, wants_all=wants_all) for label in event.labels)
        )
        if not (history.was_added or history.was_uncovered or events or history.deletion):
            continue
        envelope = None
        if history.was_added or history.was_uncovered or events:
            envelope = yield from get_envelope(ctx, guard, history.id, _reference(history))
        arrival = None
        if envelope is not None:
            labels = envelope[0].labels
            if history.was_added:
                arrival = labels_at_arrival(labels, history)
                if _was_shown(history):
                    arrival -= HIDDEN_LABELS
            was_reported = arrival is not None and arrival_kind(arrival) is not None
            if history.was_uncovered and not was_reported:
                arrival = labels  # a repeated arrival has the key of the first
        observations.append(
            observe_message(
                history.id,
                document=None if envelope is None else envelope[1],
                arrival_labels=arrival,
                label_events=events,
                deletion=history.deletion,
            )
        )
    return tuple(observations)


def _was_shown(history: MessageHistory) -> bool:
    """Whether the record of its arrival shows it outside the spam and the trash: a later page may say that it went
    there."""
    labels = history.added_labels
    return bool(labels) and HIDDEN_LABELS.isdisjoint(labels_at_arrival(labels, history))


def _reference(history: MessageHistory) -> str:
    """The reference of a message that cannot be read now."""
    return reference_to(history.id if _was_shown(history) or history.was_uncovered else HIDDEN + history.id)


def read_item(
    ctx: SyncContext,
    stream: Stream,  # noqa: ARG001 - the form's signature
    window: Window,  # noqa: ARG001
    reference: str,
) -> Conversation[StreamPage | None]:
    """The arrival of one message that could not be read; None if it is gone. Its changes were reported without it.

    Raises:
        UnexpectedResponseError: it has no usable id, or still cannot be read.
    """
    message_id = reference.removeprefix(HIDDEN)
    if reference == NAMELESS or read_id(message_id) is None:
        raise UnexpectedResponseError("Gmail listed a message without a usable id, so it cannot be asked for.")
    document = yield from get_message(ctx, message_id)
    if document is None:
        return None
    message = read_message(document)
    if isinstance(message, str) or message.id != message_id:
        raise UnexpectedResponseError("Gmail's answer is no message, or another one.")
    labels = message.labels if reference.startswith(HIDDEN) else message.labels - HIDDEN_LABELS
    observation = observe_message(message_id, document=document, arrival_labels=labels)
    return StreamPage(cursor=None, observations=(observation,), items=1)


STREAMS = Streams(
    discover=discover,
    read_page=read_page,
    read_item=read_item,
    interpret=interpret,
    split_cursor=split_cursor,
    follows_log=True,
    poll_interval=timedelta(minutes=10),
)
