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
    created_at: datetime
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
    ) -> Event:
        """A new event; `age_days` makes it look that old."""
        at = self._core.clock.now() - timedelta(days=age_days)
        start = self._core.clock.now().replace(microsecond=0) + timedelta(hours=starts_in_hours)
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
