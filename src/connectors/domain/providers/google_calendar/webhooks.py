"""Calendar's notifications: one channel per calendar; each only says "something changed here".

Source: developers.google.com/workspace/calendar/api/guides/push.
"""

import re
from urllib.parse import unquote, urlsplit

from connectors.domain.model.connection import Connection
from connectors.domain.model.http import Conversation
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import Ignored, Subscription, VerifiedDelivery, WebhookEvent
from connectors.domain.providers._google.channels import (
    LIFETIME,
    REMOVE_AT,
    RESOURCE_URI_HEADER,
    SECRET_HEADERS,
    STATE_HEADER,
    SYNC_STATE,
    read_hints,
    read_subscription_metadata,
    stop,
    verify,
    watch,
)
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import (
    ReadContext,
    SubscriptionReceipt,
    SubscriptionRequest,
    Subscriptions,
    SubscriptionScope,
    Webhooks,
)
from connectors.domain.providers.google_calendar.calendars import list_calendars, stream_key
from connectors.domain.providers.google_calendar.streams import events_url

CHANGE_STATES = frozenset({"exists", "not_exists"})
"""Something changed, or the calendar is gone, which the read finds out."""

CALENDAR_PATH = re.compile(r"/calendars/([^/]+)/events$")


def read_event(delivery: VerifiedDelivery, ctx: ReadContext) -> WebhookEvent | Ignored:  # noqa: ARG001
    """A notification has no contents: it means "read this calendar from its bookmark"."""
    state = read_id(delivery.request.headers.get(STATE_HEADER)) or "unknown"
    if state == SYNC_STATE:
        return Ignored(SYNC_STATE, "the channel is open; nothing has changed")
    if state not in CHANGE_STATES:
        return Ignored(state)
    calendar_id = read_calendar_id(delivery.request.headers.get(RESOURCE_URI_HEADER, ""))
    target = None if calendar_id is None else stream_key(calendar_id)
    return WebhookEvent(event=state, needs_sync=True, sync_target=target)


def read_calendar_id(uri: str) -> str | None:
    """The calendar of a resource URI; None, which means all, if it is unknown."""
    try:
        found = CALENDAR_PATH.search(urlsplit(uri).path)
    except ValueError:
        return None
    return read_id(unquote(found.group(1))) if found else None


def targets(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """Every calendar of the account that is read."""
    calendars = yield from list_calendars(app, connection)
    return tuple(calendar.id for calendar in calendars)


def subscribe(
    app: ProviderApp,
    connection: Connection,  # noqa: ARG001 - the token says whose calendar it is
    request: SubscriptionRequest,
) -> Conversation[SubscriptionReceipt]:
    """Open a channel on the calendar that the target names; generated ones (holidays, birthdays) have none."""
    return (yield from watch(events_url(app, request.subscription.target) + "/watch", request))


def unsubscribe(
    app: ProviderApp,
    connection: Connection,  # noqa: ARG001
    subscription: Subscription,
) -> Conversation[None]:
    """Close the channel."""
    yield from stop(url_of(app, Endpoint.CALENDAR) + "/channels/stop", subscription)


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.TENANT,
    read_hints=read_hints,
    verify=verify,
    read_event=read_event,
    subscriptions=Subscriptions(
        targets=targets, subscribe=subscribe, unsubscribe=unsubscribe, lifetime=LIFETIME, remove_at=REMOVE_AT
    ),
    read_subscription_metadata=read_subscription_metadata,
    secret_headers=SECRET_HEADERS,
)
