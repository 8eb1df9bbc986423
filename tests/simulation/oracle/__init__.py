"""What must hold: one function for each invariant. The truth is the sandbox, and what an undisturbed reader sees of it.

An exemption names its cause (this callback died, that user withdrew), never a kind of finding.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tests.simulation.oracle import (
    answers,
    connections,
    cost,
    coverage,
    deliveries,
    holdings,
    jobs,
    reading,
    signals,
    vendors,
)
from tests.simulation.oracle.auditor import Auditor
from tests.simulation.oracle.holdings import Holdings

if TYPE_CHECKING:
    from tests.simulation.run import Run

AT_THE_END: Mapping[str, Callable[["Run"], None]] = {
    "bounded requests to every vendor": vendors.is_polite,
    "bounded requests to a list that fails": vendors.asks_less_what_fails,
    "a read that brings nothing is cheap": cost.is_small_when_quiet,
    "hooks and tokens at the vendors are those of living connections": vendors.leaves_nothing_behind,
    "no replaced refresh token is sent again": vendors.reuses_no_token,
    "no call of ours ends tokens that a connection lives on": holdings.kill_no_working_grant,
    "no call of ours removes a hook that is in use": holdings.kill_no_hook_in_use,
    "a connection ends with its subscriptions": holdings.end_hooks_with_connections,
    "what has to go at a vendor goes, and its secrets too": holdings.end_what_has_to_go,
    "no connection is given up whose tokens work": holdings.give_up_nothing_alive,
    "no working connection is ended by us": connections.end_only_when_told,
    "what was begun at a vendor is finished": connections.finish_what_they_began,
    "what an answer said stays": answers.keep_what_was_answered,
    "a repeated callback is answered as the first": answers.repeat_what_was_answered,
    "erased is erased": answers.erase_everything,
    "the API answers while vendors are slow": answers.are_given_soon,
    "every accepted delivery is accounted for": deliveries.are_accounted_for,
    "jobs end": jobs.end,
    "nothing is twice": signals.are_there_once,
    "no delivery is twice": deliveries.are_there_once,
    "the feed gives every signal once": signals.are_given_by_the_feed,
    "tables do not grow without reason": jobs.leave_little_behind,
    "what was promised arrives or is said to be missing": coverage.is_complete_or_says_so,
    "after what went wrong every stream is read again": reading.recovers,
    "status and health agree with what can be read": connections.tell_their_health,
}
"""The invariants that are judged when everything has settled. `Auditor` looks at others every virtual hour; the schedule
and the ports report what may never happen at all (a crash, a nested transaction, locks in two orders)."""


def judge(run: "Run") -> None:
    """Report whatever does not hold."""
    run.auditor.look()
    for check in AT_THE_END.values():
        check(run)


__all__ = ["AT_THE_END", "Auditor", "Holdings", "judge"]
