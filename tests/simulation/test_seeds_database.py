"""Seeds of the profile `database`. A file of its own, so that profiles run side by side."""

from tests.simulation.seeds import seeds_of

test_database = seeds_of("database")
