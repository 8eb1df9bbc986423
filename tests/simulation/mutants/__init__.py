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
        "Minutes later the rescue of jobs queues it, or the schedule does; two hundred seeds without both show nothing."
    ),
    "one job of a connection runs at a time": (
        "A cursor that goes back only reads again, and what is found twice is stored once."
    ),
    "a bookmark that has lapsed leaves a gap": (
        "History is read again since the last good read; what it does not show (deletions, labels) nobody promises."
    ),
    "only the end of a run and something new is progress, not a page": (
        "A circle of pages is then asked twice in a minute and a half, which is no flood; the unit tests count it."
    ),
    "each kind of work gets its turn": "The histories of a run are a few pages long: none keeps what is new waiting.",
    "a worker that was taken for dead stores nothing more": "A process that dies here never wakes up again.",
    "what the vendor no longer shows is not claimed": "No lever hides what is old, as a free plan does.",
    "all machines read by the database's clock": (
        "Within forty seeds of deaths nothing shows it: the packages look back further than clocks mostly differ."
    ),
    "another stream shows what is new in a stream only since that was found": (
        "Six seeds with a project of Jira that is hidden for a while do not show it; why is open."
    ),
    "where things move between streams, history is read twice": (
        "Eight seeds with mail that moves while folders are listed do not show it; why is open."
    ),
    "a run proves what happened until it began, not until it ended": (
        "Ten seeds with files that appear while Drive's log is read do not show it; why is open."
    ),
    "a stream that somebody gave up is not claimed": "Nobody here gives up a stream.",
    "the vendor's refusal of an old pair says nothing about a pair that was stored since": (
        "A new consent is another grant, which the refusal does not concern; on one grant the lease keeps refreshes apart."
    ),
    "subscriptions are renewed in time": (
        "They last for days and a run for hours; and one that has ended is replaced within a minute."
    ),
    "a disconnect cancels the connection's jobs": (
        "A job of an ended connection ends by itself when it runs: whatever it asks for is refused here."
    ),
    "background work keeps within the vendor's limits": (
        "Reads rest for two seconds and requests for them become one: three hundred in ten minutes are no flood."
    ),
    "a subscription whose answer was lost is kept as pending": (
        "It is asked for again all the same, and takes over what is there; a few deliveries are lost meanwhile."
    ),
    "a refresh token that was sent in vain is sent again at once only where the vendor tolerates it": (
        "It is for requests that reach the vendor late; here they arrive at once or never."
    ),
}
"""Rules whose absence is not noticed, and why."""

UNBROKEN: Mapping[str, str] = {
    "backfill-given-up": (
        "A failed backfill counts only while what it asked for is still not read and nothing says so, and that is wanted apart "
        "from its job: no single rule stands between."
    ),
    "reader-failed": "It tells of a reader of the oracle's own that could not read, not of the product.",
    "answered-late": "It takes a vendor's answer inside of an API call that needs none: no rule of ours stands between.",
    "job-spins": "What made jobs spin is mended, and regression scripts show it; no single rule stands between.",
    "sandbox-error": "It tells of a bug of the sandbox, not of the product.",
}
"""Invariants that no mutant breaks, and why."""

__all__ = ["MUTANTS", "SEEDS", "UNBROKEN", "UNSEEN", "Mutant", "Noticed", "notice"]
