"""Reading Calendar: each calendar is a stream, read in passes.

A full pass lists every event without time bounds and ends with a sync token; the next pass asks for what changed since.
Which of a full pass's events become signals is decided by their dates; all of them are remembered. The token lies in
the last page only, so a pass is always read to its end, empty pages included.

    baseline       a full pass, which reports all that is wanted
    incremental    from the token; 410 means that it has lapsed
    backfill       a full pass, whose token is not used

Google does not document whether the token of a pass of several pages is of its beginning or its end. So such a pass is
followed by a *catch-up*, which lists what was updated since the run began; its own token is not used.

Source: developers.google.com/workspace/calendar/api/guides/sync.
"""

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.streams import ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, Observation, SyncMode
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import NAMELESS, read_id, reference_to
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.google_calendar.calendars import discover
from connectors.domain.providers.google_calendar.old_cursor import split_cursor
from connectors.domain.providers.google_calendar.payloads import Calendar, read_event_item
from connectors.domain.providers.google_calendar.signals import interpret, observe
from connectors.domain.providers.toolbox.foreign import read_object, read_text
from connectors.domain.providers.toolbox.parking import ItemGuard
from connectors.domain.providers.toolbox.structure import read_rows

PARAMETERS = {"singleEvents": "false", "showDeleted": "true", "maxResults": "500"}
"""The same in every request of a calendar: Google leaves undefined what a token means under others. Series stay one
master with exceptions (`singleEvents=false`), or an edit of one would return hundreds of occurrences."""

PARAMETERS_HASH = hashlib.sha256(repr(sorted(PARAMETERS.items())).encode()).hexdigest()[:16]
"""Stored with each token; a token that was taken with other parameters is not used."""

CLOCK_SPREAD = timedelta(minutes=5)
"""How far Google's clock and ours may differ: a catch-up starts this much before the run began."""

GAP = (
    "Calendar no longer knows the sync token. All events are read again; what was deleted meanwhile and is no longer "
    "listed cannot be recovered."
)


def events_url(app: ProviderApp, calendar_id: str) -> str:
    """A calendar's events. Ids hold `@` and `#`, which a path must not.

    Raises:
        AccessLostError: no calendar can have this id.
    """
    if read_id(calendar_id) is None:
        raise AccessLostError("There is no such calendar.")
    return f"{url_of(app, Endpoint.CALENDAR)}/calendars/{quote(calendar_id, safe='')}/events"


def read_page(ctx: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of a pass, or of the catch-up after it."""
    position = read_object(cursor)
    page, bookmark = read_text(position.get("page")), position.get("bookmark")
    is_catch_up = bookmark is not None
    token = None if is_catch_up else _sync_token(window)
    url = with_query(
        events_url(ctx.app, read_text(stream.data.get("id")) or ""),
        {
            **PARAMETERS,
            "syncToken": token,
            "updatedMin": rfc3339(window.high - CLOCK_SPREAD) if is_catch_up else None,
            "pageToken": page,
        },
    )
    try:
        response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.GONE}))
    except UnexpectedResponseError as error:
        if token is None or not _is_bad_token(error):
            raise
        return StreamPage(cursor=None, lost=GAP)
    if response.status == HTTPStatus.GONE:
        if token is None:
            # A page token has lapsed, or the pass took weeks and `updatedMin` no longer reaches its beginning.
            raise UnexpectedResponseError("Calendar refuses to go on with a list of events.")
        return StreamPage(cursor=None, lost=GAP)
    answer = response.json_object()
    documents = read_rows(answer, "items", "Calendar")
    calendar = _calendar(stream, read_text(answer.get("summary")))
    observations, parked = _observe(calendar, documents, is_full=token is None)
    found: dict[str, Any] = {"observations": observations, "parked": parked, "items": len(documents)}
    following = read_text(answer.get("nextPageToken"))
    if following is not None:
        return StreamPage(cursor={"bookmark": bookmark, "page": following}, **found)
    if is_catch_up:
        return _end(window, bookmark, **found)
    token = read_text(answer.get("nextSyncToken"))
    if token is None:
        raise UnexpectedResponseError("Calendar's last page has no sync token.")
    bookmark = {"token": token, "parameters": PARAMETERS_HASH}
    # One answer and its token are of one instant. A backfill leaves what happens meanwhile to the incremental runs.
    if page is None or window.mode is SyncMode.BACKFILL:
        return _end(window, bookmark, **found)
    return StreamPage(cursor={"bookmark": bookmark, "page": None}, **found)


def _end(window: Window, bookmark: Any, **found: Any) -> StreamPage:
    """The last page. A pass without a token has read everything that is wanted."""
    if window.mode is SyncMode.BACKFILL:
        return StreamPage(cursor=None, **found)
    read_from = window.floor if _sync_token(window) is None else None
    return StreamPage(cursor=None, bookmark=bookmark, read_from=read_from, **found)


def _sync_token(window: Window) -> str | None:
    """The token of the last pass, if there is one and it belongs to today's parameters."""
    bookmark = read_object(window.bookmark)
    return read_text(bookmark.get("token")) if bookmark.get("parameters") == PARAMETERS_HASH else None


def _is_bad_token(error: UnexpectedResponseError) -> bool:
    """Whether Calendar says that the sync token is no token: as useless as one that has lapsed."""
    return any(detail.get("location") == "syncToken" for detail in error.details)


def _calendar(stream: Stream, summary: str | None) -> Calendar:
    return Calendar(id=read_text(stream.data.get("id")) or "", name=summary or stream.name)


def _observe(
    calendar: Calendar, documents: Iterable[Any], *, is_full: bool
) -> tuple[tuple[Observation, ...], tuple[ParkedItem, ...]]:
    """The observations of the events; unreadable ones are parked."""
    observations: dict[str, Observation] = {}
    guard = ItemGuard()
    for document in documents:
        event = read_event_item(document)
        if isinstance(event, str):
            guard.park(reference_to(read_id(read_object(document).get("id"))), f"The event {event}.")
            continue
        observation = observe(calendar, event, document, is_full=is_full)
        observations[observation.key] = observation
    return tuple(observations.values()), tuple(guard.parked)


def read_item(
    ctx: SyncContext,
    stream: Stream,
    window: Window,  # noqa: ARG001 - the form's signature
    reference: str,
) -> Conversation[StreamPage | None]:
    """One event that could not be read; None if it is gone.

    Raises:
        AccessLostError: the whole calendar is refused.
        UnexpectedResponseError: the event has no usable id, or another one was sent.
    """
    if read_id(reference) is None or reference == NAMELESS:
        raise UnexpectedResponseError("Calendar listed an event without a usable id, so it cannot be asked for.")
    calendar = _calendar(stream, None)
    events = events_url(ctx.app, calendar.id)
    url = f"{events}/{quote(reference, safe='')}"
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    if response.status == HTTPStatus.NOT_FOUND:
        yield HttpRequest(method="GET", url=with_query(events, {"maxResults": "1"}))  # else the calendar may be gone
        return None
    document = response.json_object()
    if read_id(document.get("id")) != reference:
        raise UnexpectedResponseError("Calendar's answer is another event.")
    observations, parked = _observe(calendar, [document], is_full=True)
    return StreamPage(cursor=None, observations=observations, parked=parked, items=1)


STREAMS = Streams(
    discover=discover,
    read_page=read_page,
    read_item=read_item,
    interpret=interpret,
    split_cursor=split_cursor,
    follows_log=True,
    poll_interval=timedelta(minutes=15),
)
