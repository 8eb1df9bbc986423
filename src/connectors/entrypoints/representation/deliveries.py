"""How webhook deliveries are shown."""

import base64
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import attrs
from msgspec import UNSET, Meta, UnsetType

from connectors.domain.model.webhook import DeliveryStatus, WebhookDelivery
from connectors.entrypoints.representation.common import HasMore, Instant, NextCursor, Slug


class BodyEncoding(StrEnum):
    """How JSON holds a delivery's bytes."""

    UTF8 = "utf-8"
    BASE64 = "base64"


@attrs.frozen(kw_only=True, slots=False)
class DeliveryView:
    """One webhook request as it is stored."""

    id: UUID
    tenant_id: UUID
    provider: Slug
    connection_id: UUID | None
    delivery_id: Annotated[str, Meta(description="The provider's own id for it.")]
    event: Annotated[str | None, Meta(examples=["issues.opened"])]
    status: DeliveryStatus
    error: Annotated[str | None, Meta(description="Why it failed or was ignored.")]
    signal_count: Annotated[int, Meta(ge=0, description="How many signals it added.")]
    received_at: Instant
    headers: Annotated[Mapping[str, str], Meta(description="Secrets removed.")] | UnsetType = UNSET
    body: Annotated[str, Meta(description="Only where one delivery is asked for.")] | UnsetType = UNSET
    encoding: Annotated[BodyEncoding, Meta(description="How `body` holds the bytes.")] | UnsetType = UNSET


@attrs.frozen(kw_only=True, slots=False)
class DeliveryList:
    """A page of deliveries, newest first."""

    deliveries: Sequence[DeliveryView]
    next_cursor: NextCursor
    has_more: HasMore


@attrs.frozen(kw_only=True, slots=False)
class AcceptedView:
    """The delivery is stored."""

    status: Annotated[str, Meta(examples=["accepted"])] = "accepted"


def show_delivery(delivery: WebhookDelivery, *, whole: bool) -> DeliveryView:
    """The delivery; its headers and body only if whole."""
    headers: Mapping[str, str] | UnsetType = UNSET
    body: str | UnsetType = UNSET
    encoding: BodyEncoding | UnsetType = UNSET
    if whole:
        headers = delivery.headers
        body, encoding = _text(delivery.body)
    return DeliveryView(
        id=delivery.id,
        tenant_id=delivery.tenant_id,
        provider=delivery.provider,
        connection_id=delivery.connection_id,
        delivery_id=delivery.delivery_id,
        event=delivery.event,
        status=delivery.status,
        error=delivery.error,
        signal_count=delivery.signal_count,
        received_at=delivery.received_at,
        headers=headers,
        body=body,
        encoding=encoding,
    )


def _text(body: bytes) -> tuple[str, BodyEncoding]:
    try:
        return body.decode(), BodyEncoding.UTF8
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), BodyEncoding.BASE64
