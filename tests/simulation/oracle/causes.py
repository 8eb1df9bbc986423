"""What may have caused a finding, in words for its text: a known fault names its cause by them."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import Interval
from tests.simulation.truth import Fact

if TYPE_CHECKING:
    from tests.simulation.ports.wire import Exchange
    from tests.simulation.run import Run

SKIPPED = frozenset({400, 403, 404, 410, 422})
"""Statuses by which a vendor may say that a list is not for us, or not there."""

HOOKS, REVOCATIONS = ("/hooks", "/watch", "/stop", "/webhook"), ("revoke", "uninstall", "applications")
"""Words in the paths of calls that make or end hooks, and tokens."""

SOON = 60.0
"""Seconds within which what a vendor answered is stored."""


def of_a_claim(run: "Run", connection: Connection, fact: Fact, claim: Interval) -> str:
    """What went wrong with what the claim relies on, since the fact could be seen."""
    mount = run.accounts[next(name for name, one in run.accounts.items() if one.slug == connection.provider)].mount
    if claim.path == "webhook":
        is_lost = any(
            one.provider == mount and (one.is_dropped or not any(attempt.is_success for attempt in one.attempts))
            for one in run.sandbox.deliveries.log
        )
        return ", a delivery was lost" if is_lost else ""
    is_refused = any(
        one.mount == mount
        and one.was_refused
        and one.status in SKIPPED
        and one.at >= fact.since
        and one.refused_for in {None, connection.tenant_id}
        for one in run.wire.log
    )
    return ", a list was refused" if is_refused else ""


def of_hooks(run: "Run", name: str) -> str:
    """What went wrong with the requests that make and end the account's hooks, and with the endings themselves."""
    mount = run.accounts[name].mount
    calls = [one for one in run.wire.log if one.mount == mount and one.method != "GET" and _has(one, HOOKS)]
    words = ""
    if any(_is_unknown(one) for one in calls):
        words += ", what a request for a hook did is not known here"
    if any(one.was_refused for one in calls):
        words += ", a request for a hook was refused"
    is_unfinished = any(not one.is_ok for one in run.people.deeds(name, "disconnect"))
    return words + (", a disconnection was not finished" if is_unfinished else "")


def of_making(run: "Run", name: str) -> str:
    """Whether a hook was being made for the account while somebody ended a connection of it."""
    made = [one.at for one in run.wire.log if one.mount == run.accounts[name].mount and _makes_hook(one)]
    ends = [one for one in run.people.diary if one.item["do"] == "erase" or one in run.people.deeds(name, "disconnect")]
    is_meanwhile = any(one.began - SOON <= at <= one.ended + SOON for one in ends for at in made)
    return ", a hook was being made while its connection ended" if is_meanwhile else ""


def _makes_hook(exchange: "Exchange") -> bool:
    return exchange.method == "POST" and _has(exchange, HOOKS) and "/stop" not in exchange.path


def of_tokens(run: "Run", mount: str) -> str:
    """What went wrong with revocations."""
    is_refused = any(one.mount == mount and one.was_refused and _has(one, REVOCATIONS) for one in run.wire.log)
    return ", a revocation was refused" if is_refused else ""


def _has(exchange: "Exchange", words: tuple[str, ...]) -> bool:
    return any(word in exchange.path for word in words)


def _is_unknown(exchange: "Exchange") -> bool:
    """Whether the vendor did it and nobody here may have stored that: the answer, or a commit after it, got lost."""
    actor, at = exchange.actor, exchange.at
    if actor is None or not HTTPStatus.OK <= exchange.status < HTTPStatus.MULTIPLE_CHOICES or exchange.was_refused:
        return False
    has_failed = any(at <= second <= at + SOON for second in actor.failures)
    return has_failed or exchange.is_forgotten
