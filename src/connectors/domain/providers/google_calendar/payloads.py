"""The fields of Calendar's objects that we read, and no others.

Source: Calendar v3 reference, resources `events` and `calendarList`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.instant import read_instant
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.toolbox.foreign import read_object, read_objects, read_text, read_url
from connectors.domain.providers.toolbox.structure import read_rows

CANCELLED = "cancelled"
NO_TITLE = "(No title)"
"""What Calendar shows for an event without a summary."""
FREE_BUSY_ONLY = "The account may see only when this calendar is busy, not its events."


@attrs.frozen(kw_only=True)
class Person:
    """An organizer or creator."""

    id: str
    name: str


@attrs.frozen(kw_only=True)
class Event:
    """An event, a series' master, or an occurrence that differs from it; a deleted one may have only its id."""

    id: str
    is_cancelled: bool
    created_at: datetime | None
    updated_at: datetime | None
    updated: str | None
    """As Calendar wrote it: it identifies this state of the event."""
    etag: str | None
    title: str | None
    url: str | None
    start: str | None
    end: str | None
    person: Person | None
    """The organizer, or else the creator. Calendar does not say who made the edit."""
    event_type: str | None
    responses: tuple[tuple[str, str], ...]
    """Each attendee's answer, by address, sorted."""
    is_awaiting_answer: bool
    """The account itself is invited and has not answered."""


def read_event_item(document: Any) -> Event | str:
    """The event, or a text saying why it cannot be read."""
    data = read_object(document)
    identifier = read_id(data.get("id"))
    if identifier is None:
        return "has no id"
    is_cancelled = data.get("status") == CANCELLED
    updated_at = read_instant(data.get("updated"))
    if updated_at is None and not is_cancelled:
        return "does not say when it was updated"
    attendees = read_objects(data.get("attendees"))
    return Event(
        id=identifier,
        is_cancelled=is_cancelled,
        created_at=read_instant(data.get("created")),
        updated_at=updated_at,
        updated=str(data["updated"]) if updated_at else None,
        etag=read_id(data.get("etag")),
        title=read_text(data.get("summary")),
        url=read_url(data.get("htmlLink")),
        start=_read_moment(data.get("start")),
        end=_read_moment(data.get("end")),
        person=_read_person(data.get("organizer")) or _read_person(data.get("creator")),
        event_type=read_id(data.get("eventType")),
        responses=tuple(
            sorted(
                (read_id(each.get("email")) or "?", read_id(each.get("responseStatus")) or "?") for each in attendees
            )
        ),
        is_awaiting_answer=any(
            each.get("self") is True and each.get("responseStatus") == "needsAction" for each in attendees
        ),
    )


def _read_moment(value: Any) -> str | None:
    """An instant with offset, or a whole day's date."""
    moment = read_object(value)
    return read_id(moment.get("dateTime")) or read_id(moment.get("date"))


def _read_person(value: Any) -> Person | None:
    data = read_object(value)
    identifier = read_id(data.get("email")) or read_id(data.get("id"))
    if identifier is None:
        return None
    return Person(id=identifier, name=read_text(data.get("displayName")) or identifier)


@attrs.frozen(kw_only=True)
class Calendar:
    """One calendar of the account's list."""

    id: str
    name: str
    unreadable: str | None = None
    """Why its events cannot be read, as a sentence."""


def read_calendars(answer: Mapping[str, Any]) -> list[Calendar]:
    """The calendars of one page of the list.

    Raises:
        UnexpectedResponseError: it is no list.
    """
    found = []
    for entry in map(read_object, read_rows(answer, "items", "Calendar")):
        identifier = read_id(entry.get("id"))
        if identifier is None or entry.get("deleted") is True:
            continue
        name = read_text(entry.get("summaryOverride")) or read_text(entry.get("summary")) or identifier
        unreadable = FREE_BUSY_ONLY if entry.get("accessRole") == "freeBusyReader" else None
        found.append(Calendar(id=identifier, name=name, unreadable=unreadable))
    return found
