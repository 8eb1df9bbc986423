"""The account's calendars: each is a stream.

Source: developers.google.com/workspace/calendar/api/v3/reference/calendarList.
"""

import hashlib

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.streams import DiscoveryPage, Stream, Window
from connectors.domain.model.sync import Cursor
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import LONGEST_REFERENCE, read_id
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_calendar.payloads import Calendar, read_calendars
from connectors.domain.providers.google_calendar.signals import FAMILIES
from connectors.domain.providers.toolbox.foreign import read_each, read_object, read_text

LIST_PAGES = 50
"""Pages of the calendar list, of 250 each, that are read in one conversation: more is an error."""

FAMILY_NAMES = frozenset(family.name for family in FAMILIES)

NOT_LISTED = "The connection is set to read this calendar, which the account's list does not show."


def stream_key(calendar_id: str) -> str:
    """The key of a calendar's stream; a very long id is hashed."""
    key = f"calendar:{calendar_id}"
    if len(key) <= LONGEST_REFERENCE:
        return key
    return f"calendar:sha256:{hashlib.sha256(calendar_id.encode()).hexdigest()}"


def list_page(app: ProviderApp, page: str | None) -> Conversation[tuple[list[Calendar], str | None]]:
    """One page of the account's calendars, and the token of the next one."""
    url = with_query(
        url_of(app, Endpoint.CALENDAR) + "/users/me/calendarList", {"maxResults": "250", "pageToken": page}
    )
    response = yield HttpRequest(method="GET", url=url)
    answer = response.json_object()
    return read_calendars(answer), read_text(answer.get("nextPageToken"))


def list_calendars(app: ProviderApp, connection: Connection) -> Conversation[tuple[Calendar, ...]]:
    """The calendars whose events the connection reads.

    Raises:
        UnexpectedResponseError: the list does not end.
    """
    chosen = chosen_ids(connection)
    calendars: dict[str, Calendar] = {}
    page: str | None = None
    for _ in range(LIST_PAGES):
        found, page = yield from list_page(app, page)
        wanted = (one for one in found if one.unreadable is None and (chosen is None or one.id in chosen))
        calendars |= {calendar.id: calendar for calendar in wanted}
        if page is None:
            return tuple(calendars.values())
    raise UnexpectedResponseError("Calendar's list of calendars does not end.")


def chosen_ids(connection: Connection) -> frozenset[str] | None:
    """The calendars that the connection's metadata chooses; None for all."""
    chosen = connection.metadata.get("calendars")
    return frozenset(read_each(chosen, read_id)) if isinstance(chosen, list) else None


def discover(ctx: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:  # noqa: ARG001
    """A page of the calendars; after the last one, the chosen ones that no page has shown."""
    position = read_object(cursor)
    found, following = yield from list_page(ctx.app, read_text(position.get("page")))
    chosen = chosen_ids(ctx.connection)
    missing = set(chosen or ()) if cursor is None else set(read_each(position.get("missing"), read_id))
    missing -= {calendar.id for calendar in found}
    if following is None:
        found += [Calendar(id=one, name=one, unreadable=NOT_LISTED) for one in sorted(missing)]
    return DiscoveryPage(
        streams=tuple(
            _stream(calendar, is_chosen=chosen is not None)
            for calendar in found
            if chosen is None or calendar.id in chosen
        ),
        cursor=None if following is None else {"page": following, "missing": sorted(missing)},
    )


def _stream(calendar: Calendar, *, is_chosen: bool) -> Stream:
    return Stream(
        key=stream_key(calendar.id),
        name=calendar.name,
        families=FAMILY_NAMES,
        data={"id": calendar.id},
        unreadable=calendar.unreadable,
        is_chosen=is_chosen,
    )
