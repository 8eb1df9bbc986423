"""A complete system in memory: which adapters fill the ports when there is neither database nor network."""

from collections.abc import Mapping
from datetime import timedelta

import attrs
from dependency_injector import providers

from connectors.adapters.aesgcm import AesGcmVault, KeyRing, generate_key
from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.job_queue import MemoryWorker
from connectors.adapters.memory.provider_api import MemoryProviderApi, MemoryTokenEndpoint, Responder, no_network
from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.entropy import SystemEntropy
from connectors.domain.flows.connections.connect import ConnectSettings
from connectors.domain.flows.provider_access.tokens import LEASE_LIFETIME
from connectors.domain.flows.reading.concurrency import ConcurrencySettings
from connectors.domain.flows.reading.schedule import ScheduleSettings
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors.entrypoints.container import Container
from connectors.entrypoints.library import Connectors, Readiness
from connectors.ports.clock import Clock
from connectors.ports.telemetry import NullTelemetry, Telemetry

TIME_SLICE = timedelta(seconds=10)
"""As in production, though nobody else waits."""


def in_memory(
    *,
    respond: Responder | None,
    registry: ProviderRegistry | None,
    apps: Mapping[ProviderSlug, ProviderApp] | None,
    clock: Clock | None,
    redirect_uri: str,
    public_url: str | None,
    telemetry: Telemetry | None,
) -> Connectors:
    """What `Connectors.in_memory` says."""
    respond = respond or no_network
    registry = registry or installed_providers()
    clock = clock or SystemClock()
    database = MemoryDatabase(clock.now)
    container = Container(
        unit_of_work=providers.Object(memory_unit_of_work(database)),
        vault=AesGcmVault(KeyRing.parse(generate_key("memory"))),
        clock=clock,
        entropy=SystemEntropy(),
        provider_api=MemoryProviderApi(respond),
        token_endpoint=MemoryTokenEndpoint(respond),
        registry=registry,
        apps=providers.Object(_complete_apps(registry, _made_up_apps(registry) if apps is None else apps)),
        connect_settings=ConnectSettings(redirect_uri=redirect_uri),
        public_url=providers.Object(public_url),
        schedule_settings=ScheduleSettings(),
        concurrency_settings=ConcurrencySettings(),
        lease_lifetime=providers.Object(LEASE_LIFETIME),
        time_slice=providers.Object(TIME_SLICE),
        telemetry=telemetry or NullTelemetry(),
        empty_queue=providers.Object(lambda tasks: MemoryWorker(database, tasks.handle_task).run_pending()),
        check_readiness=providers.Object(lambda: Readiness({"memory": "ok"})),
        close=providers.Object(lambda: None),
    )
    return container.connectors()


def _complete_apps(
    registry: ProviderRegistry, apps: Mapping[ProviderSlug, ProviderApp]
) -> dict[ProviderSlug, ProviderApp]:
    """The apps, with the default of every option that they leave out."""
    defaults = {provider.slug: provider.read_options({}) for provider in registry}
    return {slug: attrs.evolve(app, options={**defaults.get(slug, {}), **app.options}) for slug, app in apps.items()}


def _made_up_apps(registry: ProviderRegistry) -> dict[ProviderSlug, ProviderApp]:
    return {
        provider.slug: ProviderApp(
            provider=provider.slug,
            client_id=f"{provider.slug}-client",
            client_secret=Secret(f"{provider.slug}-secret"),
            webhook_secrets=(Secret("webhook-secret"),),
        )
        for provider in registry
    }
