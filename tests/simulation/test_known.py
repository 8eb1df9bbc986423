"""Each known fault still shows by its scripts; what is mended must leave the list."""

import pytest

from tests.simulation.known import SCRIPTS, known_faults
from tests.simulation.plan import read_script
from tests.simulation.run import Run

EVERY = [(fault, path) for fault in known_faults() for path in fault.scripts()]


@pytest.mark.parametrize(("fault", "path"), [pytest.param(*one, id=one[1].stem) for one in EVERY])
def test_a_known_fault_still_shows(fault, path):
    """The script breaks the invariant in its name: if not, take it away, and a row without scripts, too, and be glad."""
    plan = read_script(path.read_text())
    findings = Run(plan).play()
    invariant = path.name.split(".")[1]
    shown = [one for one in findings if one.invariant == invariant and fault.explains(plan, one)]
    assert shown, f"{path.name} is mended: {findings}"


def test_scripts_and_rows_belong_together():
    """No script is forgotten, and no row is without one."""
    assert {path for _, path in EVERY} == set(SCRIPTS.glob("*.json"))
    assert [fault.name for fault in known_faults() if not fault.scripts()] == []
