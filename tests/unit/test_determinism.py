"""Domain and ports do the same in every run: what differs between runs comes only from the ports.

The import rules in `pyproject.toml` forbid whole modules (`time`, `random`, `threading`). This looks for the rest.
"""

import ast
from pathlib import Path

import pytest

import connectors

ROOT = Path(connectors.__file__).parent
SOURCES = sorted(path for folder in ("domain", "ports") for path in (ROOT / folder).rglob("*.py"))

FRESH_IDS = {"uuid1", "uuid4", "uuid6", "uuid7", "uuid8"}
"""Names of the module `uuid`; the port `Entropy` has `uuid7`, too."""

NOWS = {"now", "utcnow", "today"}
PER_PROCESS = {"hash", "id"}
"""Built-in functions whose result depends on PYTHONHASHSEED or on addresses."""


def faults(source):
    """What differs between runs, as (line, reason)."""
    tree = ast.parse(source)
    scopes = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]
    found = {(node.lineno, reason) for node in ast.walk(tree) for reason in reasons(node)}
    return sorted(found | {(node.lineno, "the order of a set") for scope in scopes for node in set_loops(scope)})


def reasons(node):
    match node:
        case ast.ImportFrom(module="uuid", names=names) if {one.name for one in names} & FRESH_IDS:
            yield "a fresh id"
        case ast.Attribute(value=ast.Name(id="uuid"), attr=name) if name in FRESH_IDS:
            yield "a fresh id"
        case ast.Attribute(value=ast.Name(id="datetime" | "date") | ast.Attribute(attr="datetime" | "date"), attr=name):
            if name in NOWS:
                yield "the machine's time"
        case ast.Call(func=ast.Name(id=name)) if name in PER_PROCESS:
            yield "a number of this process"


def set_loops(scope):
    """What the scope loops over in the order of a set; a loop that makes a set again does no harm."""
    nodes, names = list(own_nodes(scope)), set()
    for node in nodes:
        if isinstance(node, ast.Assign) and is_set(node.value, names):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    made = {id(one) for node in nodes if isinstance(node, ast.SetComp) for one in node.generators}
    for node in nodes:
        if isinstance(node, ast.For | ast.comprehension) and id(node) not in made and is_set(node.iter, names):
            yield node.iter


def own_nodes(scope):
    """All nodes of a scope, without those of the functions in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef):
            yield from own_nodes(child)


def is_set(node, names):
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id=name):
            return name in names
        case ast.BinOp(left=left, right=right, op=ast.BitOr() | ast.BitAnd() | ast.Sub()):
            return is_set(left, names) or is_set(right, names)
    return False


@pytest.mark.parametrize("folder", ["domain", "ports"])
def test_every_run_is_alike(folder):
    """No module makes ids, asks the machine for the time, or lets the order of a set out."""
    of_folder = [path for path in SOURCES if path.is_relative_to(ROOT / folder)]
    assert len(of_folder) > 5
    assert {str(path.relative_to(ROOT)): found for path in of_folder if (found := faults(path.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from uuid import UUID, uuid4",
        "import uuid\nuuid.uuid4()",
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\nread(clock=date.today)",
        "key = hash('text')",
        "for name in {one.name for one in rows}:\n    write(name)",
        "def f(rows):\n    names = set(rows) - {1}\n    return [name for name in names]",
        "f = lambda rows: [row for row in frozenset(rows)]",
    ],
)
def test_what_differs_between_runs_is_found(source):
    """Each of these would give two runs with one seed two traces."""
    assert len(faults(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from uuid import UUID\nUUID(int=1)",
        "self.entropy.uuid7(self.clock.now())",
        "for name in sorted({one.name for one in rows}):\n    write(name)",
        "kept = set(rows)\nkept = {one for one in kept if one > 1}",
        "def f(rows):\n    names = set(rows)\ndef g(names):\n    return [name for name in names]",
    ],
)
def test_what_is_alike_is_left_alone(source):
    """Ports, sorted sets and sets made of sets are no faults."""
    assert faults(source) == []
