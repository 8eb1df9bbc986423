"""Push channels of Drive and Calendar. A notification only says "something changed", and carries the token we chose.

A channel's id is our subscription's id, so that the `sync` message finds its secret, even if it arrives before the
answer that creates the channel. Bodies are empty or ignored: what changed is always read through the API.

Source: developers.google.com/workspace/drive/api/guides/push and …/calendar/api/guides/push.
"""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from connectors.domain.model.errors import DeliveryRejectedError, RefusedForGoodError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, json_request
from connectors.domain.model.instant import epoch_seconds
from connectors.domain.model.webhook import DeliveryHints, Subscription, VerifiedDelivery, WebhookRequest
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers._google.limits import reason_of
from connectors.domain.providers.contract import SubscriptionReceipt, SubscriptionRequest, VerificationMaterial
from connectors.domain.providers.toolbox.foreign import read_millis_instant
from connectors.domain.providers.toolbox.signatures import is_made_with

LIFETIME = timedelta(days=7)
"""The longest lifetime of a Drive changes channel, and Calendar's default."""

REMOVE_AT = "It ends by itself within 7 days: Google shows it to nobody"
"""Where a person removes one."""

CHANNEL_HEADER = "x-goog-channel-id"
TOKEN_HEADER = "x-goog-channel-token"  # noqa: S105 - a header's name
STATE_HEADER = "x-goog-resource-state"
RESOURCE_URI_HEADER = "x-goog-resource-uri"
RESOURCE_HEADER = "x-goog-resource-id"
NUMBER_HEADER = "x-goog-message-number"

RESOURCE = "resource_id"
"""Where a subscription's metadata has the resource id."""

SECRET_HEADERS = frozenset({TOKEN_HEADER})

SYNC_STATE = "sync"
"""The first message of a channel: it exists, and nothing has changed."""

NOT_UNIQUE = "channelIdNotUnique"
NO_PUSH = "pushNotSupportedForRequestedResource"


def read_hints(request: WebhookRequest) -> DeliveryHints:
    """Channel and message number: together they identify a delivery. Numbers count per channel.

    The resource id is what stopping the channel needs: the answer that gave it may be lost.
    """
    channel = read_id(request.headers.get(CHANNEL_HEADER))
    number = read_id(request.headers.get(NUMBER_HEADER))
    delivery_id = f"{channel}:{number}" if channel is not None and number is not None else None
    resource = read_id(request.headers.get(RESOURCE_HEADER))
    metadata = {} if resource is None else {RESOURCE: resource}
    return DeliveryHints(delivery_id=delivery_id, subscription_external_id=channel, metadata=metadata)


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if it carries the token that we gave the channel. Google signs nothing.

    Raises:
        DeliveryRejectedError: we know no token, none or a wrong one was sent, or the notification is of another channel
            or resource.
    """
    hints = read_hints(request)
    if hints.delivery_id is None:
        raise DeliveryRejectedError("The notification names no channel and message number.")
    if not material.secrets:
        raise DeliveryRejectedError("No channel with this id is known here.")
    if not is_made_with(material.secrets, request.headers.get(TOKEN_HEADER, ""), bytes):
        raise DeliveryRejectedError("The channel token is missing or does not match.")
    if material.subscription is not None:
        if not is_of_channel(hints.subscription_external_id, material.subscription):
            raise DeliveryRejectedError("The notification is of another channel.")
        if not is_of_resource(request, material.subscription):
            raise DeliveryRejectedError("The channel was not made for this resource.")
    return VerifiedDelivery(request=request, delivery_id=hints.delivery_id, via=material.via)


def is_of_channel(channel: str | None, subscription: Subscription) -> bool:
    """Whether this is the subscription's channel. The token is not enough: two channels of a tenant may share one."""
    return channel in (str(subscription.id), subscription.external_id)


def is_of_resource(request: WebhookRequest, subscription: Subscription) -> bool:
    """Whether the notification is about the resource that the channel was made for, if both name one."""
    known = subscription.metadata.get(RESOURCE)
    claimed = request.headers.get(RESOURCE_HEADER)
    return known is None or claimed is None or known == claimed


def read_subscription_metadata(delivery: VerifiedDelivery) -> Mapping[str, Any]:
    """The resource's id, which closing the channel needs."""
    resource = read_id(delivery.request.headers.get(RESOURCE_HEADER))
    return {} if resource is None else {"resource_id": resource}


def watch(
    url: str, request: SubscriptionRequest, parameters: Mapping[str, Any] | None = None
) -> Conversation[SubscriptionReceipt]:
    """Open a channel on the collection at `url`.

    Args:
        url: of the collection's `watch` method, with its query.
        request: what to open. Two calls for one subscription give the same channel.
        parameters: what is needed to make the same channel again; stored with the subscription.

    Raises:
        RefusedForGoodError: the resource is of a kind that never notifies (reason `NO_PUSH`), so it is polled.
        AccessLostError: the resource is gone.
    """
    channel = str(request.subscription.id)
    document: dict[str, Any] = {
        "id": channel,
        "type": "web_hook",
        "address": request.callback_url,
        "token": request.secret.reveal(),
    }
    if request.expires_at is not None:
        document["expiration"] = str(epoch_seconds(request.expires_at) * 1000)
    else:
        document["params"] = {"ttl": str(int(LIFETIME.total_seconds()))}
    metadata = dict(parameters or {})
    try:
        response = yield json_request("POST", url, document)
    except UnexpectedResponseError as error:
        if reason_of(error) == NO_PUSH:
            raise RefusedForGoodError(
                "Google does not push changes of this resource; it is polled.", details=error.details
            ) from error
        if reason_of(error) != NOT_UNIQUE:
            raise
        # An earlier attempt opened the channel, and its answer was lost with the resource id that stopping needs. The
        # channel cannot outlive a lifetime counted from that attempt.
        ends_at = request.subscription.created_at + LIFETIME
        return SubscriptionReceipt(external_id=channel, expires_at=ends_at, metadata=metadata)
    answer = response.json_object()
    if (resource := read_id(answer.get("resourceId"))) is not None:
        metadata[RESOURCE] = resource
    return SubscriptionReceipt(
        external_id=channel,
        # Google may grant another expiry than we asked for.
        expires_at=read_millis_instant(answer.get("expiration")) or request.expires_at,
        metadata=metadata,
    )


def stop(url: str, subscription: Subscription) -> Conversation[None]:
    """Close the channel. One that Google does not know, or that has lapsed, counts as closed.

    Raises:
        UnexpectedResponseError: Google has not said yet which resource the channel is on. Its next delivery does.
    """
    resource = subscription.metadata.get("resource_id")
    channel = subscription.external_id
    if channel is None or not isinstance(resource, str):
        raise UnexpectedResponseError("Google has not said which resource the channel is on: its next delivery does.")
    document = {"id": channel, "resourceId": resource}
    yield json_request("POST", url, document, expects=frozenset({HTTPStatus.NOT_FOUND}))
