"""The ports of one system: typed where they are given, and replaceable one by one until the system is assembled."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import attrs
from dependency_injector import containers, providers

from connectors.domain.flows.connections.authorization import ConnectSettings
from connectors.domain.flows.endings.endings import LIFETIME as ENDING_LIFETIME
from connectors.domain.flows.provider_access.tokens import LEASE_LIFETIME
from connectors.domain.flows.reading.concurrency import ConcurrencySettings
from connectors.domain.flows.reading.housekeeping import RetentionSettings
from connectors.domain.flows.reading.schedule import ScheduleSettings
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.task_handler import TaskHandler
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.provider_api import ProviderApi
from connectors.ports.single_flight import SingleFlight
from connectors.ports.telemetry import Telemetry
from connectors.ports.token_endpoint import TokenEndpoint
from connectors.ports.unit_of_work import UnitOfWorkFactory
from connectors.ports.vault import Vault

TIME_SLICE = timedelta(seconds=10)
"""How long a sync job runs while others wait, unless the operator decides otherwise."""


@attrs.frozen(kw_only=True)
class FlowSettings:
    """What the operator decides about the flows."""

    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    """Our registrations: the providers that are configured here."""
    public_url: str | None
    """Our URL as providers reach it; None: they cannot."""
    connect: ConnectSettings
    schedule: ScheduleSettings = attrs.field(factory=ScheduleSettings)
    retention: RetentionSettings = attrs.field(factory=RetentionSettings)
    concurrency: ConcurrencySettings = attrs.field(factory=ConcurrencySettings)
    lease_lifetime: timedelta = LEASE_LIFETIME
    """How long one process may take to refresh a token before another one tries."""
    time_slice: timedelta = TIME_SLICE
    ending_lifetime: timedelta = ENDING_LIFETIME
    """How long it is tried to remove at a vendor what has to go there."""


@attrs.frozen
class Readiness:
    """Whether the system can do its work, part by part."""

    checks: Mapping[str, str]
    """Part → `ok`, or what is wrong in one line."""

    @property
    def is_ready(self) -> bool:
        """Whether every part works."""
        return all(state == "ok" for state in self.checks.values())


@attrs.frozen(kw_only=True)
class Ports:
    """What a system is built from: one adapter for each port, and the settings."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    clock: Clock
    entropy: Entropy
    single_flight: SingleFlight
    provider_api: ProviderApi
    token_endpoint: TokenEndpoint
    telemetry: Telemetry
    settings: FlowSettings
    empty_queue: Callable[[TaskHandler], int]
    """Runs all queued tasks that are due; returns how many."""
    check_readiness: Callable[[], Readiness]
    close: Callable[[], None]
    """Releases pools, sockets and the embedded database."""


class Container(containers.DeclarativeContainer):
    """A provider for each port. Override one before the system is assembled, and the system is built with that."""

    unit_of_work: providers.Provider[UnitOfWorkFactory] = providers.Dependency()
    vault: providers.Provider[Vault] = providers.Dependency()
    clock: providers.Provider[Clock] = providers.Dependency()
    entropy: providers.Provider[Entropy] = providers.Dependency()
    single_flight: providers.Provider[SingleFlight] = providers.Dependency()
    provider_api: providers.Provider[ProviderApi] = providers.Dependency()
    token_endpoint: providers.Provider[TokenEndpoint] = providers.Dependency()
    telemetry: providers.Provider[Telemetry] = providers.Dependency()
    settings: providers.Provider[FlowSettings] = providers.Dependency()
    empty_queue: providers.Provider[Callable[[TaskHandler], int]] = providers.Dependency()
    check_readiness: providers.Provider[Callable[[], Readiness]] = providers.Dependency()
    close: providers.Provider[Callable[[], None]] = providers.Dependency()


_NAMES = tuple(field.name for field in attrs.fields(Ports))


def fill(ports: Ports) -> Container:
    """A container that gives these ports.

    `Ports` stands between, because the container itself takes any name and any value.
    """
    return Container(**{name: providers.Object(getattr(ports, name)) for name in _NAMES})


def read_ports(container: Container) -> Ports:
    """The ports that the container gives, overridden ones included."""
    return Ports(**{name: container.providers[name]() for name in _NAMES})
