"""Seeds of the profile `people`. A file of its own, so that profiles run side by side."""

from tests.simulation.seeds import seeds_of

test_people = seeds_of("people")
