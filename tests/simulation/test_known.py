"""Each known fault still shows by its script; what is mended must leave the list."""

import pytest

from tests.simulation.known import SCRIPTS, known_faults
from tests.simulation.run import Run


@pytest.mark.parametrize("fault", known_faults(), ids=lambda fault: fault.name)
def test_a_known_fault_still_shows(fault):
    """The script breaks the invariant: if not, take the row and the script away and be glad."""
    plan = fault.script()
    findings = Run(plan).play()
    assert any(fault.explains(plan, one) for one in findings), f"{fault.name} is mended: {findings}"


def test_every_script_is_listed():
    """No script is forgotten."""
    assert {path.stem for path in SCRIPTS.glob("*.json")} == {fault.name for fault in known_faults()}
