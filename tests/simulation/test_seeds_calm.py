"""Seeds of the profile `calm`. A file of its own, so that profiles run side by side."""

from tests.simulation.seeds import seeds_of

test_calm = seeds_of("calm")
