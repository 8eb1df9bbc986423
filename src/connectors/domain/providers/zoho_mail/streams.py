"""Reading a mailbox folder by folder, newest first; README.md says why nothing slips between two pages.

Zoho has no change feed and no paging token: `start` counts rows of a list that moves while we read.
Source: zoho.com/mail/help/api/get-emails-list, get-all-folder-details, get-email-meta-data.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import DiscoveryPage, ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, Observation, SyncMode
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers._zoho.limits import read_answer, read_refusal
from connectors.domain.providers._zoho.limits import read_rows as read_rows_of
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.toolbox.foreign import (
    LATEST_MILLIS,
    instant_millis,
    millis_instant,
    read_count,
    read_each,
    read_millis,
    read_object,
)
from connectors.domain.providers.toolbox.order import has_passed
from connectors.domain.providers.zoho_mail.oauth import NAME, mailbox_url
from connectors.domain.providers.zoho_mail.old_cursor import split_cursor
from connectors.domain.providers.zoho_mail.payloads import (
    Folder,
    FolderKind,
    read_folder,
    read_message_id,
    read_received,
    read_row,
    stream_key,
)
from connectors.domain.providers.zoho_mail.signals import (
    ARRIVALS,
    FAMILY_OF,
    arrival,
    interpret,
    observe,
    tracks_changes,
)

PAGE_SIZE = 200
"""Rows: the most that Zoho gives, for it counts calls."""
OVERLAP = timedelta(minutes=15)
"""How far before its window a folder is read: mail is listed late, or not quite in the order of its arrival."""
OVERLAP_MILLIS = OVERLAP // timedelta(milliseconds=1)
OVERLAP_ROWS = 10
"""Rows by which two pages overlap."""
RECENT = timedelta(days=2)
"""How far back the option finds changes of known mail. Each 200 messages cost a call per read."""
FOLDERS_KEPT = 500
"""Folders whose names a connection remembers."""
POLL_INTERVAL = timedelta(minutes=5)
"""About 30 calls a minute are allowed; a read takes one for the list of folders and one for each folder."""

READ_ALWAYS = frozenset(ARRIVALS)
READ_FOR_CHANGES = frozenset({FolderKind.TRASH, FolderKind.SPAM})


# --- folders ---------------------------------------------------------------------------------------------------------


_SPAN = re.compile("([0-9]+)-([0-9]+)")
"""How a row without an id is referred to: by milliseconds between which it lies."""


def discover(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:
    """The folders to read, and the names of all for webhooks. Zoho lists them on one page."""
    del window, cursor
    response = yield HttpRequest(method="GET", url=mailbox_url(context.app, context.connection) + "/folders")
    entries = [read_object(entry) for entry in read_rows_of(NAME, response, "data")]
    found = [read_folder(entry) for entry in entries]
    folders = {folder.id: folder for folder in found if folder is not None}
    wanted = READ_ALWAYS | (READ_FOR_CHANGES if tracks_changes(context.app) else frozenset())
    streams = [to_stream(folder) for folder in folders.values() if folder.kind in wanted]
    if None in found:
        streams.append(
            Stream(
                key="folder",
                name="a folder",
                families=families_of(FolderKind.RECEIVED),
                unreadable="Zoho Mail does not say the folder's id.",
            )
        )
    known = list(folders.values())[:FOLDERS_KEPT]
    names = {folder.id: {"name": folder.name, "kind": folder.kind.value} for folder in known}
    return DiscoveryPage(streams=tuple(streams), connection_metadata={"folders": names})


def families_of(kind: FolderKind) -> frozenset[str]:
    """What a folder is needed for; nothing for Trash and Spam, which only show changes."""
    return frozenset({FAMILY_OF[ARRIVALS[kind]]} if kind in ARRIVALS else ())


def to_stream(folder: Folder) -> Stream:
    """The stream of a folder."""
    data = {"kind": folder.kind.value}
    return Stream(key=stream_key(folder.id), name=folder.name, families=families_of(folder.kind), data=data)


def folder_of(stream: Stream) -> Folder:
    """The folder of a stream."""
    return Folder(id=stream.key.removeprefix(stream_key("")), name=stream.name, kind=FolderKind(stream.data["kind"]))


# --- pages -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Position:
    """Where a page begins in a list that moves."""

    start: int = 1
    """Sequence number of its first row, as Zoho counts: from 1."""
    tail: tuple[str, ...] = ()
    """Ids of the last rows of the page before: if this page has none of them, rows were missed."""

    def meets(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the page follows the one before without a gap."""
        return self.start == 1 or not self.tail or any(row_id(row) in self.tail for row in rows)

    @property
    def before(self) -> "Position":
        """A page further up, where more rows left the list than the pages overlap."""
        return Position(max(self.start - PAGE_SIZE + OVERLAP_ROWS, 1), self.tail)

    def after(self, rows: Sequence[Mapping[str, Any]], lowest: int) -> "Position | None":
        """The next page; None if the list ends with these rows, or has been read down to there.

        Raises:
            UnexpectedResponseError: the page is the one before, whatever `start` says.
        """
        times = [millis_instant(at) for at in map(read_received, rows) if at is not None]
        if len(rows) < PAGE_SIZE or has_passed(times, millis_instant(lowest)):
            return None
        tail = tuple(found for found in map(row_id, rows[-OVERLAP_ROWS:]) if found is not None)
        if tail and self.start > 1 and tail == self.tail:
            raise UnexpectedResponseError("Zoho Mail's list does not go on.")
        return Position(self.start + len(rows) - OVERLAP_ROWS, tail)

    def to_cursor(self) -> dict[str, Any]:
        """As JSON values."""
        return {"start": self.start, "tail": list(self.tail)}


def read_position(cursor: Cursor | None) -> Position:
    """The position in a cursor."""
    data = cursor or {}
    return Position(read_count(data.get("start")) or 1, tuple(read_each(data.get("tail"), read_id)))


def row_id(row: Mapping[str, Any]) -> str | None:
    """A row's id, to recognize the row, even an unreadable one."""
    return read_id(row.get("messageId"))


def read_page(context: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of a folder. The baseline needs no call: the next run begins where it ended."""
    is_incremental = window.mode is SyncMode.INCREMENTAL
    if is_incremental and window.bookmark is None:
        return StreamPage(cursor=None, bookmark={"low": instant_millis(window.high)})
    folder, position = folder_of(stream), read_position(cursor)
    rows = yield from list_rows(context, folder, position)
    if not position.meets(rows):
        return StreamPage(cursor=position.before.to_cursor())
    lowest = lower_bound(context, window)
    ahead = position.after(rows, lowest)
    found = read_rows(context, folder, rows, lowest)
    return StreamPage(
        cursor=None if ahead is None else ahead.to_cursor(),
        bookmark={"low": instant_millis(window.low)} if is_incremental and ahead is None else None,
        signals=found.signals,
        observations=found.observations,
        parked=found.parked,
        items=len(rows),
    )


def lower_bound(context: SyncContext, window: Window) -> int:
    """Milliseconds down to which a folder is read. An incremental run reads the window of the one before again."""
    at = instant_millis(window.low)
    before = read_millis((window.bookmark or {}).get("low"))
    lowest = (at if before is None else min(at, before)) - OVERLAP_MILLIS
    if tracks_changes(context.app):
        lowest = min(lowest, instant_millis(max(window.high - RECENT, window.floor)))
    return max(lowest, 0)


def list_rows(context: SyncContext, folder: Folder, position: Position) -> Conversation[list[Mapping[str, Any]]]:
    """The rows from this position on."""
    params = {
        "folderId": folder.id,
        "start": str(position.start),
        "limit": str(PAGE_SIZE),
        "sortBy": "date",
        "sortorder": "false",
        "includeto": "true",
    }
    url = with_query(mailbox_url(context.app, context.connection) + "/messages/view", params)
    response = yield HttpRequest(method="GET", url=url)
    return [read_object(entry) for entry in read_rows_of(NAME, response, "data")]


@attrs.frozen(kw_only=True)
class Rows:
    """What rows say."""

    signals: tuple[SignalDraft, ...]
    observations: tuple[Observation, ...]
    parked: tuple[ParkedItem, ...]


def read_rows(
    context: SyncContext, folder: Folder, rows: Sequence[Mapping[str, Any]], lowest: int, highest: int = LATEST_MILLIS
) -> Rows:
    """What a page's rows say of this time. Mail dated years ahead is reported: only what is wanted has an end."""
    signals: list[SignalDraft] = []
    observations: list[Observation] = []
    parked: dict[str, ParkedItem] = {}
    for index, row in enumerate(rows):
        earliest, latest = where(rows, index)
        if latest < lowest or earliest > highest:
            continue  # most rows of a page that is read for the latest one
        message = read_row(row)
        if isinstance(message, str):
            one = park(row, message, earliest, latest)
            parked[one.reference] = one
            continue
        draft = arrival(context.connection, message, folder, row)
        if draft is not None:
            signals.append(draft)
        if tracks_changes(context.app):
            observations.append(observe(message, folder, row))
    return Rows(signals=tuple(signals), observations=tuple(observations), parked=tuple(parked.values()))


def where(rows: Sequence[Mapping[str, Any]], index: int) -> tuple[int, int]:
    """The earliest and the latest time that a row can have, by its neighbours if it does not say."""
    own = read_received(rows[index])
    if own is not None:
        return own, own
    newer = next((at for at in map(read_received, rows[index::-1]) if at is not None), LATEST_MILLIS)
    older = next((at for at in map(read_received, rows[index:]) if at is not None), 0)
    low, high = sorted((newer, older))
    return max(low - OVERLAP_MILLIS, 0), min(high + OVERLAP_MILLIS, LATEST_MILLIS)


def park(row: Mapping[str, Any], reason: str, low: int, high: int) -> ParkedItem:
    """What is kept of a row that cannot be read: its id, or else the time in which it lies."""
    between = (millis_instant(low), millis_instant(high))
    return ParkedItem(reference=read_message_id(row) or f"{low}-{high}", reason=reason, between=between)


# --- single messages -------------------------------------------------------------------------------------------------


def read_item(context: SyncContext, stream: Stream, window: Window, reference: str) -> Conversation[StreamPage | None]:
    """A message that could not be read: by its id, or as part of the list where it lies; None if it is gone.

    Raises:
        UnexpectedResponseError: it still cannot be read.
    """
    del window
    folder = folder_of(stream)
    span = _SPAN.fullmatch(reference)
    if span is None:
        row = yield from read_details(context, folder, reference)
        if row is None:
            return None
        found = read_rows(context, folder, [row], 0)
    else:
        found = yield from list_span(context, folder, int(span[1]), int(span[2]))
    # Rows with an id are parked by themselves.
    still = [one.reason for one in found.parked if bool(span) is bool(_SPAN.fullmatch(one.reference))]
    if still:
        raise UnexpectedResponseError(f"A row of Zoho Mail's list {still[0]}.")
    return StreamPage(cursor=None, signals=found.signals, observations=found.observations, items=1)


def read_details(context: SyncContext, folder: Folder, message_id: str) -> Conversation[Mapping[str, Any] | None]:
    """A message as the list shows it; None if it is gone."""
    path = f"/folders/{quote(folder.id, safe='')}/messages/{quote(message_id, safe='')}/details"
    url = mailbox_url(context.app, context.connection) + path
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    refusal = read_refusal(response)  # Mail may say so only in the body
    if refusal is not None and refusal.status == HTTPStatus.NOT_FOUND:
        return None
    return read_object(read_object(read_answer(NAME, response)).get("data"))


def list_span(context: SyncContext, folder: Folder, low: int, high: int) -> Conversation[Rows]:
    """What the folder has in this time, from the list's beginning down to it.

    Raises:
        UnexpectedResponseError: rows left the list meanwhile.
    """
    parts: list[Rows] = []
    position: Position | None = Position()
    while position is not None:
        rows = yield from list_rows(context, folder, position)
        if not position.meets(rows):
            raise UnexpectedResponseError("Zoho Mail's list moves while it is read.")
        parts.append(read_rows(context, folder, rows, low, high))
        position = position.after(rows, max(low - OVERLAP_MILLIS, 0))
    return Rows(
        signals=tuple(one for part in parts for one in part.signals),
        observations=tuple(one for part in parts for one in part.observations),
        parked=tuple(one for part in parts for one in part.parked),
    )


STREAMS = Streams(
    discover=discover,
    read_page=read_page,
    read_item=read_item,
    interpret=interpret,
    poll_interval=POLL_INTERVAL,
    rounds=2,
    split_cursor=split_cursor,
)
