"""Calendar's scopes and their reasons."""

from connectors.domain.providers._google.oauth import google_oauth
from connectors.domain.providers.contract import Scope

EVENTS_SCOPE = "https://www.googleapis.com/auth/calendar.events.readonly"
LIST_SCOPE = "https://www.googleapis.com/auth/calendar.calendarlist.readonly"

OAUTH = google_oauth(
    (
        Scope(EVENTS_SCOPE, "to read events and be notified when they change"),
        Scope(LIST_SCOPE, "to learn which calendars the account has"),
    )
)
