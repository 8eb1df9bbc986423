"""What was mended stays mended."""

import json
from pathlib import Path

import pytest

from tests.simulation.plan import read_script
from tests.simulation.run import Run

SCRIPTS = sorted((Path(__file__).parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SCRIPTS])
def test_a_mended_fault_does_not_come_back(path):
    """Its script finds nothing at all; `why` in it says what it once found."""
    assert json.loads(path.read_text())["why"]
    assert Run(read_script(path.read_text())).play() == []
