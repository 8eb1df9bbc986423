"""Reading the messages of a chat, span by span of time; README.md says why nothing slips between two pages.

Edits keep id and time of a message and deletions leave nothing behind: only webhooks tell of them.
Source: zoho.com/cliq/help/restapi/v2/messages.
"""

from typing import Any
from urllib.parse import quote

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers._zoho.limits import read_rows
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.toolbox.foreign import (
    instant_millis,
    millis_instant,
    read_millis,
    read_object,
)
from connectors.domain.providers.zoho_cliq.discovery import OVERLAP_MILLIS, POLL_INTERVAL, call, discover
from connectors.domain.providers.zoho_cliq.oauth import NAME
from connectors.domain.providers.zoho_cliq.old_cursor import split_cursor
from connectors.domain.providers.zoho_cliq.payloads import read_message_id, read_row, read_time
from connectors.domain.providers.zoho_cliq.signals import is_own_bot, posted_row, stream_key
from connectors.domain.providers.zoho_cliq.spans import LIMIT, Span, open_spans, read_spans, to_json

BOOKMARK = {"begun": True}
"""The engine knows up to when a chat has been read; nothing else is needed. The first one may have `low`: see
`old_cursor`."""
OVERFULL = "More than 100 messages of one chat are of the same millisecond; Cliq shows 100 of them."
LAWLESS = "Cliq answered with a full page of times outside the span that was asked for."


@attrs.frozen(kw_only=True)
class Part:
    """What one call showed of a span."""

    signals: tuple[SignalDraft, ...]
    parked: tuple[ParkedItem, ...]
    items: int
    open: tuple[Span, ...]
    """What it did not show of the span."""


def read_page(context: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One span of a chat. The baseline needs no call: messages do not change for reading."""
    if window.mode is SyncMode.INCREMENTAL and window.bookmark is None:
        return StreamPage(cursor=None, bookmark=BOOKMARK)
    spans = first_spans(window) if cursor is None else read_spans(cursor.get("spans"))
    if not spans:
        return StreamPage(cursor=None, bookmark=BOOKMARK)
    part = yield from read_span(context, stream, spans[0])
    rest = (*part.open, *spans[1:])
    return StreamPage(
        cursor={"spans": to_json(rest)} if rest else None,
        bookmark=None if rest or window.mode is SyncMode.BACKFILL else BOOKMARK,
        signals=part.signals,
        parked=part.parked,
        items=part.items,
    )


def first_spans(window: Window) -> tuple[Span, ...]:
    """The whole window, and before it what was perhaps shown late when the run before read it."""
    low = instant_millis(window.low)
    if window.mode is SyncMode.INCREMENTAL:
        before = read_millis((window.bookmark or {}).get("low"))
        low = (low if before is None else min(low, before)) - OVERLAP_MILLIS
    span = Span(max(low, 0), instant_millis(window.high))
    return (span.widened,) if span.low <= span.high else ()


def read_item(context: SyncContext, stream: Stream, window: Window, reference: str) -> Conversation[StreamPage]:
    """A span with a row that could not be read, to its end.

    Raises:
        UnexpectedResponseError: there is still such a row.
    """
    del window
    spans = tuple(span.widened for span in read_spans([reference.split("-")]))
    signals: list[SignalDraft] = []
    items = 0
    while spans:
        part = yield from read_span(context, stream, spans[0])
        if part.parked:
            raise UnexpectedResponseError(part.parked[0].reason)
        spans = (*part.open, *spans[1:])
        signals.extend(part.signals)
        items += part.items
    return StreamPage(cursor=None, signals=tuple(signals), items=items)


def read_span(context: SyncContext, stream: Stream, span: Span) -> Conversation[Part]:
    """The messages that one call shows of a span. Rows dated elsewhere are reported and move nothing.

    Raises:
        UnexpectedResponseError: a full page has nothing of the span.
    """
    chat_id = stream.key.removeprefix(stream_key(""))
    params = {"fromtime": str(span.low), "totime": str(span.high), "limit": str(LIMIT)}
    response = yield call(context, f"/chats/{quote(chat_id, safe='')}/messages", params)
    entries = [read_object(entry) for entry in read_rows(NAME, response, "data")]
    is_full = len(entries) >= LIMIT
    rows = [read_row(entry) for entry in entries]
    times = [row.time for row in rows if not isinstance(row, str) and span.holds(row.time)]
    if is_full and not times:
        raise UnexpectedResponseError(LAWLESS)
    shown = Span(min(times), max(times)) if is_full else span
    signals: list[SignalDraft] = []
    parked: dict[str, ParkedItem] = {}
    for row, entry in zip(rows, entries, strict=True):
        if isinstance(row, str):
            one = park(where(entry, shown), row)
            parked[one.reference] = one
        elif row.content.is_message and not is_own_bot(context.app, row.sender):
            signals.append(posted_row(context.connection, chat_id, stream.name, row, entry))
    if is_full and shown.low == shown.high:
        one = park(shown, OVERFULL)
        parked[one.reference] = one
    return Part(
        signals=tuple(signals),
        parked=tuple(parked.values()),
        items=len(entries),
        open=open_spans(span, times) if is_full else (),
    )


def where(entry: Any, shown: Span) -> Span:
    """Where a row that cannot be read lies: at its time, at that in its id, or anywhere in what the page showed."""
    identifier = read_message_id(entry.get("id")) or ""
    at = read_time(entry.get("time")) or read_time(identifier.partition("_")[0])
    return shown if at is None or not shown.holds(at) else Span(at, at)


def park(span: Span, reason: str) -> ParkedItem:
    """What could not be read of a span."""
    between = (millis_instant(span.low), millis_instant(span.high))
    return ParkedItem(reference=f"{span.low}-{span.high}", reason=reason, between=between)


STREAMS = Streams(
    discover=discover, read_page=read_page, read_item=read_item, poll_interval=POLL_INTERVAL, split_cursor=split_cursor
)
