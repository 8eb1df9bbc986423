"""The service as one process builds it: in memory, on the simulated ports, with the apps that the sandbox knows."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache

import attrs

from connectors.adapters.memory.provider_api import MemoryTokenEndpoint
from connectors.domain.flows.reading.concurrency import ConcurrencySettings
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors.entrypoints.container import FlowSettings
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import load
from tests.simulation.ports.chance import PlainVault, SeededEntropy
from tests.simulation.ports.database import Database
from tests.simulation.ports.flights import SimulatedFlights
from tests.simulation.ports.time import ProcessClock
from tests.simulation.ports.wire import Wire
from tests.simulation.schedule import Schedule
from tests.support import stage
from tests.support.service import CORE_CALLBACK

VENDORS_URL = "http://localhost"
"""Where the sandbox believes to be."""

HOSTS = ("connectors.invalid", "moved.invalid")
"""Where the service may be: deliveries to any other host reach nobody."""

PUBLIC_URL, MOVED_URL = (f"https://{host}" for host in HOSTS)


@attrs.frozen(kw_only=True)
class Surroundings:
    """What all processes of a run share."""

    schedule: Schedule
    database: Database
    wire: Wire
    entropy: SeededEntropy


@cache
def registry() -> ProviderRegistry:
    """The installed providers."""
    return installed_providers()


@cache
def apps() -> Mapping[ProviderSlug, ProviderApp]:
    """Our apps, as the settings of a production service describe them."""
    server = type("Server", (), {"base_url": staticmethod(lambda mount: f"{VENDORS_URL}/{mount}")})
    environment = {
        **stage.provider_settings(server),
        "POBLYSH_PUBLIC_URL": PUBLIC_URL,
        "POBLYSH_OAUTH_REDIRECT_URI": CORE_CALLBACK,
        "POBLYSH_OPERATOR_TOKEN": "simulation",
    }
    return load(environment, registry()).apps


@attrs.frozen(kw_only=True)
class Changes:
    """What an operator has changed."""

    public_url: str | None = PUBLIC_URL
    time_slice: timedelta | None = None
    sync_interval: timedelta | None = None
    slots: int | None = None
    """Jobs of a tenant, and of a provider, that run at once."""
    without: frozenset[str] = frozenset()
    """The providers whose apps have been taken away."""

    def apply(self, settings: FlowSettings) -> FlowSettings:
        """The settings with the changes."""
        changed = attrs.evolve(settings, public_url=self.public_url)
        if self.time_slice is not None:
            changed = attrs.evolve(changed, time_slice=self.time_slice)
        if self.sync_interval is not None:
            schedule = attrs.evolve(settings.schedule, interval=self.sync_interval)
            changed = attrs.evolve(changed, schedule=schedule)
        if self.slots is not None:
            changed = attrs.evolve(
                changed, concurrency=ConcurrencySettings(per_tenant=self.slots, per_provider=self.slots)
            )
        return changed


def build(
    around: Surroundings, *, changes: Changes | None = None, offset: float = 0.0, database: Database | None = None
) -> Connectors:
    """A process's own system.

    Args:
        around: the run's.
        changes: of the settings.
        offset: seconds by which this machine's clock is ahead.
        database: another one than the run's.
    """
    used, changed = database or around.database, changes or Changes()
    return Connectors.in_memory(
        registry=registry(),
        apps={slug: app for slug, app in apps().items() if slug not in changed.without},
        redirect_uri=CORE_CALLBACK,
        clock=ProcessClock(around.schedule, timedelta(seconds=offset)),
        entropy=around.entropy,
        vault=PlainVault(),
        provider_api=around.wire,
        token_endpoint=MemoryTokenEndpoint(around.wire.send),
        single_flight=SimulatedFlights(around.schedule),
        database=used.memory,
        unit_of_work=used.unit_of_work,
        settings=changed.apply,
    )
