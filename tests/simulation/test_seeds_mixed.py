"""Seeds of the profile `mixed`. A file of its own, so that profiles run side by side."""

from tests.simulation.seeds import seeds_of

test_mixed = seeds_of("mixed")
