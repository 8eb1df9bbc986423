"""Which chats there are, and since when each is quiet: the joined channels, archived ones too, then the list of chats.

README.md says what the list of chats proves.
Source: zoho.com/cliq/help/restapi/v2: channels, chats.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, InsufficientScopeError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.streams import DiscoveryPage, Stream, Window
from connectors.domain.model.sync import Cursor
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers._zoho.limits import read_answer, read_rows
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.toolbox.foreign import (
    LATEST_MILLIS,
    instant_millis,
    millis_instant,
    read_count,
    read_millis,
    read_name,
    read_object,
    read_text,
)
from connectors.domain.providers.zoho_cliq.oauth import NAME, cliq_url
from connectors.domain.providers.zoho_cliq.payloads import read_time
from connectors.domain.providers.zoho_cliq.signals import stream_key
from connectors.domain.providers.zoho_cliq.spans import LIMIT, Span, open_spans, read_spans, to_json
from connectors.domain.providers.zoho_cliq.webhooks import CHATS

POLL_INTERVAL = timedelta(minutes=15)
OVERLAP = timedelta(minutes=5)
"""How far our clock and Zoho's may differ, and how late Zoho's lists may show a message, together."""
OVERLAP_MILLIS = OVERLAP // timedelta(milliseconds=1)
CHATS_KEPT = 2000
"""Chats whose names a connection remembers."""
DIRECT_OPTION = "direct_messages"

CREATED, ARCHIVED = "created", "archived"
"""Cliq's statuses of channels. Each has a list of its own."""
DIRECT = "direct"
"""Ours, of chats that are no channels."""
MESSAGES = frozenset({"messages"})

FIRST, SPLIT, TOP = "first", "split", "top"
"""Stages of the list of chats: one page so far; in spans; in spans to its end, and its top once more."""


@attrs.frozen(kw_only=True)
class Chat:
    """A chat, as a discovery knows it."""

    name: str
    status: str
    modified: int | None = None
    """Milliseconds of its last change; None if Cliq does not say."""


@attrs.frozen(kw_only=True)
class Listing:
    """The position of a discovery."""

    list: str = CREATED
    """`created`, `archived` or `chats`."""
    page: str | None = None
    """Cliq's token of the next page of channels."""
    known: int = 0
    """How many chats were known when the present pass over this list began."""
    chats: Mapping[str, Chat] = attrs.field(factory=dict)
    spans: tuple[Span, ...] = ()
    """What is left of the list of chats."""
    stage: str = FIRST
    """Of the list of chats."""
    is_whole: bool = True
    """Whether the list of chats leaves out no chat that has changed."""

    def to_cursor(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "list": self.list,
            "page": self.page,
            "known": self.known,
            "chats": chats_to_json(self.chats),
            "spans": to_json(self.spans),
            "stage": self.stage,
            "is_whole": self.is_whole,
        }


def read_listing(cursor: Cursor) -> Listing:
    """The position in a cursor."""
    return Listing(
        list=cursor["list"],
        page=read_text(cursor.get("page")),
        known=read_count(cursor.get("known")) or 0,
        chats=read_chats(cursor.get("chats")),
        spans=read_spans(cursor.get("spans")),
        stage=cursor["stage"],
        is_whole=cursor.get("is_whole") is True,
    )


def chats_to_json(chats: Mapping[str, Chat]) -> dict[str, Any]:
    """As in a cursor and in a bookmark."""
    return {chat_id: [chat.name, chat.status, chat.modified] for chat_id, chat in chats.items()}


def read_chats(value: Any) -> dict[str, Chat]:
    """The chats of a cursor or bookmark."""
    return {
        chat_id: Chat(name=name, status=status, modified=read_millis(modified))
        for chat_id, (name, status, modified) in read_object(value).items()
    }


def discover(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:
    """One page of the channels or of the chats. The chats come last: they say which of them are quiet."""
    listing = Listing() if cursor is None else read_listing(cursor)
    if listing.list in {CREATED, ARCHIVED}:
        return (yield from list_channels(context, window, listing))
    return (yield from list_chats(context, window, listing))


# --- channels --------------------------------------------------------------------------------------------------------


def list_channels(context: SyncContext, window: Window, listing: Listing) -> Conversation[DiscoveryPage]:
    """One page of the channels that the user has joined. A list of several pages is read until it shows no new one."""
    params = {"joined": "true", "status": listing.list, "limit": str(LIMIT), "next_token": listing.page}
    response = yield call(context, "/channels", params)
    answer = read_object(read_answer(NAME, response))
    found: dict[str, Chat] = {}
    unreadable = []
    for entry in map(read_object, read_rows(NAME, response, "channels")):
        chat_id = read_id(entry.get("chat_id"))
        name = read_name(entry.get("name")) or read_name(entry.get("unique_name")) or chat_id or "a channel"
        if chat_id is None:
            unreadable.append(unreadable_channel(entry, name))
        else:
            found[chat_id] = Chat(name=name.removeprefix("#") or chat_id, status=listing.list)
    page = read_text(answer.get("next_token")) if answer.get("has_more") is True else None
    if page is None and answer.get("has_more") is True:
        raise UnexpectedResponseError("Cliq says that there are more channels, and not where.")
    ahead = attrs.evolve(listing, page=page, chats={**listing.chats, **found})
    if page is None:
        # A list of one page cannot shift; in a longer one a channel may have moved from one page to the one before.
        is_again = listing.page is not None and len(ahead.chats) > listing.known
        ahead = attrs.evolve(ahead, known=len(ahead.chats))
        if not is_again:
            is_last = listing.list == ARCHIVED
            ahead = to_chats(context, window, ahead) if is_last else attrs.evolve(ahead, list=ARCHIVED)
    streams = (*to_streams(found), *unreadable)
    return DiscoveryPage(streams=streams, cursor=ahead.to_cursor())


def unreadable_channel(entry: Mapping[str, Any], name: str) -> Stream:
    """A channel without a chat: it is counted."""
    key = f"channel:{read_id(entry.get('channel_id')) or name}"[:200]
    return Stream(key=key, name=name, families=MESSAGES, unreadable="Cliq does not name the chat of this channel.")


# --- chats -----------------------------------------------------------------------------------------------------------


def to_chats(context: SyncContext, window: Window, listing: Listing) -> Listing:
    """The listing at the list of chats, with what earlier discoveries have seen of each.

    Only what changed since the last discovery is listed, unless a channel is new or has another status: whether Cliq
    lists such a channel at all is then not known, so everything is listed.
    """
    seen, low = remembered(window), 0
    chats = dict(listing.chats)
    if window.bookmark and all(one in seen and seen[one].status == chat.status for one, chat in chats.items()):
        low = max((read_millis(window.bookmark.get("until")) or 0) - OVERLAP_MILLIS, 0)
        chats = {one: attrs.evolve(chat, modified=seen[one].modified) for one, chat in chats.items()}
        chats = {**directs(context, window), **chats}
    return attrs.evolve(listing, list="chats", chats=chats, spans=(Span(low, LATEST_MILLIS),))


def list_chats(context: SyncContext, window: Window, listing: Listing) -> Conversation[DiscoveryPage]:
    """One span of the chats, by the time of their last change."""
    span = listing.spans[0]
    params = {
        "limit": str(LIMIT),
        # Cliq does not document whether the bounds are included.
        "modified_after": str(max(span.low - 1, 0)),
        "modified_before": None if span.high == LATEST_MILLIS else str(span.high + 1),
    }
    try:
        response = yield call(context, "/chats", params)
        entries = read_rows(NAME, response, "chats")
    except (InsufficientScopeError, AccessLostError) as error:
        return without_chats(context, window, listing, error.message)
    chats, times = dict(listing.chats), []
    for entry in map(read_object, entries):
        chat_id, modified = read_id(entry.get("chat_id")), read_time(entry.get("last_modified_time"))
        if modified is not None and span.holds(modified):
            times.append(modified)
        if chat_id is not None and (chat_id in chats or wants_direct(context.app)):
            known = chats.get(chat_id) or Chat(name=read_name(entry.get("name")) or chat_id, status=DIRECT)
            chats[chat_id] = attrs.evolve(known, modified=modified)
    ahead = next_span(window, attrs.evolve(listing, chats=chats), times, is_full=len(entries) >= LIMIT)
    return DiscoveryPage(cursor=ahead.to_cursor()) if ahead.spans else last_page(window, ahead)


def next_span(window: Window, listing: Listing, times: list[int], *, is_full: bool) -> Listing:
    """The listing after a page of chats with these times in its span."""
    span, *rest = listing.spans
    if listing.stage == TOP:
        return attrs.evolve(listing, spans=(), is_whole=listing.is_whole and not is_full)
    if is_full:
        # More than a page of one instant, or a page of other times than those asked for: some are not shown.
        is_whole = listing.is_whole and len(set(times)) > 1
        rest = [*(open_spans(span, times) if times else ()), *rest]
        listing = attrs.evolve(listing, stage=SPLIT, is_whole=is_whole)
    if not rest and listing.stage == SPLIT:
        # A chat that changed while the spans were read has moved to the top.
        top = Span(instant_millis(window.high - OVERLAP), LATEST_MILLIS)
        return attrs.evolve(listing, stage=TOP, spans=(top,))
    return attrs.evolve(listing, spans=tuple(rest))


def last_page(window: Window, listing: Listing) -> DiscoveryPage:
    """All chats. If the list may have left out some that changed, nothing is said of any, nor remembered."""
    chats = listing.chats
    bookmark: Cursor | None = {"until": instant_millis(window.high), "chats": chats_to_json(chats)}
    if not listing.is_whole:
        chats, bookmark = forget_changes(chats), window.bookmark
    return DiscoveryPage(streams=to_streams(chats), bookmark=bookmark, connection_metadata=names_of(chats))


def without_chats(context: SyncContext, window: Window, listing: Listing, reason: str) -> DiscoveryPage:
    """All channels, where Cliq refuses the list of chats. The direct chats are those of the last discovery."""
    chats = forget_changes({**directs(context, window), **listing.chats})
    streams = to_streams(chats)
    if wants_direct(context.app):
        streams += (Stream(key=DIRECT, name="direct chats", families=MESSAGES, unreadable=reason),)
    return DiscoveryPage(streams=streams, bookmark=window.bookmark, connection_metadata=names_of(chats))


def remembered(window: Window) -> dict[str, Chat]:
    """The chats of the last discovery."""
    return read_chats((window.bookmark or {}).get("chats"))


def directs(context: SyncContext, window: Window) -> dict[str, Chat]:
    """The direct chats of the last discovery, if they are wanted."""
    seen = remembered(window).items() if wants_direct(context.app) else ()
    return {chat_id: chat for chat_id, chat in seen if chat.status == DIRECT}


def forget_changes(chats: Mapping[str, Chat]) -> dict[str, Chat]:
    """The chats, without a word on when they changed."""
    return {chat_id: attrs.evolve(chat, modified=None) for chat_id, chat in chats.items()}


def names_of(chats: Mapping[str, Chat]) -> dict[str, Any]:
    """What the connection remembers for webhooks."""
    return {CHATS: {chat_id: chat.name for chat_id, chat in list(chats.items())[:CHATS_KEPT]}}


def to_streams(chats: Mapping[str, Chat]) -> tuple[Stream, ...]:
    """A stream for each chat."""
    return tuple(
        Stream(key=stream_key(chat_id), name=chat.name, families=MESSAGES, quiet_since=quiet_since(chat.modified))
        for chat_id, chat in chats.items()
    )


def quiet_since(modified: int | None) -> datetime | None:
    """Since when a chat is quiet. A message of the last minutes before a read may have been shown after it."""
    return None if modified is None else millis_instant(min(modified + OVERLAP_MILLIS, LATEST_MILLIS))


def wants_direct(app: ProviderApp) -> bool:
    """Whether the operator enabled chats that are no channels."""
    return bool(app.options[DIRECT_OPTION])


def call(context: SyncContext, path: str, params: Mapping[str, str | None]) -> HttpRequest:
    """A read of the REST API."""
    return HttpRequest(method="GET", url=with_query(cliq_url(context.app, context.connection) + path, params))
