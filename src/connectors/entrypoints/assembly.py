"""Everything that is built from the ports, by plain constructor calls that the type checker reads."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

import attrs

from connectors.domain.flows.connections.authorization import Authorizations
from connectors.domain.flows.connections.connect import ConnectFlow
from connectors.domain.flows.connections.consents import Consents
from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.connections.proof import ConnectionProof
from connectors.domain.flows.connections.settings import ConnectionSettingsFlow
from connectors.domain.flows.connections.tenants import TenantFlow
from connectors.domain.flows.endings.endings import Endings
from connectors.domain.flows.endings.held import HeldFlow
from connectors.domain.flows.provider_access.conversations import Converser
from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.concurrency import Concurrency
from connectors.domain.flows.reading.coverage import CoverageFlow, Ledger
from connectors.domain.flows.reading.failures import Failures
from connectors.domain.flows.reading.housekeeping import Housekeeping
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.page_commit import PageCommitter
from connectors.domain.flows.reading.receipts import Receipts
from connectors.domain.flows.reading.run import SyncFlow
from connectors.domain.flows.reading.schedule import ScheduleFlow, Scheduler
from connectors.domain.flows.reading.stream_requests import StreamFlow
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
from connectors.entrypoints.task_handler import TaskHandler
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry

if TYPE_CHECKING:
    from connectors.entrypoints.container import Container, Readiness


@attrs.frozen(kw_only=True)
class Assembly:
    """The flows of one system, and those of its ports that callers need. `Connectors` is one."""

    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    """Our registrations: the providers that are configured here."""
    connect: ConnectFlow
    """Authorize, complete, refresh."""
    disconnect: DisconnectFlow
    """End connections."""
    held: HeldFlow
    """What has to go at vendors and what may be left there: list, try again, give up."""
    tenants: TenantFlow
    """Make tenants known, show and erase them."""
    ingest: IngestFlow
    """Accept and replay webhooks."""
    webhook_secrets: WebhookSecretFlow
    """Secrets of single connections, for webhooks that a person sets up at the vendor."""
    connection_settings: ConnectionSettingsFlow
    """How often single connections are read."""
    queries: QueryFlow
    """List and show connections, signals, deliveries and jobs."""
    jobs: SyncJobs
    """Request reads of the providers' APIs, and cancel them."""
    sync: SyncFlow
    """Run one such read here and now, instead of leaving it to a worker."""
    maintenance: SubscriptionMaintenance
    """Maintain webhook subscriptions: renew, probe, retry."""
    streams: StreamFlow
    """Show the streams of a connection, have one read now, give one up."""
    coverage: CoverageFlow
    """What is proven complete, and where something may be missing."""
    schedule: ScheduleFlow
    """Queue what has become due. Workers do this every few seconds."""
    tasks: TaskHandler
    """Run the tasks of the queue, as workers do."""
    statistics: StatisticsFlow
    """How much there is of everything, for metrics."""
    telemetry: Telemetry
    """Counts what happens, for metrics."""
    empty_queue: Callable[[TaskHandler], int]
    """Runs all queued tasks that are due; returns how many."""
    clock: Clock
    public_url: str | None
    """Our URL as providers reach it."""
    check_readiness: "Callable[[], Readiness]"
    close: Callable[[], None]
    """Releases pools, sockets and the embedded database."""

    @classmethod
    def assemble(cls, container: "Container") -> Self:
        """The system on the container's ports. Ports that are overridden later do not reach it."""
        # Imported here: dependency-injector imports web frameworks if they are installed, and most commands need none.
        from connectors.entrypoints.container import read_ports  # noqa: PLC0415

        ports = read_ports(container)
        settings = ports.settings
        unit_of_work, clock, entropy, vault = ports.unit_of_work, ports.clock, ports.entropy, ports.vault
        registry, apps = settings.providers, settings.apps
        converser = Converser(api=ports.provider_api, clock=clock)
        keeper = TokenKeeper(
            unit_of_work=unit_of_work,
            vault=vault,
            token_endpoint=ports.token_endpoint,
            clock=clock,
            single_flight=ports.single_flight,
            providers=registry,
            apps=apps,
            telemetry=ports.telemetry,
            lease_lifetime=settings.lease_lifetime,
        )
        access = ProviderAccess(
            unit_of_work=unit_of_work,
            converser=converser,
            keeper=keeper,
            clock=clock,
            telemetry=ports.telemetry,
            providers=registry,
            apps=apps,
        )
        ledger = Ledger(clock=clock, entropy=entropy, providers=registry)
        scheduler = Scheduler(clock=clock, entropy=entropy, settings=settings.schedule)
        jobs = SyncJobs(unit_of_work=unit_of_work, clock=clock, entropy=entropy, providers=registry)
        schedule = ScheduleFlow(
            unit_of_work=unit_of_work,
            clock=clock,
            providers=registry,
            scheduler=scheduler,
            jobs=jobs,
            housekeeping=Housekeeping(unit_of_work=unit_of_work, clock=clock, retention=settings.retention),
        )
        subscriber = Subscriber(
            unit_of_work=unit_of_work, vault=vault, clock=clock, entropy=entropy, public_url=settings.public_url
        )
        endings = Endings(
            unit_of_work=unit_of_work,
            converser=converser,
            access=access,
            keeper=keeper,
            remover=subscriber,
            clock=clock,
            providers=registry,
            apps=apps,
            lifetime=settings.ending_lifetime,
        )
        held = HeldFlow(unit_of_work=unit_of_work, endings=endings, providers=registry)
        disconnect = DisconnectFlow(unit_of_work=unit_of_work, endings=endings, clock=clock, jobs=jobs, ledger=ledger)
        tenants = TenantFlow(unit_of_work=unit_of_work, disconnect=disconnect, clock=clock)
        authorizations = Authorizations(
            unit_of_work=unit_of_work,
            vault=vault,
            clock=clock,
            entropy=entropy,
            providers=registry,
            apps=apps,
            settings=settings.connect,
        )
        connect = ConnectFlow(
            authorizations=authorizations,
            consents=Consents(
                unit_of_work=unit_of_work,
                keeper=keeper,
                authorizations=authorizations,
                clock=clock,
                entropy=entropy,
                jobs=jobs,
                scheduler=scheduler,
                settings=settings.connect,
            ),
            endings=endings,
            unit_of_work=unit_of_work,
            token_endpoint=ports.token_endpoint,
            converser=converser,
            access=access,
            keeper=keeper,
            subscriber=subscriber,
            clock=clock,
            providers=registry,
            settings=settings.connect,
            ledger=ledger,
        )
        ingest = IngestFlow(
            unit_of_work=unit_of_work,
            verifier=DeliveryVerifier(vault=vault, clock=clock, entropy=entropy, apps=apps),
            signing_keys=SigningKeyCache(converser=converser, clock=clock, single_flight=ports.single_flight),
            router=DeliveryRouter(clock=clock, entropy=entropy, apps=apps),
            inbox=Inbox(
                clock=clock,
                entropy=entropy,
                providers=registry,
                jobs=jobs,
                ledger=ledger,
                scheduler=scheduler,
                telemetry=ports.telemetry,
            ),
            providers=registry,
            apps=apps,
        )
        concurrency = Concurrency(settings=settings.concurrency, entropy=entropy)
        sync = SyncFlow(
            unit_of_work=unit_of_work,
            access=access,
            clock=clock,
            providers=registry,
            pages=PageCommitter(unit_of_work=unit_of_work, entropy=entropy, ledger=ledger),
            failures=Failures(unit_of_work=unit_of_work, entropy=entropy, ledger=ledger),
            receipts=Receipts(
                unit_of_work=unit_of_work,
                concurrency=concurrency,
                scheduler=scheduler,
                ledger=ledger,
                telemetry=ports.telemetry,
            ),
            concurrency=concurrency,
            scheduler=scheduler,
            telemetry=ports.telemetry,
        )
        maintenance = SubscriptionMaintenance(
            unit_of_work=unit_of_work,
            subscriber=subscriber,
            endings=endings,
            access=access,
            missed_deliveries=MissedDeliveries(unit_of_work=unit_of_work, ledger=ledger),
            ledger=ledger,
            scheduler=scheduler,
            clock=clock,
        )
        return cls(
            providers=registry,
            apps=apps,
            connect=connect,
            disconnect=disconnect,
            held=held,
            tenants=tenants,
            ingest=ingest,
            webhook_secrets=WebhookSecretFlow(
                unit_of_work=unit_of_work,
                vault=vault,
                clock=clock,
                entropy=entropy,
                providers=registry,
                public_url=settings.public_url,
            ),
            connection_settings=ConnectionSettingsFlow(
                unit_of_work=unit_of_work, clock=clock, providers=registry, scheduler=scheduler
            ),
            queries=QueryFlow(unit_of_work=unit_of_work, clock=clock, providers=registry, ledger=ledger, held=held),
            jobs=jobs,
            sync=sync,
            maintenance=maintenance,
            streams=StreamFlow(unit_of_work=unit_of_work, providers=registry, ledger=ledger),
            coverage=CoverageFlow(unit_of_work=unit_of_work, providers=registry, ledger=ledger),
            schedule=schedule,
            tasks=TaskHandler(
                unit_of_work=unit_of_work,
                sync=sync,
                maintenance=maintenance,
                keeper=keeper,
                proof=ConnectionProof(
                    unit_of_work=unit_of_work,
                    access=access,
                    keeper=keeper,
                    scheduler=scheduler,
                    disconnect=disconnect,
                    clock=clock,
                ),
                endings=endings,
                tenants=tenants,
                schedule=schedule,
                clock=clock,
                entropy=entropy,
                time_slice=settings.time_slice,
            ),
            statistics=StatisticsFlow(unit_of_work=unit_of_work, clock=clock),
            telemetry=ports.telemetry,
            empty_queue=ports.empty_queue,
            clock=clock,
            public_url=settings.public_url,
            check_readiness=ports.check_readiness,
            close=ports.close,
        )
