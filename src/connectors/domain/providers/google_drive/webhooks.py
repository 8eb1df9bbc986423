"""Drive's notifications: one channel on the change log, and one on each followed shared drive's.

Source: developers.google.com/workspace/drive/api/guides/push.
"""

from urllib.parse import parse_qs, urlsplit

from connectors.domain.model.connection import Connection
from connectors.domain.model.http import Conversation, with_query
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
from connectors.domain.providers.google_drive.logs import (
    DRIVE_TARGET,
    USER_LOG,
    USER_TARGET,
    find_logs,
    get_start_token,
    key_of,
    log_parameters,
    read_drive_id,
)

CHANGE_STATES = frozenset({"change", "changed"})
"""The reference says `change`; one of the vendor's samples prints `changed`."""


def read_event(delivery: VerifiedDelivery, ctx: ReadContext) -> WebhookEvent | Ignored:  # noqa: ARG001
    """A notification has no contents: it means "read the change log from its token"."""
    state = read_id(delivery.request.headers.get(STATE_HEADER)) or "unknown"
    if state == SYNC_STATE:
        return Ignored(SYNC_STATE, "the channel is open; nothing has changed")
    if state not in CHANGE_STATES:
        return Ignored(state)
    log = read_log(delivery.request.headers.get(RESOURCE_URI_HEADER, ""))
    return WebhookEvent(event="change", needs_sync=True, sync_target=None if log is None else key_of(log))


def read_log(uri: str) -> str | None:
    """The shared drive of a resource URI; None, which means all logs, for the user's own.

    The user's channel also reports shared drives that have no channel, and that a drive was joined.
    """
    try:
        drives = parse_qs(urlsplit(uri).query).get("driveId", [])
    except ValueError:
        return None
    return read_drive_id(drives[0]) if len(drives) == 1 else None


def targets(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The user's own change log, and that of every shared drive that is followed."""
    logs = yield from find_logs(app, connection)
    return tuple(USER_TARGET if log == USER_LOG else DRIVE_TARGET + log for log in logs)


def subscribe(
    app: ProviderApp,
    connection: Connection,  # noqa: ARG001 - the token says whose log it is
    request: SubscriptionRequest,
) -> Conversation[SubscriptionReceipt]:
    """Open a channel on the log that the target names."""
    target = request.subscription.target
    log = target.removeprefix(DRIVE_TARGET) if target.startswith(DRIVE_TARGET) else USER_LOG
    token = yield from get_start_token(app, log)
    url = with_query(
        url_of(app, Endpoint.DRIVE) + "/changes/watch",
        {"pageToken": token, "includeRemoved": "true", **log_parameters(log)},
    )
    return (yield from watch(url, request, {"log": log}))


def unsubscribe(
    app: ProviderApp,
    connection: Connection,  # noqa: ARG001
    subscription: Subscription,
) -> Conversation[None]:
    """Close the channel."""
    yield from stop(url_of(app, Endpoint.DRIVE) + "/channels/stop", subscription)


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
