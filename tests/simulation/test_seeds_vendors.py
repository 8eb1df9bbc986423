"""Seeds of the profile `vendors`. A file of its own, so that profiles run side by side."""

from tests.simulation.seeds import seeds_of

test_vendors = seeds_of("vendors")
