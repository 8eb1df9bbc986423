"""Calendar's state: calendars, their events, and a change counter per calendar that sync tokens refer to."""

from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.google.channels import Channels
from connectors_sandbox.google.errors import not_found

ROLES: Final = ("freeBusyReader", "reader", "writer", "owner")


@attrs.define(eq=False)
class Event:
    """An event."""

    id: str
    summary: str
    organizer: str
    start: datetime
    end: datetime
    created_at: datetime | None
    """None for an event of a calendar file that did not say so."""
    updated_at: datetime
    sequence: int = 0
    change: int = 0
    """The calendar's counter when the event last changed."""
    is_cancelled: bool = False
    is_stub: bool = False
    """Shown as a bare id once cancelled."""
    attendees: dict[str, str] = attrs.field(factory=dict)
    """Answers to the invitation, by e-mail address."""
    event_type: str = "default"
    recurrence: list[str] = attrs.field(factory=list)
    master_id: str | None = None
    """The series that this occurrence differs from."""
    occurs_at: datetime | None = None
    """When that occurrence would have been."""


@attrs.define(eq=False)
class Calendar:
    """A calendar and who may see it."""

    id: str
    summary: str
    roles: dict[str, str]
    is_generated: bool = False
    """Holidays and the like: without notifications."""
    events: dict[str, Event] = attrs.field(factory=dict)
    changes: int = 0
    epoch: int = 0
    """Sync tokens of earlier epochs have expired."""
    updated_at: datetime | None = None


class Calendars:
    """Everybody's calendars."""

    def __init__(self, core: SandboxCore, channels: Channels) -> None:
        self._core = core
        self._channels = channels
        self.all: dict[str, Calendar] = {}
        self.stub_share = 0.5
        """The share of cancelled events that are shown as a bare id."""
        self.sends_empty_pages = False
        """Put an empty page with a token between any two pages."""
        self.gives_reason = True
        """Whether a 410 for an expired sync token gives the reason."""

    def add(self, identifier: str, summary: str, owner: str, *, is_generated: bool = False) -> Calendar:
        """A calendar."""
        role = "reader" if is_generated else "owner"
        calendar = Calendar(identifier, summary, {owner: role}, is_generated, updated_at=self._core.clock.now())
        self.all[identifier] = calendar
        return calendar

    def get(self, email: str, identifier: str, role: str = "reader") -> Calendar:
        """The calendar, for somebody with at least that role; `primary` is the caller's own."""
        calendar = self.all.get(email if identifier == "primary" else identifier)
        mine = calendar.roles.get(email) if calendar else None
        if calendar is None or mine is None or ROLES.index(mine) < ROLES.index(role):
            raise not_found("Not Found")
        return calendar

    def create(
        self,
        calendar: Calendar,
        summary: str,
        organizer: str,
        *,
        starts_in_hours: float = 24.0,
        attendees: list[str] | None = None,
        event_type: str = "default",
        recurrence: list[str] | None = None,
        age_days: float = 0.0,
        start: datetime | None = None,
    ) -> Event:
        """A new event; `age_days` makes it look that old, `start` is instead of `starts_in_hours`."""
        at = self._core.clock.now() - timedelta(days=age_days)
        start = start or self._core.clock.now().replace(microsecond=0) + timedelta(hours=starts_in_hours)
        event = Event(
            id=self._core.random_string(26, "abcdefghijklmnopqrstuv0123456789"),
            summary=summary,
            organizer=organizer,
            start=start,
            end=start + timedelta(minutes=30),
            created_at=at,
            updated_at=at,
            attendees=dict.fromkeys(attendees or [], "needsAction"),
            event_type=event_type,
            recurrence=list(recurrence or []),
        )
        calendar.events[event.id] = event
        self.changed(calendar, event, moves_time=False)
        return event

    def add_copy(
        self, calendar: Calendar, summary: str, organizer: str, created_at: datetime | None, start: datetime
    ) -> Event:
        """An event that is added now and was created long ago: an invitation to an old meeting, or an imported file.

        Google shows a creation time that an imported file does not give as the year 0.
        Source: report github.com/nextcloud/calendar/issues/2213.
        """
        event = self.create(calendar, summary, organizer, start=start)
        event.created_at = created_at
        return event

    def add_exception(
        self, calendar: Calendar, master: Event, summary: str, number: int, *, is_cancelled: bool
    ) -> Event:
        """An occurrence of a series that differs from it or is cancelled; a cancelled one is shown as a bare id.

        Source: Calendar v3 `events`, `recurringEventId`, `originalStartTime` and `status`.
        """
        occurs_at = master.start + timedelta(weeks=number)
        identifier = f"{master.id}_{occurs_at:%Y%m%dT%H%M%SZ}"
        event = calendar.events.get(identifier) or attrs.evolve(
            master,
            id=identifier,
            start=occurs_at,
            end=occurs_at + timedelta(minutes=30),
            recurrence=[],
            attendees=dict(master.attendees),
            master_id=master.id,
            occurs_at=occurs_at,
        )
        event.summary, event.is_cancelled, event.is_stub = summary, is_cancelled, is_cancelled
        calendar.events[identifier] = event
        self.changed(calendar, event)
        return event

    def changed(self, calendar: Calendar, event: Event, *, moves_time: bool = True) -> None:
        """Count a change of the event, and notify the channels."""
        calendar.changes += 1
        event.change = calendar.changes
        now = self._core.clock.now()
        calendar.updated_at = now
        if moves_time:
            event.updated_at = max(now, event.updated_at + timedelta(milliseconds=1))
            event.sequence += 1
        self._channels.notify(f"events:{calendar.id}", "exists")

    def cancel(self, calendar: Calendar, event: Event) -> None:
        """Delete the event; chance decides what is left of it."""
        event.is_cancelled = True
        event.is_stub = self._core.random.random() < self.stub_share
        self.changed(calendar, event)

    def remove(self, calendar: Calendar) -> None:
        """Delete the calendar."""
        del self.all[calendar.id]
        self._channels.notify(f"events:{calendar.id}", "not_exists")


def event_etag(event: Event) -> str:
    """Changes with every change of the event."""
    return f'"{int(event.updated_at.timestamp() * 1000) * 2}{event.change:04d}"'


def person(email: str, me: str) -> dict[str, Any]:
    """An organizer or creator."""
    return {"email": email, "self": True} if email == me else {"email": email}
