"""The library's face: all flows behind one object, as embedding services, the API and the command line use them."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from connectors.adapters.memory import MemoryDatabase
from connectors.adapters.memory.provider_api import Responder
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.assembly import Assembly
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.provider_api import ProviderApi
from connectors.ports.single_flight import SingleFlight
from connectors.ports.telemetry import Telemetry
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWorkFactory
from connectors.ports.vault import Vault

if TYPE_CHECKING:
    from connectors.entrypoints.container import FlowSettings


@attrs.frozen(kw_only=True)
class Connectors(Assembly):
    """A working system; its flows are the attributes of `Assembly`. Close it, or use it as a context manager."""

    def run_pending(self) -> int:
        """Run all queued tasks that are due, in this process, and return how many there were.

        Workers do this all the time. On PostgreSQL, other workers may take some of the tasks.
        """
        return self.empty_queue(self.tasks)

    @staticmethod
    def in_memory(
        *,
        respond: Responder | None = None,
        registry: ProviderRegistry | None = None,
        apps: Mapping[ProviderSlug, ProviderApp] | None = None,
        redirect_uri: str = "https://core.invalid/callback/{provider}",
        public_url: str | None = "https://connectors.invalid",
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        single_flight: SingleFlight | None = None,
        telemetry: Telemetry | None = None,
        vault: Vault | None = None,
        provider_api: ProviderApi | None = None,
        token_endpoint: TokenEndpoint | None = None,
        database: MemoryDatabase | None = None,
        unit_of_work: UnitOfWorkFactory | None = None,
        settings: "Callable[[FlowSettings], FlowSettings] | None" = None,
    ) -> "Connectors":
        """A complete system without database or network, for tests and for trying things out.

        Args:
            respond: plays the providers: it gets each outbound request and returns the answer. None: nobody answers.
            registry: other providers than the installed ones.
            apps: registrations at the providers; None makes up one for each, with `webhook-secret` as webhook secret.
            redirect_uri: where consents come back to.
            public_url: where providers deliver webhooks; None: nothing is subscribed.
            clock: None for the machine's.
            entropy: None for the machine's.
            single_flight: None for one for threads.
            telemetry: counts what happens; None counts nothing.
            vault: None for a real one with a key of its own.
            provider_api: None for one that asks `respond`.
            token_endpoint: None for one that asks `respond`.
            database: what to start from; None for an empty one. Several systems share one, as processes do, if they
                share a vault, too.
            unit_of_work: None for the one of `database`. `run_pending` takes its tasks from `database` in any case.
            settings: what an operator decides otherwise: gets the usual settings, returns those to use, as with
                `lambda usual: attrs.evolve(usual, time_slice=timedelta(seconds=1))`.
        """
        # Imported here and below: each system needs one of the two, and `connectors --help` needs neither.
        from connectors.entrypoints.in_memory import memory_container  # noqa: PLC0415

        return Connectors.assemble(
            memory_container(
                respond=respond,
                registry=registry,
                apps=apps,
                redirect_uri=redirect_uri,
                public_url=public_url,
                clock=clock,
                entropy=entropy,
                single_flight=single_flight,
                telemetry=telemetry,
                vault=vault,
                provider_api=provider_api,
                token_endpoint=token_endpoint,
                database=database,
                unit_of_work=unit_of_work,
                settings=settings,
            )
        )

    @staticmethod
    def from_settings(environment: Mapping[str, str] | None = None) -> "Connectors":
        """The real system, on PostgreSQL.

        Without `POBLYSH_DATABASE_URL` it starts a private PostgreSQL in the data folder (or joins the one that another
        process has started there), and brings its tables up to date.

        Args:
            environment: instead of the process's environment and the `.env` file in the working directory.

        Raises:
            SettingsError: a setting is missing or wrong, or the data folder cannot be used.
            InfrastructureError: the database cannot be reached, or its tables are not up to date.
        """
        # A system in memory starts without SQLAlchemy, psycopg and requests, in half the time.
        from connectors.entrypoints.production import open_container  # noqa: PLC0415

        return Connectors.assemble(open_container(environment))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
