"""The library's face: all flows behind one object, as embedding services, the API and the CLI use them."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from connectors.domain.flows.connections.connect import ConnectFlow
from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.connections.settings import ConnectionSettingsFlow
from connectors.domain.flows.reading.coverage import CoverageFlow
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.run import SyncFlow
from connectors.domain.flows.reading.schedule import ScheduleFlow
from connectors.domain.flows.signals.queries import QueryFlow
from connectors.domain.flows.signals.statistics import StatisticsFlow
from connectors.domain.flows.webhooks.ingest import IngestFlow
from connectors.domain.flows.webhooks.subscription_maintenance import SubscriptionMaintenance
from connectors.domain.flows.webhooks.webhook_secrets import WebhookSecretFlow
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.worker import TaskHandler
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry

if TYPE_CHECKING:
    from connectors.adapters.memory.provider_api import Responder


@attrs.frozen
class Readiness:
    """Whether the system can do its work, part by part."""

    checks: Mapping[str, str]
    """Part → `ok`, or what is wrong in one line."""

    @property
    def is_ready(self) -> bool:
        """Whether every part is well."""
        return all(state == "ok" for state in self.checks.values())


@attrs.frozen(kw_only=True)
class Connectors:
    """A working system. Close it, or use it as a context manager."""

    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    """The providers that are configured here."""
    connect: ConnectFlow
    """Authorize, complete, refresh."""
    disconnect: DisconnectFlow
    """End connections, erase tenants."""
    ingest: IngestFlow
    """Accept and replay webhooks."""
    webhook_secrets: WebhookSecretFlow
    """Secrets of single connections, for webhooks that a person sets up at the vendor."""
    connection_settings: ConnectionSettingsFlow
    """How often single connections are read."""
    queries: QueryFlow
    """Tenants, connections, signals, deliveries, jobs."""
    jobs: SyncJobs
    """Ask for reads of the providers' APIs, and cancel them."""
    sync: SyncFlow
    """Run one such read here and now, instead of leaving it to a worker."""
    maintenance: SubscriptionMaintenance
    """Maintain webhook subscriptions: renew, probe, retry."""
    coverage: CoverageFlow
    """What is proven complete, and where something may be missing."""
    schedule: ScheduleFlow
    """Queue what has become due. Workers do so every few seconds."""
    tasks: TaskHandler
    """What workers do with what stands in the queue."""
    statistics: StatisticsFlow
    """How much there is of everything, for metrics."""
    telemetry: Telemetry
    """Takes note of what happens, for metrics."""
    empty_queue: Callable[[TaskHandler], int]
    """Have all queued work done whose time has come; how many tasks that was."""
    clock: Clock
    public_url: str | None
    """Our URL as providers reach it."""
    check_readiness: Callable[[], Readiness]
    close: Callable[[], None]
    """Let go of pools, sockets and the embedded database."""

    def run_pending(self) -> int:
        """Do all queued work whose time has come, in this process, and return; how many tasks that was.

        What a worker does all the time. On PostgreSQL, other workers may take a part of it.
        """
        return self.empty_queue(self.tasks)

    @staticmethod
    def in_memory(
        *,
        respond: "Responder | None" = None,
        registry: ProviderRegistry | None = None,
        apps: Mapping[ProviderSlug, ProviderApp] | None = None,
        clock: Clock | None = None,
        redirect_uri: str = "https://core.invalid/callback/{provider}",
        public_url: str | None = "https://connectors.invalid",
        telemetry: Telemetry | None = None,
    ) -> "Connectors":
        """A complete system without database or network, for tests and for trying things out.

        Args:
            respond: plays the providers: gets each outbound request, returns its answer. None: nobody answers.
            registry: other providers than the installed ones.
            apps: registrations at the providers; None makes up one for each, with `webhook-secret` as webhook secret.
            clock: None for the machine's.
            redirect_uri: where consents come back to.
            public_url: where webhooks come to; None to subscribe to none.
            telemetry: takes note of what happens; None for nobody.
        """
        from connectors.entrypoints.in_memory import in_memory  # noqa: PLC0415 - it builds this class

        return in_memory(
            respond=respond,
            registry=registry,
            apps=apps,
            clock=clock,
            redirect_uri=redirect_uri,
            public_url=public_url,
            telemetry=telemetry,
        )

    @staticmethod
    def from_settings(environment: Mapping[str, str] | None = None) -> "Connectors":
        """The real system, on PostgreSQL.

        Without `POBLYSH_DATABASE_URL` it starts a private PostgreSQL in the data folder (or joins the one that another
        process has started there), and brings its tables up to date.

        Args:
            environment: instead of the process's environment and the `.env` file in the working directory.

        Raises:
            SettingsError: a setting is missing or wrong, or the data folder is of no use.
            InfrastructureError: the database cannot be reached, or its tables are not up to date.
        """
        # Imported when wanted: a system in memory starts without SQLAlchemy, psycopg and requests.
        from connectors.entrypoints.production import from_settings  # noqa: PLC0415

        return from_settings(environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
