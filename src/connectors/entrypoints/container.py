"""The graph: every flow, from the ports that it needs. `in_memory.py` and `production.py` fill the ports."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from dependency_injector import containers, providers

from connectors.domain.flows.connections.connect import ConnectFlow, ConnectSettings
from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.connections.settings import ConnectionSettingsFlow
from connectors.domain.flows.provider_access.conversations import Converser
from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.concurrency import Concurrency, ConcurrencySettings
from connectors.domain.flows.reading.coverage import CoverageFlow, Ledger
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.page_commit import PageCommitter
from connectors.domain.flows.reading.run import SyncFlow
from connectors.domain.flows.reading.schedule import ScheduleFlow, Scheduler, ScheduleSettings
from connectors.domain.flows.signals.queries import QueryFlow
from connectors.domain.flows.signals.statistics import StatisticsFlow
from connectors.domain.flows.webhooks.inbox import Inbox
from connectors.domain.flows.webhooks.ingest import IngestFlow
from connectors.domain.flows.webhooks.missed_deliveries import MissedDeliveries
from connectors.domain.flows.webhooks.routing import DeliveryRouter
from connectors.domain.flows.webhooks.signing_keys import SigningKeyCache
from connectors.domain.flows.webhooks.subscription_maintenance import SubscriptionMaintenance
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.flows.webhooks.verification import DeliveryVerifier
from connectors.domain.flows.webhooks.webhook_secrets import WebhookSecretFlow
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.library import Connectors, Readiness
from connectors.entrypoints.worker import TaskHandler
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
    concurrency_settings: providers.Dependency[ConcurrencySettings] = providers.Dependency()
    lease_lifetime: providers.Dependency[timedelta] = providers.Dependency()
    time_slice: providers.Dependency[timedelta] = providers.Dependency()
    telemetry: providers.Dependency[Telemetry] = providers.Dependency()
    empty_queue: providers.Dependency[Callable[[TaskHandler], int]] = providers.Dependency()
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
    access = providers.Singleton(
        ProviderAccess,
        unit_of_work=unit_of_work,
        converser=converser,
        keeper=keeper,
        clock=clock,
        telemetry=telemetry,
        providers=registry,
        apps=apps,
    )
    ledger = providers.Singleton(Ledger, clock=clock, entropy=entropy)
    scheduler = providers.Singleton(Scheduler, clock=clock, entropy=entropy, settings=schedule_settings)
    jobs = providers.Singleton(SyncJobs, unit_of_work=unit_of_work, clock=clock, entropy=entropy, providers=registry)
    schedule = providers.Singleton(
        ScheduleFlow,
        unit_of_work=unit_of_work,
        clock=clock,
        providers=registry,
        scheduler=scheduler,
        jobs=jobs,
        settings=schedule_settings,
    )
    subscriber = providers.Singleton(
        Subscriber,
        unit_of_work=unit_of_work,
        vault=vault,
        clock=clock,
        entropy=entropy,
        public_url=public_url,
    )
    disconnect = providers.Singleton(
        DisconnectFlow,
        unit_of_work=unit_of_work,
        converser=converser,
        access=access,
        keeper=keeper,
        subscriber=subscriber,
        clock=clock,
        providers=registry,
        jobs=jobs,
        ledger=ledger,
    )
    connect = providers.Singleton(
        ConnectFlow,
        disconnect=disconnect,
        unit_of_work=unit_of_work,
        vault=vault,
        token_endpoint=token_endpoint,
        converser=converser,
        access=access,
        keeper=keeper,
        subscriber=subscriber,
        clock=clock,
        entropy=entropy,
        providers=registry,
        apps=apps,
        settings=connect_settings,
        jobs=jobs,
        scheduler=scheduler,
        ledger=ledger,
    )
    signing_keys = providers.Singleton(SigningKeyCache, converser=converser, clock=clock)
    verifier = providers.Singleton(DeliveryVerifier, vault=vault, clock=clock, entropy=entropy, apps=apps)
    router = providers.Singleton(DeliveryRouter, clock=clock, entropy=entropy, apps=apps)
    inbox = providers.Singleton(
        Inbox, clock=clock, entropy=entropy, providers=registry, jobs=jobs, ledger=ledger, telemetry=telemetry
    )
    ingest = providers.Singleton(
        IngestFlow,
        unit_of_work=unit_of_work,
        verifier=verifier,
        signing_keys=signing_keys,
        router=router,
        inbox=inbox,
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
    connection_settings = providers.Singleton(
        ConnectionSettingsFlow, unit_of_work=unit_of_work, clock=clock, providers=registry, scheduler=scheduler
    )
    queries = providers.Singleton(QueryFlow, unit_of_work=unit_of_work, clock=clock)
    concurrency = providers.Singleton(Concurrency, settings=concurrency_settings, entropy=entropy)
    pages = providers.Singleton(
        PageCommitter,
        unit_of_work=unit_of_work,
        clock=clock,
        entropy=entropy,
        jobs=jobs,
        concurrency=concurrency,
        scheduler=scheduler,
        ledger=ledger,
    )
    sync = providers.Singleton(
        SyncFlow,
        unit_of_work=unit_of_work,
        access=access,
        clock=clock,
        entropy=entropy,
        providers=registry,
        pages=pages,
        concurrency=concurrency,
        scheduler=scheduler,
        telemetry=telemetry,
    )
    missed_deliveries = providers.Singleton(MissedDeliveries, unit_of_work=unit_of_work, ledger=ledger)
    maintenance = providers.Singleton(
        SubscriptionMaintenance,
        unit_of_work=unit_of_work,
        subscriber=subscriber,
        access=access,
        missed_deliveries=missed_deliveries,
        ledger=ledger,
        scheduler=scheduler,
        clock=clock,
    )
    coverage = providers.Singleton(CoverageFlow, unit_of_work=unit_of_work, providers=registry)
    statistics = providers.Singleton(StatisticsFlow, unit_of_work=unit_of_work, clock=clock)
    tasks = providers.Singleton(
        TaskHandler,
        unit_of_work=unit_of_work,
        sync=sync,
        maintenance=maintenance,
        keeper=keeper,
        schedule=schedule,
        time_slice=time_slice,
    )
    connectors = providers.Singleton(
        Connectors,
        providers=registry,
        apps=apps,
        connect=connect,
        disconnect=disconnect,
        ingest=ingest,
        webhook_secrets=webhook_secrets,
        connection_settings=connection_settings,
        queries=queries,
        sync=sync,
        jobs=jobs,
        maintenance=maintenance,
        coverage=coverage,
        schedule=schedule,
        tasks=tasks,
        statistics=statistics,
        telemetry=telemetry,
        empty_queue=empty_queue,
        clock=clock,
        public_url=public_url,
        check_readiness=check_readiness,
        close=close,
    )
