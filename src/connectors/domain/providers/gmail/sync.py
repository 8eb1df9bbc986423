"""Reading Gmail: history from a stored id, and the message list for what was before.

    backfill       messages in the window, newest first → history from before the listing
    first read     only the mailbox's present history id is taken
    incremental    history; 404 (the id has lapsed) → messages since the last one seen, less a day → history

The history id is taken before anything is listed. A page of ids is followed by one `messages.get` for each, because
labels in history are not reliable; a message that is gone by then steps aside.

Source: developers.google.com/workspace/gmail/api/guides/sync and …/list-messages.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.instant import epoch_seconds, read_instant, rfc3339
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers._google.reading import read_count, read_id, read_object, read_objects, read_text
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.gmail.oauth import SEARCH_SCOPES, mailbox_url
from connectors.domain.providers.gmail.payloads import (
    HEADERS,
    Message,
    MessageHistory,
    labels_at_arrival,
    read_history,
    read_message,
)
from connectors.domain.providers.gmail.signals import interpret, label_kind, observe_message, wants_label_events

PAGE_SIZE = 100
"""Records or messages per page. Each may cost a `messages.get` of 20 units, and a user has 6,000 units a minute."""
OVERLAP = timedelta(days=1)
"""Dates in queries are the mailbox's own days, and mail is not listed in the order of its arrival to the second."""
ALWAYS_TYPES = ("messageAdded", "labelAdded", "messageDeleted")
OPTIONAL_TYPES = ("labelRemoved",)
LABEL_WALK = ("INBOX", "SENT")
"""Without the right to search, what is listed label by label."""

GAP = (
    "Gmail no longer has the history since the last read. Messages are listed again; what was deleted or labeled "
    "meanwhile cannot be recovered."
)


def with_pairs(url: str, pairs: Sequence[tuple[str, str | None]]) -> str:
    """The URL with a query in which names may repeat."""
    return f"{url}?{urlencode([(name, value) for name, value in pairs if value is not None])}"


def get_history_id(ctx: SyncContext) -> Conversation[int]:
    """Where the mailbox's history stands now."""
    response = yield HttpRequest(method="GET", url=mailbox_url(ctx.app) + "/profile")
    history_id = read_count(response.json_object().get("historyId"))
    if history_id is None:
        raise UnexpectedResponseError("Gmail's profile has no history id.")
    return history_id


def start(ctx: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The history id first; then what is to be listed before it is followed."""
    last = plan.last_cursor or {}
    stored = read_count(last.get("history_id"))
    known = (yield from get_history_id(ctx)) if stored is None else stored
    cursor: dict[str, Any] = {"history_id": str(known), "seen_at": read_text(last.get("seen_at"))}
    if plan.mode is SyncMode.BACKFILL:
        return {**cursor, "listing": _listing(ctx, plan.since, plan.until)}
    # Without a stored id there is nothing to follow yet: what comes after this id is the next walk's.
    return cursor if stored is None else {**cursor, "follow": True}


def _listing(ctx: SyncContext, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    can_search = not SEARCH_SCOPES.isdisjoint(ctx.connection.scopes)
    return {
        "since": since and rfc3339(since),
        "until": until and rfc3339(until),
        "labels": [] if can_search else list(LABEL_WALK),
        "page": None,
    }


def read_page(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page: of the listing if there is one, then of history."""
    if isinstance(cursor.get("listing"), dict):
        page = yield from _read_listing(ctx, cursor)
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
    types = (*ALWAYS_TYPES, *(OPTIONAL_TYPES if wants_label_events(ctx.app) else ()))
    url = with_pairs(
        mailbox_url(ctx.app) + "/history",
        [
            # Pages of one list all keep the id that it began with.
            ("startHistoryId", str(begin or 0)),
            *(("historyTypes", each) for each in types),
            ("maxResults", str(PAGE_SIZE)),
            ("pageToken", page),
        ],
    )
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    if response.status == HTTPStatus.NOT_FOUND:
        if cursor.get("resynced") is True:
            raise UnexpectedResponseError("Gmail does not know the history id that it has just given.")
        return (yield from _resync(ctx, plan, cursor))
    answer = response.json_object()
    records = read_objects(answer.get("history"))
    observations, skipped, seen_at = yield from _observe_history(ctx, read_history(records))
    found: dict[str, Any] = {"observations": observations, "skipped": skipped, "items": len(records)}
    moved = {**cursor, "seen_at": _later(cursor, seen_at)}
    following = read_text(answer.get("nextPageToken"))
    if following is not None:
        if following == page:
            raise UnexpectedResponseError("Gmail's history does not go on.")
        return SyncPage(cursor={**moved, "page": following}, **found)
    # Never backwards: an answer without an id, or with an older one, leaves the cursor where it is.
    return _at_rest(moved, max(begin or 0, read_count(answer.get("historyId")) or 0), **found)


def _resync(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """The stored id has lapsed. That is no fault of the connection: list again what came since, then go on."""
    history_id = yield from get_history_id(ctx)
    seen_at = read_instant(cursor.get("seen_at")) or ctx.connection.last_synced_at or ctx.connection.created_at
    listing = _listing(ctx, min(seen_at, plan.started_at) - OVERLAP, None)
    rest = {
        "history_id": str(history_id),
        "seen_at": cursor.get("seen_at"),
        "listing": listing,
        "resynced": True,
    }
    return SyncPage(cursor=rest, gap=GAP)


def _observe_history(
    ctx: SyncContext, histories: Mapping[str, MessageHistory]
) -> Conversation[tuple[tuple[Observation, ...], tuple[SkippedItem, ...], datetime | None]]:
    wants_all = wants_label_events(ctx.app)
    observations = []
    skipped = []
    seen_at: datetime | None = None
    for history in histories.values():
        events = tuple(
            event.to_state()
            for event in history.label_events
            if any(label_kind(label, was_added=event.was_added, wants_all=wants_all) for label in event.labels)
        )
        if not (history.was_added or events or history.deletion):
            continue
        document = None
        if history.was_added or events:
            document = yield from _get_message(ctx, history.id)
        message = None if document is None else read_message(document)
        if isinstance(message, str):
            skipped.append(SkippedItem(reference=history.id, reason=message))
            document = None
        arrival = None
        if isinstance(message, Message) and history.was_added:
            arrival = labels_at_arrival(message, history)
            seen_at = max(seen_at or message.received_at, message.received_at)
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


def _get_message(ctx: SyncContext, message_id: str) -> Conversation[Mapping[str, Any] | None]:
    """The message's envelope, None if it is gone."""
    url = with_pairs(
        f"{mailbox_url(ctx.app)}/messages/{quote(message_id, safe='')}",
        [("format", "metadata"), *(("metadataHeaders", name) for name in HEADERS)],
    )
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    return None if response.status == HTTPStatus.NOT_FOUND else response.json_object()


def _later(cursor: Cursor, seen_at: datetime | None) -> str | None:
    known = read_instant(cursor.get("seen_at"))
    newest = max((at for at in (known, seen_at) if at is not None), default=None)
    return None if newest is None else rfc3339(newest)


# --- the message list ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Listing:
    """Where a listing stands."""

    since: datetime | None
    until: datetime | None
    labels: tuple[str, ...]
    page: str | None


def _read_listing_state(value: Any) -> _Listing:
    data = read_object(value)
    labels = data.get("labels")
    return _Listing(
        since=read_instant(data.get("since")),
        until=read_instant(data.get("until")),
        labels=tuple(str(label) for label in labels) if isinstance(labels, list) else (),
        page=read_text(data.get("page")),
    )


def _read_listing(ctx: SyncContext, cursor: Cursor) -> Conversation[SyncPage]:
    listing = _read_listing_state(cursor.get("listing"))
    query = "-in:chats"
    if listing.since is not None:
        query = f"after:{epoch_seconds(listing.since - OVERLAP)} {query}"
    if listing.until is not None:
        query = f"before:{epoch_seconds(listing.until + OVERLAP)} {query}"
    url = with_pairs(
        mailbox_url(ctx.app) + "/messages",
        [
            ("q", None if listing.labels else query),
            ("labelIds", listing.labels[0] if listing.labels else None),
            ("maxResults", str(PAGE_SIZE)),
            ("includeSpamTrash", "false"),
            ("pageToken", listing.page),
        ],
    )
    response = yield HttpRequest(method="GET", url=url)
    answer = response.json_object()
    identifiers = [read_id(entry.get("id")) for entry in read_objects(answer.get("messages"))]
    observations = []
    skipped = []
    seen_at: datetime | None = None
    is_past_window = False
    for identifier in identifiers:
        document = None if identifier is None else (yield from _get_message(ctx, identifier))
        if identifier is None or document is None:
            continue
        message = read_message(document)
        if isinstance(message, str):
            skipped.append(SkippedItem(reference=identifier, reason=message))
            continue
        is_past_window = listing.since is not None and message.received_at < listing.since - OVERLAP
        if _is_within(message.received_at, listing):
            observations.append(observe_message(identifier, document=document, arrival_labels=message.labels))
            seen_at = max(seen_at or message.received_at, message.received_at)
    ahead = _ahead(listing, read_text(answer.get("nextPageToken")), is_past_window=is_past_window)
    moved = {**cursor, "seen_at": _later(cursor, seen_at), "listing": ahead, "follow": ahead is None}
    return SyncPage(cursor=moved, observations=tuple(observations), skipped=tuple(skipped), items=len(identifiers))


def _is_within(at: datetime, listing: _Listing) -> bool:
    return (listing.since is None or at >= listing.since) and (listing.until is None or at <= listing.until)


def _ahead(listing: _Listing, following: str | None, *, is_past_window: bool) -> dict[str, Any] | None:
    """Where the listing goes on; None when it is through, and history is next."""
    if following is not None and following == listing.page:
        raise UnexpectedResponseError("Gmail's message list does not go on.")
    labels = listing.labels
    # Label by label there is no query to end the list: newest first, it ends when it leaves the window.
    if following is None or (labels and is_past_window):
        following, labels = None, labels[1:]
        if not labels:
            return None
    return {
        "since": listing.since and rfc3339(listing.since),
        "until": listing.until and rfc3339(listing.until),
        "labels": list(labels),
        "page": following,
    }


SYNC = Sync(start=start, read_page=read_page, interpret=interpret, poll_interval=timedelta(minutes=10))
