"""Reading Calendar: a pass per calendar, full or from its sync token.

A full pass lists every event without time bounds and ends with a token; the next pass asks for what changed since.
Which of a full pass's events become signals is decided by `updated`; all of them are remembered. The token lies in
the last page only, so a pass is always read to its end, empty pages included.

    backfill       a full pass per calendar, reporting what was updated in the window
    first read     a full pass, reporting what was updated since the account was connected
    incremental    from the token; 410 → a full pass, reporting what was updated since the last good read

Google does not document whether the token of a pass of several pages is of its beginning or its end. So such a pass is
followed by a *catch-up*, which lists what was updated since the sync run began; its own token is not used.

Source: developers.google.com/workspace/calendar/api/guides/sync.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, HttpResponse, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.google_calendar.payloads import Calendar, read_calendars, read_event_item
from connectors.domain.providers.google_calendar.signals import Window, interpret, observe, read_window
from connectors.domain.providers.toolbox.foreign import read_each, read_object, read_objects, read_text

PARAMETERS = {"singleEvents": "false", "showDeleted": "true", "maxResults": "500"}
"""The same in every request of a calendar: Google leaves undefined what a token means under others. Series stay one
master with exceptions (`singleEvents=false`), or an edit of one would return hundreds of occurrences."""

PARAMETERS_HASH = hashlib.sha256(repr(sorted(PARAMETERS.items())).encode()).hexdigest()[:16]
"""Stored with each token; a token that was taken with other parameters is not used."""

LIST_PAGES = 50
"""Pages of the calendar list, of 250 each: more is an error."""
RESYNC_OVERLAP = timedelta(days=1)
"""After a lost token: how far before the last good read the reported updates start."""

CLOCK_SPREAD = timedelta(minutes=5)
"""How far Google's clock and ours may differ: a catch-up starts this much before the sync run began."""

GAP = (
    "Calendar no longer knows the sync token. All events are read again; what was deleted meanwhile and is no longer "
    "listed cannot be recovered."
)


def list_calendars(app: ProviderApp, connection: Connection) -> Conversation[tuple[Calendar, ...]]:
    """The account's calendars whose events it may read; only the chosen ones if the connection's metadata has some."""
    calendars: dict[str, Calendar] = {}
    page: str | None = None
    for _ in range(LIST_PAGES):
        url = with_query(
            url_of(app, Endpoint.CALENDAR) + "/users/me/calendarList",
            {"maxResults": "250", "minAccessRole": "reader", "pageToken": page},
        )
        response = yield HttpRequest(method="GET", url=url)
        answer = response.json_object()
        calendars |= {calendar.id: calendar for calendar in read_calendars(answer)}
        page = read_text(answer.get("nextPageToken"))
        if page is None:
            break
    chosen = connection.metadata.get("calendars")
    wanted = set(read_each(chosen, read_id)) if isinstance(chosen, list) else set(calendars)
    return tuple(calendar for calendar in calendars.values() if calendar.id in wanted)


def events_url(app: ProviderApp, calendar_id: str) -> str:
    """A calendar's events. Ids hold `@` and `#`, which a path must not.

    Raises:
        AccessLostError: no calendar can have this id.
    """
    if read_id(calendar_id) is None:
        raise AccessLostError("There is no such calendar.")
    return f"{url_of(app, Endpoint.CALENDAR)}/calendars/{quote(calendar_id, safe='')}/events"


def start(ctx: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """One item of work for each calendar."""
    calendars = yield from list_calendars(ctx.app, ctx.connection)
    stored = read_object((plan.last_cursor or {}).get("calendars"))
    known = {calendar.id: read_object(stored.get(calendar.id)) for calendar in calendars}
    wanted = [calendar for calendar in calendars if plan.target in {None, calendar.id}]
    return {
        # Calendars that left the list are forgotten here.
        "calendars": {identifier: state for identifier, state in known.items() if state},
        "work": [_work(ctx, plan, calendar, known[calendar.id]) for calendar in wanted],
    }


def _work(ctx: SyncContext, plan: SyncPlan, calendar: Calendar, state: Mapping[str, Any]) -> dict[str, Any]:
    connected_at = ctx.connection.created_at
    token = read_text(state.get("token")) if state.get("parameters") == PARAMETERS_HASH else None
    if plan.mode is SyncMode.BACKFILL:
        window = Window(since=plan.since, until=plan.until, known_from=connected_at, is_full=True)
        token = None
    elif token is not None:
        window = Window(since=None, until=None, known_from=connected_at, is_full=False)
    else:
        read_at = read_instant(state.get("read_at"))
        since = connected_at if read_at is None else read_at - RESYNC_OVERLAP
        window = Window(since=since, until=None, known_from=connected_at, is_full=True)
    return {"id": calendar.id, "name": calendar.name, "token": token, "page": None, "window": window.to_state()}


def read_page(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page of the first remaining calendar."""
    work = read_objects(cursor.get("work"))
    if not work:
        return _page(cursor, [])
    item = work[0]
    calendar = Calendar(id=read_id(item.get("id")) or "", name=read_text(item.get("name")) or "")
    token, page = read_text(item.get("token")), read_text(item.get("page"))
    updated_min = read_text(item.get("catch_up"))
    url = with_query(
        events_url(ctx.app, calendar.id),
        {**PARAMETERS, "syncToken": token, "updatedMin": updated_min, "pageToken": page},
    )
    try:
        response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.GONE}))
    except AccessLostError:
        # Deleted, or no longer shared with the account: its cursor is dropped, the other calendars go on.
        rest = {name: state for name, state in read_object(cursor.get("calendars")).items() if name != calendar.id}
        return _page({**cursor, "calendars": rest}, work[1:])
    if response.status == HTTPStatus.GONE:
        return _start_over(ctx, plan, cursor, work)
    return _read_events(plan, cursor, work, calendar, response)


def _page(cursor: Cursor, work: Sequence[Mapping[str, Any]], **found: Any) -> SyncPage:
    """The page, done when no calendar is left."""
    rest: dict[str, Any] = {"calendars": cursor.get("calendars")}
    return SyncPage(cursor={**rest, "work": list(work)} if work else rest, done=not work, **found)


def _start_over(ctx: SyncContext, plan: SyncPlan, cursor: Cursor, work: Sequence[Mapping[str, Any]]) -> SyncPage:
    """The token is no longer valid: a full pass without it, with the same keys."""
    item = work[0]
    identifier = read_id(item.get("id")) or ""
    calendars = dict(read_object(cursor.get("calendars")))
    state = read_object(calendars.get(identifier))
    if read_text(item.get("token")) is None:
        # A catch-up is refused when the pass before it took weeks: that pass is then repeated.
        if read_text(item.get("page")) is None and item.get("catch_up") is None:
            raise UnexpectedResponseError("Calendar refuses a full pass as gone.")
        if item.get("restarted") is True:
            raise UnexpectedResponseError("Calendar refuses the pages of a full pass as gone, again and again.")
        # A page token of a full pass has lapsed: the same pass from its beginning.
        return _page(cursor, [{**item, "page": None, "catch_up": None, "restarted": True}, *work[1:]])
    read_at = read_instant(state.get("read_at"))
    connected_at = ctx.connection.created_at
    since = connected_at if read_at is None else read_at - RESYNC_OVERLAP
    window = Window(since=since, until=None, known_from=connected_at, is_full=True)
    # Without its token, but with the time of the last good read: a sync run interrupted here starts over the same way.
    calendars[identifier] = {"read_at": rfc3339(read_at or plan.started_at)}
    again = {**item, "token": None, "page": None, "window": window.to_state()}
    return _page({**cursor, "calendars": calendars}, [again, *work[1:]], gap=GAP)


def _read_events(
    plan: SyncPlan,
    cursor: Cursor,
    work: Sequence[Mapping[str, Any]],
    calendar: Calendar,
    response: HttpResponse,
) -> SyncPage:
    item = work[0]
    answer = response.json_object()
    named = Calendar(id=calendar.id, name=read_text(answer.get("summary")) or calendar.name or calendar.id)
    window = read_window(item.get("window"), plan)
    documents = read_objects(answer.get("items"))
    observations, skipped = _observe(named, documents, window)
    found = {"observations": observations, "skipped": skipped, "items": len(documents)}
    following = read_text(answer.get("nextPageToken"))
    if following is not None:
        if following == read_text(item.get("page")):
            raise UnexpectedResponseError("Calendar's event list does not go on.")
        return _page(cursor, [{**item, "page": following}, *work[1:]], **found)
    if item.get("catch_up") is not None:
        return _page(cursor, work[1:], **found)
    token = read_text(answer.get("nextSyncToken"))
    if token is None:
        raise UnexpectedResponseError("Calendar's last page has no sync token.")
    state = {"token": token, "parameters": PARAMETERS_HASH, "read_at": rfc3339(plan.started_at)}
    moved = {**cursor, "calendars": {**read_object(cursor.get("calendars")), calendar.id: state}}
    if read_text(item.get("page")) is None:
        return _page(moved, work[1:], **found)  # one answer and its token: nothing can have changed in between
    return _page(moved, [_catch_up(plan, item, window), *work[1:]], **found)


def _catch_up(plan: SyncPlan, item: Mapping[str, Any], window: Window) -> dict[str, Any]:
    """The catch-up after a pass of several pages."""
    # Like a full pass, it may find bare ids that were deleted long ago.
    again = attrs.evolve(window, is_full=True)
    since = rfc3339(plan.started_at - CLOCK_SPREAD)
    return {**item, "token": None, "page": None, "catch_up": since, "window": again.to_state()}


def _observe(
    calendar: Calendar, documents: Sequence[Mapping[str, Any]], window: Window
) -> tuple[tuple[Observation, ...], tuple[SkippedItem, ...]]:
    """The observations of the events; unreadable ones are skipped."""
    observations: dict[str, Observation] = {}
    skipped = []
    for document in documents:
        event = read_event_item(document)
        if isinstance(event, str):
            reference = f"{calendar.id}:{read_id(document.get('id')) or 'an event'}"
            skipped.append(SkippedItem(reference=reference, reason=event))
            continue
        observation = observe(calendar, event, document, window)
        observations[observation.key] = observation
    return tuple(observations.values()), tuple(skipped)


SYNC = Sync(start=start, read_page=read_page, interpret=interpret, poll_interval=timedelta(minutes=15))
