"""Gmail's notifications: they come through Cloud Pub/Sub, to one URL for all tenants, with a token that Google signs.

A push names only a mailbox and a history id. Each connection of the mailbox, in any tenant, then reads its history.

Source: developers.google.com/workspace/gmail/api/guides/push; docs.cloud.google.com/pubsub/docs/push.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import AccessLostError, DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.foreign_json import read_json
from connectors.domain.model.http import Conversation, json_request
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import (
    Ignored,
    Subscription,
    VerifiedDelivery,
    WebhookEvent,
    WebhookRequest,
)
from connectors.domain.providers._google.channels import LIFETIME, REMOVE_AT
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers._google.limits import reason_of
from connectors.domain.providers._google.signing_keys import Expected, fetch_signing_keys, verify_push_token
from connectors.domain.providers.contract import (
    ReadContext,
    SubscriptionReceipt,
    SubscriptionRequest,
    Subscriptions,
    SubscriptionScope,
    VerificationMaterial,
    Webhooks,
)
from connectors.domain.providers.gmail.oauth import mailbox_of, mailbox_url
from connectors.domain.providers.toolbox.foreign import read_count, read_millis_instant, read_object

TOPIC_OPTION = "pubsub_topic"
AUDIENCE_OPTION = "push_audience"
ACCOUNT_OPTION = "push_service_account"
SUBSCRIPTION_OPTION = "pubsub_subscription"

EVENT = "mailbox.changed"
EMAIL_ACCOUNT = "email:"
"""Prefix of a mailbox's address, where an event names its account by address and not by Google's `sub`."""
DATA_LIMIT = 4096
"""Characters. The data of a push has about 60 bytes."""

PUBLISHER = "gmail-api-push@system.gserviceaccount.com"
"""Whom Google publishes changes of mailboxes as."""

MANUAL_SETUP = """\
1. In the Google Cloud project of the OAuth client, create a Pub/Sub topic and let
   gmail-api-push@system.gserviceaccount.com publish to it (role Pub/Sub Publisher).
2. Create a service account for pushes, and a push subscription of the topic: endpoint {webhook_url}, authentication
   with that service account, an audience of your choice, expiration "never", acknowledgement deadline 60 s or more.
   Leave "payload unwrapping" off. Pub/Sub's own service agent has to be allowed to make tokens for that account (role
   Service Account Token Creator).
3. Set POBLYSH_GMAIL_PUBSUB_TOPIC (projects/…/topics/…), POBLYSH_GMAIL_PUSH_SERVICE_ACCOUNT (its e-mail address),
   POBLYSH_GMAIL_PUSH_AUDIENCE (left out: the endpoint), and POBLYSH_GMAIL_PUBSUB_SUBSCRIPTION
   (projects/…/subscriptions/…).
Without these, mailboxes are read on schedule only."""


@attrs.frozen(kw_only=True)
class Notification:
    """The data of a push."""

    mailbox: str
    """Lower-case address."""
    history_id: int | None


def read_document(request: WebhookRequest) -> Mapping[str, Any]:
    """The push; empty if its body is no JSON object."""
    try:
        return request.document
    except UnexpectedResponseError:
        return {}


def read_notification(document: Mapping[str, Any]) -> Notification | None:
    """The notification in a push; None for anything else that was published to the topic."""
    data = read_object(document.get("message")).get("data")
    if not isinstance(data, str) or len(data) > DATA_LIMIT or not data.isascii():
        return None
    # Both base64 and base64url occur, with and without padding.
    text = data.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        content = read_object(read_json(base64.b64decode(text + "=" * (-len(text) % 4), validate=True)))
    except (binascii.Error, UnexpectedResponseError):
        return None
    address = read_id(content.get("emailAddress"))
    if address is None:
        return None
    return Notification(mailbox=address.strip().lower(), history_id=read_count(content.get("historyId")))


def delivery_id(request: WebhookRequest) -> str:
    """The message's id, the same on every redelivery; a hash of the body if there is none."""
    message = read_object(read_document(request).get("message"))
    named = read_id(message.get("messageId")) or read_id(message.get("message_id"))
    return named or hashlib.sha256(request.body).hexdigest()


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if its bearer token proves that our Pub/Sub subscription sent it.

    Raises:
        DeliveryRejectedError: it does not, or the settings name no service account.
    """
    account = None if material.app is None else material.app.options[ACCOUNT_OPTION]
    if material.app is None or account is None:
        raise DeliveryRejectedError(
            "No push service account is configured.",
            next_step="Set POBLYSH_GMAIL_PUSH_SERVICE_ACCOUNT to the push service account.",
        )
    # A push subscription without an audience of its own uses its endpoint.
    audience = material.app.options[AUDIENCE_OPTION] or request.url.partition("?")[0]
    claims = verify_push_token(
        request.headers.get("authorization", ""),
        material.keys,
        Expected(audience=audience, email=account),
        material.now,
    )
    return VerifiedDelivery(request=request, delivery_id=delivery_id(request), via=material.via, claims=claims)


def read_event(delivery: VerifiedDelivery, ctx: ReadContext) -> WebhookEvent | Ignored:
    """A mailbox has changed.

    Unreadable messages are ignored, and so acknowledged: otherwise Pub/Sub would repeat them for a week.
    """
    document = read_document(delivery.request)
    pinned = None if ctx.app is None else ctx.app.options[SUBSCRIPTION_OPTION]
    if pinned and document.get("subscription") != pinned:
        return Ignored(EVENT, "of another Pub/Sub subscription")
    account_ids = read_accounts(delivery)
    if not account_ids:
        return Ignored(EVENT, "malformed data")
    return WebhookEvent(event=EVENT, account_ids=account_ids, needs_sync=True)


def read_accounts(delivery: VerifiedDelivery) -> tuple[str, ...]:
    """The mailbox, by its address."""
    notification = read_notification(read_document(delivery.request))
    return () if notification is None else (EMAIL_ACCOUNT + notification.mailbox,)


def to_signals(delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    """The event; without its read if this connection has already read past its history id."""
    notification = read_notification(read_document(delivery.request))
    read_up_to = read_count(connection.metadata.get("history_id"))
    if notification is None or notification.history_id is None or read_up_to is None:
        return event
    return attrs.evolve(event, needs_sync=False) if notification.history_id <= read_up_to else event


# --- the watch -----------------------------------------------------------------------------------------------------


def targets(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The mailbox, if there is a topic to publish to."""
    yield from ()
    return (mailbox_of(connection),) if app.options[TOPIC_OPTION] else ()


def subscribe(
    app: ProviderApp, connection: Connection, request: SubscriptionRequest
) -> Conversation[SubscriptionReceipt]:
    """Watch the mailbox. Another call extends the same watch."""
    return (yield from _watch(app, connection, request.subscription, request.expires_at))


def renew(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[SubscriptionReceipt]:
    """The same call again."""
    return (yield from _watch(app, connection, subscription, subscription.expires_at))


def _watch(
    app: ProviderApp, connection: Connection, subscription: Subscription, known_end: datetime | None
) -> Conversation[SubscriptionReceipt]:
    topic = app.options[TOPIC_OPTION] or str(subscription.metadata.get("topic", ""))
    # No labels means all: a filter would leave out mail that skips the inbox, and changes of archived mail.
    document = {"topicName": topic}
    try:
        response = yield json_request("POST", mailbox_url(app) + "/watch", document)
    except AccessLostError as error:
        if reason_of(error) not in {"forbidden", "PERMISSION_DENIED"}:
            raise
        raise AccessLostError(
            "Gmail may not publish to the Pub/Sub topic.",
            details=error.details,
            next_step=f"Grant {PUBLISHER} the role Pub/Sub Publisher on the topic; a policy that restricts sharing to "
            "the organization's own domains has to allow it.",
        ) from error
    except UnexpectedResponseError as error:
        if reason_of(error) not in {"failedPrecondition", "FAILED_PRECONDITION"}:
            raise
        raise UnexpectedResponseError(
            "Gmail does not watch this mailbox: another topic of the same Cloud project already does, or its mail "
            "service is off.",
            details=error.details,
            next_step="Use one Pub/Sub topic for all environments of a Cloud project, or stop the other watch.",
        ) from error
    answer = response.json_object()
    return SubscriptionReceipt(
        external_id=mailbox_of(connection),
        # A watch always ends: if Google names no time, no later than the known one.
        expires_at=read_millis_instant(answer.get("expiration")) or known_end,
        metadata={"topic": topic},
    )


def unsubscribe(
    app: ProviderApp,
    connection: Connection,  # noqa: ARG001 - the token says whose mailbox it is
    subscription: Subscription,  # noqa: ARG001 - a mailbox has one watch
) -> Conversation[None]:
    """End the watch. A mailbox without one accepts the call too."""
    yield json_request("POST", mailbox_url(app) + "/stop", {}, expects=frozenset({404}))


def address(app: ProviderApp, callback_url: str) -> str | None:  # noqa: ARG001 - Pub/Sub has the URL
    """The topic; None without one."""
    topic: str | None = app.options[TOPIC_OPTION]
    return topic or None


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.APP,
    read_delivery_id=delivery_id,
    verify=verify,
    read_event=read_event,
    read_accounts=read_accounts,
    to_signals=to_signals,
    subscriptions=Subscriptions(
        targets=targets,
        subscribe=subscribe,
        unsubscribe=unsubscribe,
        renew=renew,
        lifetime=LIFETIME,
        is_one_per_user=True,  # a mailbox has one watch per Cloud project, and this service is one project
        remove_at=REMOVE_AT,
        address=address,
        one_address=True,
    ),
    manual_setup=MANUAL_SETUP,
    signing_keys=fetch_signing_keys,
    secret_headers=frozenset({"authorization"}),
)
