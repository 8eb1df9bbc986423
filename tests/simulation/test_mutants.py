"""The simulation can fail: a rule of the product that is left out is noticed."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.known import known_faults
from tests.simulation.mutants import MUTANTS, SEEDS, UNBROKEN, notice

IN_EVERY_RUN = ("signals-twice", "routed-to-nobody", "dead-unmarked")

INVARIANT = re.compile(r"report\(\s*\"([a-z-]+)\"")


@cache
def noticed(name):
    """How the mutant is noticed, if it is."""
    return notice(next(one for one in MUTANTS if one.name == name))


def invariants():
    """The names of all that is reported anywhere."""
    sources = Path(__file__).parent.rglob("*.py")
    found = {name for path in sources for name in INVARIANT.findall(path.read_text())}
    return found | {"false-claim", "silently-missing", "lock-order"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.name, marks=() if one.name in IN_EVERY_RUN else pytest.mark.thorough, id=one.name)
        for one in MUTANTS
    ],
)
def test_a_rule_that_is_left_out_is_noticed(name):
    """Within 200 seeds, by a finding that no known fault explains and that the unchanged product does not have."""
    assert noticed(name) is not None, f"{name} is not noticed within {SEEDS} seeds"


@pytest.mark.thorough
def test_every_invariant_can_be_broken():
    """By a mutant or by a known fault; or it says why not."""
    by_mutants = {kind[0] for one in MUTANTS for kind in (noticed(one.name).kinds if noticed(one.name) else ())}
    by_faults = {name for fault in known_faults() for name in fault.invariants}
    assert invariants() - by_mutants - by_faults - set(UNBROKEN) == set()


def test_what_is_said_of_invariants_is_true():
    """Only invariants that no mutant is expected to break are listed as unbroken, and all names are those of invariants."""
    expected = {name for one in MUTANTS for name in one.breaks}
    assert expected | set(UNBROKEN) <= invariants()
    assert not expected & set(UNBROKEN)
