"""A system is built from its ports, and each of them can be replaced."""

from datetime import timedelta

import attrs
import pytest

from connectors import Connectors
from connectors.adapters.aesgcm import AesGcmVault, KeyRing, generate_key
from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.memory.provider_api import MemoryProviderApi, MemoryTokenEndpoint
from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.entropy import SystemEntropy
from connectors.adapters.system.single_flight import ThreadSingleFlight
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.sync import JobStatus, JobType
from connectors.entrypoints.container import Container, Ports, fill, read_ports
from connectors.ports.telemetry import NullTelemetry
from tests.support.builders import NOW, TENANT
from tests.support.world import World, item


def filled(**changes):
    """A container whose ports are texts, except those that are given."""
    return fill(Ports(**{field.name: f"a {field.name}" for field in attrs.fields(Ports)} | changes))


REPLACEMENTS = {
    "clock": (ManualClock(NOW), lambda connectors: connectors.clock),
    "entropy": (SystemEntropy(), lambda connectors: connectors.jobs.entropy),
    "single_flight": (ThreadSingleFlight(), lambda connectors: connectors.connect.keeper.single_flight),
    "telemetry": (NullTelemetry(), lambda connectors: connectors.telemetry),
    "vault": (AesGcmVault(KeyRing.parse(generate_key("other"))), lambda connectors: connectors.webhook_secrets.vault),
    "provider_api": (MemoryProviderApi(), lambda connectors: connectors.connect.converser.api),
    "token_endpoint": (MemoryTokenEndpoint(), lambda connectors: connectors.connect.token_endpoint),
    "unit_of_work": (memory_unit_of_work(MemoryDatabase()), lambda connectors: connectors.queries.unit_of_work),
}
"""Port → another adapter for it, and where a system has it."""


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_every_port_of_a_system_in_memory_can_be_given(name):
    """A port that is given by keyword is the one that the flows use."""
    given, find = REPLACEMENTS[name]
    with Connectors.in_memory(**{name: given}) as connectors:
        assert find(connectors) is given


def test_one_single_flight_serves_the_whole_system():
    """All flows that share results take the same one, so their keys say what they are for."""
    with Connectors.in_memory() as connectors:
        assert connectors.ingest.signing_keys.single_flight is connectors.connect.keeper.single_flight


def test_systems_on_one_database_can_have_different_settings():
    """One system runs what another one has queued, each by its own settings, as processes do that restart one by one."""
    shared = {"database": MemoryDatabase(), "vault": AesGcmVault(KeyRing.parse(generate_key("shared")))}
    world = World(**shared)
    other = Connectors.in_memory(
        **shared,
        respond=world.vendor,
        registry=world.connectors.providers,
        clock=world.clock,
        public_url=None,
        settings=lambda usual: attrs.evolve(usual, time_slice=timedelta(0)),
    )
    world.vendor.add_items(*(item(number) for number in range(4)))
    connection = world.connect()
    job = world.connectors.jobs.request(connection.tenant_id, connection.id, JobType.BACKFILL)
    assert (other.tasks.time_slice, other.public_url) == (timedelta(0), None)
    assert other.tasks.time_slice < world.connectors.tasks.time_slice
    assert other.run_pending() > 0
    assert (world.job(job).status, world.work()) == (JobStatus.SUCCEEDED, 0)


def test_no_port_of_the_flows_is_left_out():
    """Every port of the container can be given in memory, except the settings and the process's own functions."""
    own = {"settings", "empty_queue", "check_readiness", "close"}
    assert set(REPLACEMENTS) == set(Container.providers) - own


def test_an_unknown_port_is_refused():
    """A misspelt keyword is an error, and does not silently leave a port as it was."""
    with pytest.raises(TypeError, match="clokc"):
        Connectors.in_memory(clokc=SystemClock())


def test_a_database_outlives_its_system():
    """A second system on the same database sees what the first one stored."""
    database = MemoryDatabase()
    with Connectors.in_memory(database=database) as first:
        first.tenants.ensure(TENANT)
    with Connectors.in_memory(database=database) as second, Connectors.in_memory() as other:
        assert second.tenants.get(TENANT).id == TENANT
        with pytest.raises(TenantNotFoundError):
            other.tenants.get(TENANT)


def test_the_container_has_every_port():
    """The container and the typed class that fills it name the same ports."""
    assert set(Container.providers) == {field.name for field in attrs.fields(Ports)}


def test_a_container_gives_what_it_was_filled_with():
    """That can be anything, None and functions included."""
    ports = read_ports(filled(telemetry=None, close=print))
    assert (ports.clock, ports.telemetry, ports.close) == ("a clock", None, print)


def test_a_port_is_overridden_in_one_line():
    """An overridden port is the one that the system is built with; other containers keep theirs."""
    container, other = filled(), filled()
    container.clock.override(clock := ManualClock(NOW))
    assert (read_ports(container).clock, read_ports(other).clock) == (clock, "a clock")
