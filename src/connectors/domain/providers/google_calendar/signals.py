"""What an event's present state means. The kind depends only on the item, except that nothing is created twice.

    status is `cancelled`                         calendar_event_cancelled
    `updated` within 5 s of `created`             calendar_event_created, if not reported with another `updated`
    otherwise                                     calendar_event_updated

The key contains calendar, event and `updated`, so a read after a push, a scheduled read, a full pass after a lost token
and a backfill all make the same key. What we remember of an event besides only completes a bare cancellation, and adds
attributes.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject, one_line
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import Interpretation, Observation, SyncMode
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import Family, SyncContext
from connectors.domain.providers.google_calendar.payloads import NO_TITLE, Calendar, Event, Person, read_event_item
from connectors.domain.providers.toolbox.foreign import read_object, read_text, read_url
from connectors.domain.providers.toolbox.rules import derive_families_by_kind

FAMILY_OF: Mapping[SignalKind, str] = {
    SignalKind.CALENDAR_EVENT_CREATED: "calendar_events",
    SignalKind.CALENDAR_EVENT_UPDATED: "calendar_events",
    SignalKind.CALENDAR_EVENT_CANCELLED: "calendar_cancellations",
}

KINDS = frozenset(FAMILY_OF)

FAMILIES = derive_families_by_kind(
    FAMILY_OF,
    Family(name="calendar_events"),
    # A full pass may show only the id of a deleted event, without a date, and later nothing.
    Family(name="calendar_cancellations", is_backfilled=False),
)
"""A notification only says "something changed" and names no family, so it concerns both."""

CREATION_SPREAD = timedelta(seconds=5)
"""`created` has whole seconds and `updated` milliseconds; those of a new event never differ by more."""

UNTRACKED_TYPES = frozenset({"workingLocation", "focusTime", "birthday", "fromGmail"})
"""Entries that are made automatically, or that are no meetings."""


def observe(calendar: Calendar, event: Event, document: Mapping[str, Any], *, is_full: bool) -> Observation:
    """The observation of an event.

    Args:
        calendar: where it is.
        event: what was read of it.
        document: as Calendar sent it.
        is_full: whether the list shows more than what changed: it may have old cancellations without a time.
    """
    state = {"item": dict(document), "calendar": [calendar.id, calendar.name], "is_full": is_full}
    return Observation(key=f"event:{calendar.id}:{event.id}", state=state)


def interpret(
    ctx: SyncContext,  # noqa: ARG001 - the form's signature
    window: Window,
    observation: Observation,
    previous: Mapping[str, Any] | None,
) -> Interpretation:
    """The signal of an observation, and what to remember."""
    event = read_event_item(observation.state.get("item"))
    names = observation.state.get("calendar")
    if isinstance(event, str) or not isinstance(names, list) or len(names) != 2:  # noqa: PLR2004 - id and name
        return Interpretation(snapshot=previous)
    known = read_object(previous)
    calendar = Calendar(id=str(names[0]), name=str(names[1]))
    draft = _draft(calendar, event, read_object(observation.state.get("item")), previous, window.high)
    is_full = observation.state.get("is_full") is True
    if not window.emits(draft.occurred_at) or not _is_reported(event, window, previous, is_full=is_full):
        # Another run still has to report what is later than this window, and bare cancellations.
        is_anothers = event.updated_at is None or draft.occurred_at > (window.until or draft.occurred_at)
        return Interpretation(snapshot=previous if is_anothers else _snapshot(event, known))
    is_told = draft.kind is SignalKind.CALENDAR_EVENT_CREATED
    return Interpretation(signals=(draft,), snapshot=_snapshot(event, known, is_creation_told=is_told))


def _is_reported(event: Event, window: Window, previous: Mapping[str, Any] | None, *, is_full: bool) -> bool:
    known = read_object(previous)
    if (event.event_type or read_id(known.get("event_type"))) in UNTRACKED_TYPES:
        return False
    was_cancelled = known.get("is_cancelled") is True
    if event.updated_at is not None:
        # The same cancellation once with all fields and once as a bare id is one cancellation.
        return not (event.is_cancelled and was_cancelled and known.get("updated") is None)
    # A bare cancellation is dated by its read, which says nothing of what was long ago.
    if was_cancelled or window.mode is SyncMode.BACKFILL:
        return False
    return previous is not None or not is_full


def _snapshot(event: Event, known: Mapping[str, Any], *, is_creation_told: bool = False) -> dict[str, Any]:
    """What to remember; for a bare cancellation, what was known before."""
    told = {"is_creation_told": True} if is_creation_told or _is_creation_told(known) else {}
    return {
        "title": event.title or known.get("title"),
        "url": event.url or known.get("url"),
        "start": event.start or known.get("start"),
        "end": event.end or known.get("end"),
        "person": [event.person.id, event.person.name] if event.person else known.get("person"),
        "event_type": event.event_type or known.get("event_type"),
        "responses": _digest(event) if not event.is_cancelled else known.get("responses"),
        "is_cancelled": event.is_cancelled,
        "updated": event.updated,
        **told,
    }


def _digest(event: Event) -> str:
    return hashlib.sha256(json.dumps(event.responses).encode()).hexdigest()[:16]


def _is_creation_told(known: Mapping[str, Any]) -> bool:
    return known.get("is_creation_told") is True


def _kind(event: Event, known: Mapping[str, Any]) -> SignalKind:
    if event.is_cancelled:
        return SignalKind.CALENDAR_EVENT_CANCELLED
    is_edited = _is_creation_told(known) and event.updated != known.get("updated")
    is_fresh = event.created_at and event.updated_at and abs(event.updated_at - event.created_at) < CREATION_SPREAD
    return SignalKind.CALENDAR_EVENT_CREATED if is_fresh and not is_edited else SignalKind.CALENDAR_EVENT_UPDATED


def _draft(
    calendar: Calendar,
    event: Event,
    document: Mapping[str, Any],
    previous: Mapping[str, Any] | None,
    read_at: datetime,
) -> SignalDraft:
    known = read_object(previous)
    kind = _kind(event, known)
    title = one_line(event.title or read_text(known.get("title")) or NO_TITLE) or NO_TITLE
    url = event.url or read_url(known.get("url"))
    is_created = kind is SignalKind.CALENDAR_EVENT_CREATED
    person = event.person or _known_person(known)
    state = event.updated or f"cancelled:{event.etag or '-'}"
    derived = {} if is_created or event.is_cancelled else _derive(event, previous)
    return SignalDraft(
        kind=kind,
        occurred_at=(event.created_at if is_created else event.updated_at) or read_at,
        title=title,
        url=url,
        actor=None if person is None else Actor(id=person.id, name=one_line(person.name) or person.id),
        subject=Subject("calendar_event", event.id, title, url),
        container=Container("calendar", calendar.id, one_line(calendar.name) or calendar.id),
        dedupe_key=f"gcal:{calendar.id}:{event.id}:{state}",
        payload={**document, **({"derived": derived} if derived else {})},
    )


def _known_person(known: Mapping[str, Any]) -> Person | None:
    person = known.get("person")
    if not isinstance(person, list) or len(person) != 2:  # noqa: PLR2004 - id and name
        return None
    identifier = read_id(person[0])
    return None if identifier is None else Person(id=identifier, name=read_text(person[1]) or identifier)


def _derive(event: Event, previous: Mapping[str, Any] | None) -> dict[str, bool]:
    """What the update changed, compared with the last known state. One change stays one signal."""
    if previous is None:
        return {"first_seen": True} if event.is_awaiting_answer else {}
    is_moved = (event.start, event.end) != (previous.get("start"), previous.get("end"))
    has_answers = previous.get("responses") not in {None, _digest(event)}
    if is_moved:
        return {"rescheduled": True}
    is_only_answers = has_answers and event.title == previous.get("title")
    return {"rsvp_changed": True} if is_only_answers else {}
