"""What the type checker says of the assembly, and of what users write."""

import re
from pathlib import Path

import pytest

import connectors.entrypoints.assembly
import connectors.entrypoints.in_memory

api = pytest.importorskip("mypy.api", reason="mypy is not installed: pip install '.[dev]'")

ROOT = Path(__file__).parents[2]
ERROR = re.compile(r"^(?:.*[/\\])?(\w+)\.py:\d+: error: (.*)$", re.MULTILINE)

ASSEMBLY = Path(connectors.entrypoints.assembly.__file__).read_text()
MEMORY = Path(connectors.entrypoints.in_memory.__file__).read_text()


def changed(source, before, after):
    """The source with a mistake in it."""
    assert source.count(before) == 1, before
    return source.replace(before, after)


RIGHT = {
    "assembly_unchanged": ASSEMBLY,
    "memory_unchanged": MEMORY,
    "embedding": """
from typing import assert_type
from uuid import uuid4
from connectors import Connectors, Signal
from connectors.adapters.memory.clock import ManualClock
from connectors.domain.flows.connections.connect import ConnectFlow
from connectors.domain.flows.signals.queries import QueryFlow
from connectors.domain.flows.webhooks.ingest import IngestFlow
from connectors.domain.model.ids import TenantId
from connectors.ports.clock import Clock

assert_type(Connectors.from_settings({}), Connectors)
with Connectors.in_memory() as system:
    assert_type(system, Connectors)
    assert_type(system.connect, ConnectFlow)
    assert_type(system.ingest, IngestFlow)
    assert_type(system.queries, QueryFlow)
    assert_type(system.clock, Clock)
    assert_type(system.run_pending(), int)
    for signal in system.queries.list_signals(TenantId(uuid4())).items:
        assert_type(signal, Signal)
""",
    "container": """
from typing import assert_type
from connectors.entrypoints.assembly import Assembly
from connectors.entrypoints.container import Container, FlowSettings, Ports, fill, read_ports
from connectors.entrypoints.library import Connectors
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory

def check(ports: Ports) -> None:
    container = fill(ports)
    assert_type(container, Container)
    assert_type(container.clock(), Clock)
    assert_type(container.unit_of_work(), UnitOfWorkFactory)
    assert_type(container.settings(), FlowSettings)
    assert_type(read_ports(container), Ports)
    assert_type(Assembly.assemble(container), Assembly)
    assert_type(Connectors.assemble(container), Connectors)
""",
}
"""Programs in which there is nothing wrong."""

WRONG = {
    "misspelt_in_a_flow": (
        changed(ASSEMBLY, "SyncJobs(unit_of_work=unit_of_work", "SyncJobs(unit_of_werk=unit_of_work"),
        'Unexpected keyword argument "unit_of_werk" for "SyncJobs"',
    ),
    "wrong_in_a_flow": (
        changed(ASSEMBLY, "SyncJobs(unit_of_work=unit_of_work", "SyncJobs(unit_of_work=clock"),
        'Argument "unit_of_work" to "SyncJobs" has incompatible type "Clock"',
    ),
    "missing_in_a_flow": (
        changed(ASSEMBLY, "Converser(api=ports.provider_api, clock=clock)", "Converser(api=ports.provider_api)"),
        'Missing named argument "clock" for "Converser"',
    ),
    "misspelt_in_the_system": (
        changed(
            ASSEMBLY,
            "            jobs=jobs,\n            sync=sync,\n",
            "            jops=jobs,\n            sync=sync,\n",
        ),
        'Unexpected keyword argument "jops" for "Assembly"',
    ),
    "misspelt_port": (
        changed(MEMORY, "            clock=clock,\n", "            clokc=clock,\n"),
        'Unexpected keyword argument "clokc" for "Ports"',
    ),
    "wrong_port": (
        changed(MEMORY, "            clock=clock,\n", "            clock=SystemEntropy(),\n"),
        'Argument "clock" to "Ports" has incompatible type "SystemEntropy"; expected "Clock"',
    ),
    "misspelt_by_a_user": (
        "from connectors import Connectors\nConnectors.in_memory(clokc=None)\n",
        'Unexpected keyword argument "clokc" for "in_memory" of "Connectors"',
    ),
    "wrong_by_a_user": (
        "from connectors import Connectors\nConnectors.in_memory(clock='noon')\n",
        'Argument "clock" to "in_memory" of "Connectors" has incompatible type "str"; expected "Clock | None"',
    ),
}
"""Programs with one mistake each, and how its error begins."""


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Each program's errors: one run of mypy over all of them, as strict as ours."""
    folder = tmp_path_factory.mktemp("typing")
    for name, source in [*RIGHT.items(), *((name, source) for name, (source, _) in WRONG.items())]:
        (folder / f"{name}.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        options = ["--config-file", "pyproject.toml", "--cache-dir", str(folder / "cache"), "--no-pretty"]
        out, problems, _ = api.run([*options, *map(str, sorted(folder.glob("*.py")))])
    assert not problems
    found = {}
    for name, message in ERROR.findall(out):
        found.setdefault(name, []).append(message)
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(errors, name):
    """The public names have the types that users expect, and the sources that the others are made from are right."""
    assert errors.get(name, []) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_an_error(errors, name):
    """A misspelt, missing or wrongly typed argument does not pass the type checker."""
    expected = WRONG[name][1]
    assert any(message.startswith(expected) for message in errors.get(name, [])), errors.get(name)
