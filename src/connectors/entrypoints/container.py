"""The graph: every flow, from the ports that it needs. `in_memory.py` and `production.py` fill the ports."""

from collections.abc import Callable, Mapping

from dependency_injector import containers, providers

from connectors.domain.flows.browse import BrowseFlow
from connectors.domain.flows.connect import ConnectFlow, ConnectSettings
from connectors.domain.flows.converse import Converser
from connectors.domain.flows.disconnect import DisconnectFlow
from connectors.domain.flows.ingest import IngestFlow
from connectors.domain.flows.renewing import RenewFlow
from connectors.domain.flows.senders import SenderVerifier
from connectors.domain.flows.signing_keys import SigningKeyCache
from connectors.domain.flows.subscribing import Subscriber
from connectors.domain.flows.sync import SyncFlow
from connectors.domain.flows.tokens import TokenKeeper
from connectors.domain.flows.webhook_secrets import WebhookSecretFlow
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.library import Connectors, Readiness
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.provider_api import ProviderApi
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWorkFactory
from connectors.ports.vault import Vault


class Container(containers.DeclarativeContainer):
    """Every flow, from the ports that it needs."""

    unit_of_work: providers.Dependency[UnitOfWorkFactory] = providers.Dependency()
    vault: providers.Dependency[Vault] = providers.Dependency()
    clock: providers.Dependency[Clock] = providers.Dependency()
    entropy: providers.Dependency[Entropy] = providers.Dependency()
    provider_api: providers.Dependency[ProviderApi] = providers.Dependency()
    token_endpoint: providers.Dependency[TokenEndpoint] = providers.Dependency()
    registry: providers.Dependency[ProviderRegistry] = providers.Dependency()
    apps: providers.Dependency[Mapping[ProviderSlug, ProviderApp]] = providers.Dependency()
    connect_settings: providers.Dependency[ConnectSettings] = providers.Dependency()
    public_url: providers.Dependency[str | None] = providers.Dependency()
    check_readiness: providers.Dependency[Callable[[], Readiness]] = providers.Dependency()
    close: providers.Dependency[Callable[[], None]] = providers.Dependency()

    converser = providers.Singleton(Converser, api=provider_api, clock=clock)
    keeper = providers.Singleton(
        TokenKeeper,
        unit_of_work=unit_of_work,
        vault=vault,
        token_endpoint=token_endpoint,
        clock=clock,
        providers=registry,
        apps=apps,
    )
    subscriber = providers.Singleton(
        Subscriber,
        unit_of_work=unit_of_work,
        vault=vault,
        converser=converser,
        clock=clock,
        entropy=entropy,
        public_url=public_url,
    )
    disconnect = providers.Singleton(
        DisconnectFlow,
        unit_of_work=unit_of_work,
        converser=converser,
        keeper=keeper,
        subscriber=subscriber,
        clock=clock,
        providers=registry,
        apps=apps,
    )
    connect = providers.Singleton(
        ConnectFlow,
        disconnect=disconnect,
        unit_of_work=unit_of_work,
        vault=vault,
        token_endpoint=token_endpoint,
        converser=converser,
        keeper=keeper,
        subscriber=subscriber,
        clock=clock,
        entropy=entropy,
        providers=registry,
        apps=apps,
        settings=connect_settings,
    )
    renew = providers.Singleton(
        RenewFlow,
        unit_of_work=unit_of_work,
        subscriber=subscriber,
        keeper=keeper,
        clock=clock,
        providers=registry,
        apps=apps,
    )
    signing_keys = providers.Singleton(SigningKeyCache, converser=converser, clock=clock)
    senders = providers.Singleton(SenderVerifier, vault=vault, clock=clock, entropy=entropy, apps=apps)
    ingest = providers.Singleton(
        IngestFlow,
        unit_of_work=unit_of_work,
        senders=senders,
        signing_keys=signing_keys,
        clock=clock,
        entropy=entropy,
        providers=registry,
        apps=apps,
    )
    webhook_secrets = providers.Singleton(
        WebhookSecretFlow,
        unit_of_work=unit_of_work,
        vault=vault,
        clock=clock,
        entropy=entropy,
        providers=registry,
        public_url=public_url,
    )
    browse = providers.Singleton(BrowseFlow, unit_of_work=unit_of_work, clock=clock)
    sync = providers.Singleton(
        SyncFlow,
        unit_of_work=unit_of_work,
        converser=converser,
        keeper=keeper,
        clock=clock,
        entropy=entropy,
        providers=registry,
        apps=apps,
    )
    connectors = providers.Singleton(
        Connectors,
        providers=registry,
        apps=apps,
        connect=connect,
        disconnect=disconnect,
        renew=renew,
        ingest=ingest,
        webhook_secrets=webhook_secrets,
        browse=browse,
        sync=sync,
        clock=clock,
        public_url=public_url,
        check_readiness=check_readiness,
        close=close,
    )
