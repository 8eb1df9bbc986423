"""The tests of one profile's seeds."""

from collections.abc import Callable

import pytest

from tests.simulation.known import unexplained
from tests.simulation.plan import PROFILES, make_plan, write_script
from tests.simulation.run import Run
from tests.simulation.shrink import shrink

IN_EVERY_RUN, THOROUGH = 200, 1_000
"""Seeds of all profiles together."""


def seeds_of(profile: str) -> Callable[[int], None]:
    """A test of each seed that has this profile: few in every run, all with `-m thorough`."""
    every = range(list(PROFILES).index(profile), THOROUGH, len(PROFILES))
    sizes = [pytest.param(seed, marks=() if seed < IN_EVERY_RUN else pytest.mark.thorough) for seed in every]

    @pytest.mark.parametrize("seed", sizes)
    def test_a_seed_finds_nothing_new(seed: int) -> None:
        """Whatever a run of this seed finds is known."""
        plan = make_plan(seed)
        found = unexplained(plan, Run(plan).play())
        if found:
            smallest = shrink(plan, found[0].invariant, found[0].slug, seconds=60)
            told = "\n".join(f"{one.invariant} [{one.slug}] {one.text}" for one in found)
            pytest.fail(
                f"seed {seed} found\n{told}\n\nThe smallest script that shows the first:\n{write_script(smallest)}",
                pytrace=False,
            )

    return test_a_seed_finds_nothing_new
