"""Seeds of the profile `deaths`. A file of its own, so that profiles run side by side."""

from tests.simulation.seeds import seeds_of

test_deaths = seeds_of("deaths")
