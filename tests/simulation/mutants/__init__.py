"""The product with its rules left out, one by one: each must be noticed."""

from tests.simulation.mutants import connections, reading, tokens, webhooks
from tests.simulation.mutants.mutant import SEEDS, Mutant, Noticed, notice

MUTANTS: tuple[Mutant, ...] = (*tokens.MUTANTS, *reading.MUTANTS, *webhooks.MUTANTS, *connections.MUTANTS)

__all__ = ["MUTANTS", "SEEDS", "Mutant", "Noticed", "notice"]
