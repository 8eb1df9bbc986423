"""Domain values to views."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from msgspec import UNSET, UnsetType

from connectors.domain.flows.reading.coverage import FamilyCoverage
from connectors.domain.flows.signals.queries import ConnectionDetails
from connectors.domain.flows.webhooks.subscriptions import webhook_url
from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import Gap
from connectors.domain.model.health import health_of
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.signal import Container, Signal, Subject
from connectors.domain.model.sync import SyncJob
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Subscription, WebhookDelivery
from connectors.domain.providers.contract import Provider
from connectors.entrypoints.flask.request_models import ConnectOptions
from connectors.entrypoints.representation.sync_views import (
    CoverageView,
    FamilyView,
    GapView,
    IntervalView,
    JobView,
    ProgressView,
)
from connectors.entrypoints.representation.views import (
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
    """The connection as far as it knows itself, with its subscriptions where they are given."""
    account = connection.account
    return ConnectionView(
        id=connection.id,
        tenant_id=connection.tenant_id,
        provider=connection.provider,
        account=AccountView(id=account.id, name=account.name, url=account.url),
        status=connection.status,
        status_reason=connection.status_reason,
        health=health_of(connection),
        scopes=connection.scopes,
        expires_at=connection.expires_at,
        metadata=_options_of(connection),
        last_synced_at=connection.last_synced_at,
        last_error=connection.last_error,
        created_at=connection.created_at,
        updated_at=connection.updated_at,
        subscriptions=UNSET if isinstance(subscriptions, UnsetType) else [_subscription(one) for one in subscriptions],
    )


def show_details(details: ConnectionDetails) -> ConnectionView:
    """The connection, with its subscriptions, its next read, and its gaps considered."""
    return attrs.evolve(
        show_connection(details.connection, details.subscriptions),
        health=details.health,
        next_sync_at=details.next_sync_at,
    )


def _subscription(one: Subscription) -> SubscriptionView:
    return SubscriptionView(id=one.id, target=one.target, status=one.status, expires_at=one.expires_at, error=one.error)


def _options_of(connection: Connection) -> dict[str, Any]:
    """What the caller chose for the connection; what its package remembers besides is nobody else's business."""
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


def show_job(job: SyncJob) -> JobView:
    """The job."""
    progress = job.progress
    return JobView(
        id=job.id,
        tenant_id=job.tenant_id,
        connection_id=job.connection_id,
        provider=job.provider,
        type=job.type,
        status=job.status,
        since=job.since,
        until=job.until,
        target=job.target,
        attempts=job.attempts,
        failures=job.failures,
        progress=ProgressView(pages=progress.pages, items=progress.items, signals=progress.signals),
        error=job.error,
        scheduled_at=job.scheduled_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        retry_after=job.retry_after,
        trace_id=job.trace_id,
    )


def show_coverage(connection_id: ConnectionId, families: Sequence[FamilyCoverage]) -> CoverageView:
    """The connection's coverage, family by family."""
    return CoverageView(
        connection_id=connection_id,
        families=[_family(one) for one in families],
        open_gaps=len({gap.id for one in families for gap in one.open_gaps}),
    )


def _family(coverage: FamilyCoverage) -> FamilyView:
    return FamilyView(
        name=coverage.family.name,
        kinds=sorted(coverage.family.kinds),
        paths=coverage.paths,
        intervals=[IntervalView(from_at=one.from_at, to_at=one.to_at, path=one.path) for one in coverage.intervals],
        gaps=[_gap(one) for one in coverage.gaps],
        is_complete=not coverage.open_gaps,
    )


def _gap(gap: Gap) -> GapView:
    return GapView(
        id=gap.id,
        from_at=gap.from_at,
        to_at=gap.to_at,
        cause=gap.cause,
        reason=gap.reason,
        opened_at=gap.opened_at,
        closed_at=gap.closed_at,
        closed_by=gap.closed_by,
    )


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
        # Not str.format: what else stands between braces is the package's own business.
        manual_setup=manual if manual is None or url is None else manual.replace("{webhook_url}", url),
    )
