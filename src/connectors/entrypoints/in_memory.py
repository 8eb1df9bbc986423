"""The ports of a system in memory: what stands in where there is neither a database nor a network."""

from collections.abc import Callable, Mapping

import attrs

from connectors.adapters.aesgcm import AesGcmVault, KeyRing, generate_key
from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.job_queue import MemoryWorker
from connectors.adapters.memory.provider_api import MemoryProviderApi, MemoryTokenEndpoint, Responder, no_network
from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.entropy import SystemEntropy
from connectors.adapters.system.single_flight import ThreadSingleFlight
from connectors.domain.flows.connections.authorization import ConnectSettings
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors.entrypoints.container import Container, FlowSettings, Ports, Readiness, fill
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.provider_api import ProviderApi
from connectors.ports.single_flight import SingleFlight
from connectors.ports.telemetry import NullTelemetry, Telemetry
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWorkFactory
from connectors.ports.vault import Vault


def memory_container(
    *,
    respond: Responder | None,
    registry: ProviderRegistry | None,
    apps: Mapping[ProviderSlug, ProviderApp] | None,
    redirect_uri: str,
    public_url: str | None,
    clock: Clock | None,
    entropy: Entropy | None,
    single_flight: SingleFlight | None,
    telemetry: Telemetry | None,
    vault: Vault | None,
    provider_api: ProviderApi | None,
    token_endpoint: TokenEndpoint | None,
    database: MemoryDatabase | None,
    unit_of_work: UnitOfWorkFactory | None,
    settings: Callable[[FlowSettings], FlowSettings] | None,
) -> Container:
    """The ports that `Connectors.in_memory` describes."""
    respond = respond or no_network
    clock = clock or SystemClock()
    stored = database or MemoryDatabase(clock.now)
    providers = registry or installed_providers()
    usual = FlowSettings(
        providers=providers,
        apps=_complete_apps(providers, _made_up_apps(providers) if apps is None else apps),
        public_url=public_url,
        connect=ConnectSettings(redirect_uri=redirect_uri),
    )
    return fill(
        Ports(
            unit_of_work=unit_of_work or memory_unit_of_work(stored),
            vault=vault or AesGcmVault(KeyRing.parse(generate_key("memory"))),
            clock=clock,
            entropy=entropy or SystemEntropy(),
            single_flight=single_flight or ThreadSingleFlight(),
            provider_api=provider_api or MemoryProviderApi(respond),
            token_endpoint=token_endpoint or MemoryTokenEndpoint(respond),
            telemetry=telemetry or NullTelemetry(),
            settings=usual if settings is None else settings(usual),
            empty_queue=lambda tasks: MemoryWorker(stored, tasks.handle_task).run_pending(),
            check_readiness=lambda: Readiness({"memory": "ok"}),
            close=lambda: None,
        )
    )


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
