"""The graph: every flow, from the ports that it needs. `in_memory.py` and `production.py` fill the ports."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from dependency_injector import containers, providers

from connectors.domain.flows.admission import Admission, ConcurrencySettings
from connectors.domain.flows.browse import BrowseFlow
from connectors.domain.flows.connect import ConnectFlow, ConnectSettings
from connectors.domain.flows.connection_settings import ConnectionSettingsFlow
from connectors.domain.flows.converse import Converser
from connectors.domain.flows.coverage import CoverageFlow, Ledger
from connectors.domain.flows.disconnect import DisconnectFlow
from connectors.domain.flows.ingest import IngestFlow
from connectors.domain.flows.measuring import MeasureFlow
from connectors.domain.flows.renewing import RenewFlow
from connectors.domain.flows.scheduling import ScheduleFlow, Scheduler, ScheduleSettings
from connectors.domain.flows.senders import SenderVerifier
from connectors.domain.flows.signing_keys import SigningKeyCache
from connectors.domain.flows.subscribing import Subscriber
from connectors.domain.flows.sync import SyncFlow
from connectors.domain.flows.sync_pages import PageKeeper
from connectors.domain.flows.sync_requests import SyncRequests
from connectors.domain.flows.tending import TendFlow
from connectors.domain.flows.tokens import TokenKeeper
from connectors.domain.flows.webhook_secrets import WebhookSecretFlow
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.library import Connectors, Readiness
from connectors.entrypoints.worker import TicketHandler
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.provider_api import ProviderApi
from connectors.ports.telemetry import Telemetry
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
    schedule_settings: providers.Dependency[ScheduleSettings] = providers.Dependency()
    concurrency: providers.Dependency[ConcurrencySettings] = providers.Dependency()
    lease_lifetime: providers.Dependency[timedelta] = providers.Dependency()
    turn: providers.Dependency[timedelta] = providers.Dependency()
    telemetry: providers.Dependency[Telemetry] = providers.Dependency()
    empty_queue: providers.Dependency[Callable[[TicketHandler], int]] = providers.Dependency()
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
        telemetry=telemetry,
        lease_lifetime=lease_lifetime,
    )
    ledger = providers.Singleton(Ledger, clock=clock, entropy=entropy)
    scheduler = providers.Singleton(Scheduler, clock=clock, entropy=entropy, settings=schedule_settings)
    jobs = providers.Singleton(
        SyncRequests, unit_of_work=unit_of_work, clock=clock, entropy=entropy, providers=registry
    )
    schedule = providers.Singleton(
        ScheduleFlow,
        unit_of_work=unit_of_work,
        clock=clock,
        providers=registry,
        scheduler=scheduler,
        requests=jobs,
        settings=schedule_settings,
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
        requests=jobs,
        ledger=ledger,
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
        requests=jobs,
        scheduler=scheduler,
        ledger=ledger,
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
        requests=jobs,
        ledger=ledger,
        telemetry=telemetry,
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
    connection_settings = providers.Singleton(
        ConnectionSettingsFlow, unit_of_work=unit_of_work, clock=clock, providers=registry, scheduler=scheduler
    )
    browse = providers.Singleton(BrowseFlow, unit_of_work=unit_of_work, clock=clock)
    admission = providers.Singleton(Admission, settings=concurrency, entropy=entropy)
    pages = providers.Singleton(
        PageKeeper,
        unit_of_work=unit_of_work,
        clock=clock,
        entropy=entropy,
        requests=jobs,
        admission=admission,
        scheduler=scheduler,
        ledger=ledger,
    )
    sync = providers.Singleton(
        SyncFlow,
        unit_of_work=unit_of_work,
        converser=converser,
        keeper=keeper,
        clock=clock,
        entropy=entropy,
        providers=registry,
        apps=apps,
        pages=pages,
        admission=admission,
        scheduler=scheduler,
        telemetry=telemetry,
    )
    tend = providers.Singleton(
        TendFlow,
        unit_of_work=unit_of_work,
        subscriber=subscriber,
        converser=converser,
        keeper=keeper,
        ledger=ledger,
        scheduler=scheduler,
        clock=clock,
        telemetry=telemetry,
        providers=registry,
        apps=apps,
    )
    coverage = providers.Singleton(CoverageFlow, unit_of_work=unit_of_work, providers=registry)
    measurements = providers.Singleton(MeasureFlow, unit_of_work=unit_of_work, clock=clock)
    tickets = providers.Singleton(
        TicketHandler,
        unit_of_work=unit_of_work,
        sync=sync,
        tend=tend,
        keeper=keeper,
        schedule=schedule,
        turn=turn,
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
        connection_settings=connection_settings,
        browse=browse,
        sync=sync,
        jobs=jobs,
        tend=tend,
        coverage=coverage,
        schedule=schedule,
        tickets=tickets,
        measurements=measurements,
        telemetry=telemetry,
        empty_queue=empty_queue,
        clock=clock,
        public_url=public_url,
        check_readiness=check_readiness,
        close=close,
    )
