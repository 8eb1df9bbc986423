"""How providers are shown."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import attrs
from msgspec import Meta

from connectors.domain.flows.webhooks.subscriptions import webhook_url
from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import Provider, SubscriptionScope
from connectors.entrypoints.representation.common import HasMore, NextCursor, Slug


class Capability(StrEnum):
    """What can be done with a provider."""

    WEBHOOKS = "webhooks"
    AUTOMATIC_WEBHOOKS = "automatic_webhooks"
    SYNC = "sync"
    REVOCATION = "revocation"


@attrs.frozen(kw_only=True, slots=False)
class ScopeView:
    """One OAuth scope."""

    name: str
    reason: Annotated[str, Meta(description="Why it is requested.")]
    default: Annotated[bool, Meta(description="Whether it is requested unless the caller names other scopes.")]


@attrs.frozen(kw_only=True, slots=False)
class WebhookSetupView:
    """How a provider's webhooks are set up."""

    url: Annotated[
        str | None,
        Meta(description="With `{tenant_id}` and `{connection_id}` to fill in; null: this service has no public URL."),
    ]
    scope: SubscriptionScope
    automatic: Annotated[bool, Meta(description="Whether connecting an account subscribes it.")]
    manual_setup: Annotated[str | None, Meta(description="What a person has to do, if anything.")]


@attrs.frozen(kw_only=True, slots=False)
class ProviderView:
    """A provider whose accounts can be connected."""

    slug: Slug
    name: Annotated[str, Meta(examples=["GitHub"])]
    description: str
    homepage: str
    auth_type: Annotated[str, Meta(examples=["oauth2"])]
    configured: Annotated[bool, Meta(description="Whether its client id and secret are set here.")]
    scopes: Sequence[ScopeView]
    capabilities: Sequence[Capability]
    signal_kinds: Annotated[Sequence[SignalKind], Meta(description="Every kind of signal that it can give.")]
    webhook: WebhookSetupView | None


@attrs.frozen(kw_only=True, slots=False)
class ProviderList:
    """All providers; there is only one page."""

    providers: Sequence[ProviderView]
    next_cursor: NextCursor = None
    has_more: HasMore = False


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
        # Not str.format: other braces in the text belong to the provider's instructions.
        manual_setup=manual if manual is None or url is None else manual.replace("{webhook_url}", url),
    )
