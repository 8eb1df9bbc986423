"""One seed is one run: the same steps in the same order, in any process."""

import os
import subprocess
import sys

from tests.simulation.plan import make_plan, read_script, write_script
from tests.simulation.run import Run
from tests.support.sizes import at_sizes

HASHES = """
from tests.simulation.plan import make_plan
from tests.simulation.run import Run
for seed in range({first}, {last}):
    run = Run(make_plan(seed))
    run.play()
    print(seed, run.schedule.trace_hash)
"""


def hashes_with(hash_seed, first, last):
    """The trace hashes of these seeds, from a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", HASHES.format(first=first, last=last)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=280).stdout


@at_sizes(("first", "last"), small=(0, 6), full=(0, 60))
def test_a_seed_has_one_trace_whatever_the_hash_seed(first, last):
    """Two processes with other hash seeds see the same traces."""
    assert hashes_with(0, first, last) == hashes_with(1, first, last)


@at_sizes("count", small=(6,), full=(60,))
def test_a_script_plays_as_its_seed_did(count):
    """A plan that was written and read again gives the same run."""
    for seed in range(count):
        plan = make_plan(seed)
        first, second = Run(plan), Run(read_script(write_script(plan)))
        first.play()
        second.play()
        assert first.schedule.trace_hash == second.schedule.trace_hash
