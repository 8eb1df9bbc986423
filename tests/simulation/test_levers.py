"""Whatever a fault may aim at occurs, and nothing that occurs is left out."""

import pytest

from tests.simulation.plan import CALLS, WRITES, make_plan
from tests.simulation.run import Run
from tests.simulation.world import ACCOUNTS

SEEDS = 180


@pytest.mark.thorough
def test_no_lever_is_dead():
    """Each label of a commit or a request that plans name is seen; commits have no other labels."""
    written, asked = set(), set()
    for seed in range(SEEDS):
        run = Run(make_plan(seed), keep_trace=True)
        run.play()
        for line in run.schedule.trace:
            label = line.split(maxsplit=2)[2]
            if label.startswith("commit:"):
                written |= set(label.removeprefix("commit:").split(","))
            elif label.startswith("ask:"):
                asked.add(label.split()[1])
    assert written == set(WRITES)
    parts = {(mount, part) for mount, parts in CALLS.items() for part in parts}
    parts |= {(kind.mount, part) for kind in ACCOUNTS.values() for part in kind.lists}
    dead = {(mount, part) for mount, part in parts if not any(one.startswith(mount) and part in one for one in asked)}
    assert dead == set()
