"""Domain values to views."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from msgspec import UNSET, UnsetType

from connectors.domain.flows.subscribing import webhook_url
from connectors.domain.model.connection import Connection
from connectors.domain.model.signal import Container, Signal, Subject
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Subscription, WebhookDelivery
from connectors.domain.providers.contract import Provider
from connectors.entrypoints.flask.inputs import ConnectOptions
from connectors.entrypoints.flask.views import (
    AccountView,
    ActorView,
    BodyEncoding,
    Capability,
    ConnectionView,
    DeliveryView,
    ProviderView,
    ScopeView,
    SignalView,
    SubscriptionView,
    TenantView,
    ThingView,
    WebhookSetupView,
)


def show_connection(
    connection: Connection, subscriptions: Sequence[Subscription] | UnsetType = UNSET
) -> ConnectionView:
    """The connection, with its subscriptions where they are given."""
    account = connection.account
    return ConnectionView(
        id=connection.id,
        tenant_id=connection.tenant_id,
        provider=connection.provider,
        account=AccountView(id=account.id, name=account.name, url=account.url),
        status=connection.status,
        status_reason=connection.status_reason,
        scopes=connection.scopes,
        expires_at=connection.expires_at,
        metadata=_options_of(connection),
        last_synced_at=connection.last_synced_at,
        last_error=connection.last_error,
        created_at=connection.created_at,
        updated_at=connection.updated_at,
        subscriptions=UNSET
        if isinstance(subscriptions, UnsetType)
        else [
            SubscriptionView(
                id=one.id, target=one.target, status=one.status, expires_at=one.expires_at, error=one.error
            )
            for one in subscriptions
        ],
    )


def _options_of(connection: Connection) -> dict[str, Any]:
    """What the caller chose for the connection; what its room remembers besides is nobody else's business."""
    names = {field.name for field in attrs.fields(ConnectOptions)}
    return {name: value for name, value in connection.metadata.items() if name in names}


def show_signal(signal: Signal, *, with_payload: bool) -> SignalView:
    """The signal; its payload only if asked for."""
    actor = signal.actor
    payload: Mapping[str, Any] | UnsetType = UNSET
    if with_payload:
        payload = signal.payload or {}
    return SignalView(
        id=signal.id,
        tenant_id=signal.tenant_id,
        connection_id=signal.connection_id,
        provider=signal.provider,
        kind=signal.kind,
        occurred_at=signal.occurred_at,
        received_at=signal.received_at,
        title=signal.title,
        url=signal.url,
        actor=None if actor is None else ActorView(id=actor.id, name=actor.name, url=actor.url),
        subject=_thing(signal.subject),
        container=None if signal.container is None else _thing(signal.container),
        dedupe_key=signal.dedupe_key,
        origin=signal.origin,
        payload=payload,
    )


def _thing(thing: Subject | Container) -> ThingView:
    return ThingView(type=thing.type, id=thing.id, name=thing.name, url=thing.url)


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


def show_tenant(tenant: Tenant) -> TenantView:
    """The tenant."""
    return TenantView(id=tenant.id, created_at=tenant.created_at)


def show_provider(provider: Provider, *, configured: bool, public_url: str | None) -> ProviderView:
    """The provider's catalog entry."""
    return ProviderView(
        slug=provider.slug,
        name=provider.name,
        description=provider.description,
        homepage=provider.homepage,
        auth_type="oauth2",
        configured=configured,
        scopes=[ScopeView(name=one.name, reason=one.reason, default=one.default) for one in provider.oauth.scopes],
        capabilities=_capabilities(provider),
        signal_kinds=sorted(provider.kinds),
        webhook=_webhook_setup(provider, public_url),
    )


def _capabilities(provider: Provider) -> list[Capability]:
    webhooks = provider.webhooks
    has = {
        Capability.WEBHOOKS: webhooks is not None,
        Capability.AUTOMATIC_WEBHOOKS: webhooks is not None and webhooks.subscriptions is not None,
        Capability.SYNC: provider.sync is not None,
        Capability.REVOCATION: provider.oauth.revoke is not None,
    }
    return [capability for capability, present in has.items() if present]


def _webhook_setup(provider: Provider, public_url: str | None) -> WebhookSetupView | None:
    webhooks = provider.webhooks
    if webhooks is None:
        return None
    url = None
    if public_url is not None:
        url = webhook_url(public_url, webhooks.url_scope, provider.slug, "{tenant_id}", "{connection_id}")
    manual = webhooks.manual_setup
    return WebhookSetupView(
        url=url,
        scope=webhooks.url_scope,
        automatic=webhooks.subscriptions is not None,
        # Not str.format: what else stands between braces is the room's own business.
        manual_setup=manual if manual is None or url is None else manual.replace("{webhook_url}", url),
    )
