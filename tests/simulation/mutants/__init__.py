"""The product with its rules left out, one by one: each must be noticed."""

from collections.abc import Mapping

from tests.simulation.mutants import connections, reading, tokens, webhooks
from tests.simulation.mutants.mutant import SEEDS, Mutant, Noticed, notice

MUTANTS: tuple[Mutant, ...] = (*tokens.MUTANTS, *reading.MUTANTS, *webhooks.MUTANTS, *connections.MUTANTS)

UNSEEN: Mapping[str, str] = {
    "threads of a process that want the same refresh share one": (
        "It saves requests to the database. The grant's lease keeps the refreshes apart without it."
    ),
    "who gets the lease looks whether the previous holder has refreshed": (
        "The grant is read again in any case, so a refresh too many uses the newest pair."
    ),
    "a task that met an error of our database is queued again": (
        "Minutes later the rescue of jobs queues it, or the schedule does; the two together are a mutant."
    ),
    "one job of a connection runs at a time": (
        "A cursor that goes back only reads again, and what is found twice is stored once."
    ),
    "a run that has found lost history proves nothing": (
        "What such a run does not show again is what no later read shows, and nobody promises that."
    ),
    "subscriptions are renewed in time": (
        "They last for days and a run for hours; and one that has ended is replaced within a minute."
    ),
    "a disconnect cancels the connection's jobs": (
        "A job of an ended connection ends by itself when it runs: whatever it asks for is refused here."
    ),
    "a subscription whose answer was lost is kept as pending": (
        "Nothing tells an answer that was lost from a request that never left: `outcome_unknown` is set by no adapter."
    ),
}
"""Rules whose absence is not noticed, and why."""

UNBROKEN: Mapping[str, str] = {
    "answered-late": "It takes a vendor's answer inside of an API call that needs none: no rule of ours stands between.",
    "half-ended": "The product has no rule for it yet: a disconnect whose process dies is forgotten.",
    "hook-extra": "The product has no rule for it yet: what it does not know of at a vendor stays there.",
    "stuck": "A run without end is 400,000 steps long: half a minute for each seed.",
}
"""Invariants that no mutant breaks, and why."""

__all__ = ["MUTANTS", "SEEDS", "UNBROKEN", "UNSEEN", "Mutant", "Noticed", "notice"]
