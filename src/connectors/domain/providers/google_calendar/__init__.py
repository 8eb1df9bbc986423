"""Google Calendar: events, and what happens to them."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers._google.hosts import allowed_origins
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.google_calendar.limits import LIMITS
from connectors.domain.providers.google_calendar.oauth import OAUTH
from connectors.domain.providers.google_calendar.signals import FAMILIES, KINDS
from connectors.domain.providers.google_calendar.streams import STREAMS
from connectors.domain.providers.google_calendar.webhooks import WEBHOOKS

GOOGLE_CALENDAR = Provider(
    slug=ProviderSlug("google-calendar"),
    name="Google Calendar",
    description="Events that are created, updated or cancelled, in every calendar of the account.",
    homepage="https://developers.google.com/workspace/calendar/api",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins,
    limits=LIMITS,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    families=FAMILIES,
    settings_prefixes=("GOOGLE",),
)

__all__ = ["GOOGLE_CALENDAR"]
