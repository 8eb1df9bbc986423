"""Calendar v3: the calendar list, events, channels."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from flask import request

from connectors_sandbox.google.api import Api, body, flag, number, stamp
from connectors_sandbox.google.auth import Grant
from connectors_sandbox.google.calendar import ROLES, Calendar, Calendars, Event, event_etag, person
from connectors_sandbox.google.channels import MAX_LIFETIME
from connectors_sandbox.google.errors import GoogleError, invalid

READ: Final = ("calendar", "calendar.readonly", "calendar.events", "calendar.events.readonly")
LIST: Final = ("calendar", "calendar.readonly", "calendar.calendarlist", "calendar.calendarlist.readonly")
FORBIDDEN_WITH_TOKEN: Final = (
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
    "timeMax",
    "updatedMin",
)
FREE_WITH_TOKEN: Final = frozenset({"syncToken", "pageToken", "fields", "alt", "prettyPrint"})
DEFAULT_PAGE: Final = 250
MAX_PAGE: Final = 2500


class CalendarViews:
    """The views of one world."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.world = api.world

    @property
    def calendars(self) -> Calendars:
        """The calendars of the world."""
        return self.world.calendars

    def install(self) -> None:
        """Mount the views."""
        route = self.api.route
        route("GET", "/calendar/v3/users/me/calendarList", self.list_calendars, LIST)
        route("GET", "/calendar/v3/users/me/calendarList/<calendar_id>", self.get_calendar, LIST)
        route("GET", "/calendar/v3/calendars/<calendar_id>/events", self.list_events, READ)
        route("GET", "/calendar/v3/calendars/<calendar_id>/events/<event_id>", self.get_event, READ)
        route("POST", "/calendar/v3/calendars/<calendar_id>/events/watch", self.watch, READ)
        route("POST", "/calendar/v3/channels/stop", self.stop, READ)

    def list_calendars(self, grant: Grant) -> dict[str, Any]:
        """The account's calendar list."""
        least = ROLES.index(request.args.get("minAccessRole", "freeBusyReader"))
        mine = [
            calendar
            for calendar in self.calendars.all.values()
            if grant.email in calendar.roles and ROLES.index(calendar.roles[grant.email]) >= least
        ]
        size = number("maxResults", 100, 250)
        begin = int(request.args.get("pageToken", "0"))
        document: dict[str, Any] = {
            "kind": "calendar#calendarList",
            "etag": f'"p{len(mine)}"',
            "items": [self._entry(calendar, grant) for calendar in mine[begin : begin + size]],
        }
        if begin + size < len(mine):
            return {**document, "nextPageToken": str(begin + size)}
        return {**document, "nextSyncToken": "CK" + base64.b64encode(grant.email.encode()).decode()}

    def get_calendar(self, grant: Grant, calendar_id: str) -> dict[str, Any]:
        """One entry of the list."""
        return self._entry(self.calendars.get(grant.email, calendar_id, "freeBusyReader"), grant)

    def _entry(self, calendar: Calendar, grant: Grant) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "kind": "calendar#calendarListEntry",
            "etag": f'"{calendar.changes}"',
            "id": calendar.id,
            "summary": calendar.summary,
            "timeZone": "Europe/Berlin",
            "accessRole": calendar.roles[grant.email],
            "selected": True,
            "defaultReminders": [],
        }
        return {**entry, "primary": True} if calendar.id == grant.email else entry

    def list_events(self, grant: Grant, calendar_id: str) -> dict[str, Any]:
        """The events: all of them, or the changes since a sync token."""
        calendar = self.calendars.get(grant.email, calendar_id)
        frozen = self._parameters_hash()
        sync_token, page_token = request.args.get("syncToken"), request.args.get("pageToken")
        updated_min = _read_updated_min()
        since = 0
        if sync_token is not None:
            self._check_combination()
            since = self._read_token(calendar, sync_token, frozen)["change"]
        state = {"after": since, "until": calendar.changes, "empty": False}
        if page_token is not None:
            state |= self._read_token(calendar, page_token, frozen)
        # Changes are listed in the order in which they were made, up to the calendar's counter when the listing began.
        changed = sorted(
            (
                event
                for event in calendar.events.values()
                if state["after"] < event.change <= state["until"] and self._is_listed(event, sync_token, updated_min)
            ),
            key=lambda event: event.change,
        )
        size = self.api.page_size("maxResults", DEFAULT_PAGE, MAX_PAGE)
        document = self._list_document(calendar, grant)
        if self.calendars.sends_empty_pages and page_token is not None and not state["empty"] and changed:
            # A page may have no items and still not be the last.
            return {
                **document,
                "items": [],
                "nextPageToken": self._write_token(calendar, frozen, {**state, "empty": True}),
            }
        page = changed[:size]
        document["items"] = [self._event(event, calendar, grant) for event in page]
        if len(changed) > size:
            ahead = {"after": page[-1].change, "until": state["until"], "empty": False}
            return {**document, "nextPageToken": self._write_token(calendar, frozen, ahead)}
        if "orderBy" in request.args:
            return document
        token = self._write_token(calendar, frozen, {"change": state["until"]})
        return {**document, "nextSyncToken": token}

    def _is_listed(self, event: Event, sync_token: str | None, updated_min: datetime | None) -> bool:
        if updated_min is not None:
            # What was deleted since is listed whatever `showDeleted` says.
            return event.updated_at >= updated_min
        return not event.is_cancelled or sync_token is not None or flag("showDeleted")

    def _check_combination(self) -> None:
        for name in FORBIDDEN_WITH_TOKEN:
            if name in request.args:
                raise invalid(f"Sync token cannot be used with {name}.", name)
        if request.args.get("showDeleted") == "false":
            raise invalid("Sync token cannot be used with showDeleted=false.", "showDeleted")

    def _parameters_hash(self) -> str:
        pairs = sorted(pair for pair in request.args.items(multi=True) if pair[0] not in FREE_WITH_TOKEN)
        return hashlib.sha256(repr(pairs).encode()).hexdigest()[:8]

    def _write_token(self, calendar: Calendar, frozen: str, state: dict[str, Any]) -> str:
        document = {"calendar": calendar.id, "epoch": calendar.epoch, "frozen": frozen, **state}
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()

    def _read_token(self, calendar: Calendar, text: str, frozen: str) -> dict[str, Any]:
        try:
            state = json.loads(base64.urlsafe_b64decode(text))
        except ValueError as error:
            raise invalid("Invalid sync token value.", "syncToken") from error
        if not isinstance(state, dict) or state.get("calendar") != calendar.id or state.get("frozen") != frozen:
            raise invalid("Sync token was made with other parameters.", "syncToken")
        if state.get("epoch") != calendar.epoch:
            message = "Sync token is no longer valid, a full sync is required."
            reason = "fullSyncRequired" if self.calendars.gives_reason else ""
            raise GoogleError(410, reason, message, domain="calendar", location="syncToken")
        return state

    def get_event(self, grant: Grant, calendar_id: str, event_id: str) -> dict[str, Any]:
        """One event."""
        calendar = self.calendars.get(grant.email, calendar_id)
        event = calendar.events.get(event_id)
        if event is None:
            raise GoogleError(404, "notFound", "Not Found")
        return self._event(event, calendar, grant)

    def watch(self, grant: Grant, calendar_id: str) -> Any:
        """Open a channel on one calendar."""
        calendar = self.calendars.get(grant.email, calendar_id)
        if calendar.is_generated:
            message = "Push notifications are not supported by this resource."
            raise GoogleError(400, "pushNotSupportedForRequestedResource", message)
        path = f"/calendar/v3/calendars/{quote(calendar.id, safe='')}/events"
        uri = f"{self.world.core.base_url('google')}{path}?alt=json"
        resource = f"events:{calendar.id}"
        return self.api.watch(self.world.channels.open(body(), grant, resource, uri, MAX_LIFETIME))

    def stop(self, grant: Grant) -> None:
        """Close a channel."""
        self.world.channels.close(body(), grant)

    def _list_document(self, calendar: Calendar, grant: Grant) -> dict[str, Any]:
        return {
            "kind": "calendar#events",
            "etag": f'"p{calendar.changes}"',
            "summary": calendar.summary,
            "timeZone": "Europe/Berlin",
            "updated": stamp(calendar.updated_at or self.world.core.clock.now()),
            "accessRole": calendar.roles[grant.email],
            "defaultReminders": [],
        }

    def _event(self, event: Event, calendar: Calendar, grant: Grant) -> dict[str, Any]:
        common = {"kind": "calendar#event", "etag": event_etag(event), "id": event.id}
        if event.is_cancelled and event.is_stub:
            return {**common, "status": "cancelled", **_occurrence(event)}
        link = base64.urlsafe_b64encode(f"{event.id} {calendar.id}".encode()).decode().rstrip("=")
        document: dict[str, Any] = {
            **common,
            "status": "cancelled" if event.is_cancelled else "confirmed",
            "htmlLink": f"https://www.google.com/calendar/event?eid={link}",
            "created": _created(event),
            "updated": stamp(event.updated_at),
            "summary": event.summary,
            "creator": person(event.organizer, grant.email),
            "organizer": person(event.organizer, grant.email),
            "start": {"dateTime": _moment(event.start), "timeZone": "Europe/Berlin"},
            "end": {"dateTime": _moment(event.end), "timeZone": "Europe/Berlin"},
            "iCalUID": f"{event.id}@google.com",
            "sequence": event.sequence,
            "eventType": event.event_type,
            **_occurrence(event),
        }
        if event.attendees:
            document["attendees"] = [
                {**person(email, grant.email), "responseStatus": answer} for email, answer in event.attendees.items()
            ]
        if event.recurrence:
            document["recurrence"] = event.recurrence
        return document


def _read_updated_min() -> datetime | None:
    text = request.args.get("updatedMin")
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid("Invalid Value", "updatedMin") from error


def _created(event: Event) -> str:
    if event.created_at is None:
        return "0000-12-31T00:00:00.000Z"
    return event.created_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _occurrence(event: Event) -> dict[str, Any]:
    """What an exception to a series says about it."""
    if event.master_id is None:
        return {}
    moment = {"dateTime": _moment(event.occurs_at), "timeZone": "Europe/Berlin"}
    return {"recurringEventId": event.master_id, "originalStartTime": moment}


def _moment(at: Any) -> str:
    """With an offset: the form in which Calendar writes instants in a time zone."""
    return str((at.astimezone(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S+01:00"))
