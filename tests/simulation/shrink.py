"""The smallest script that still breaks an invariant: items left out in halves, then one by one."""

import time
from collections.abc import Callable

import attrs

from tests.simulation.known import unexplained
from tests.simulation.plan import Item, Plan
from tests.simulation.run import Run


def shrink(plan: Plan, invariant: str, slug: str | None = None, *, seconds: float = 600.0) -> Plan:
    """The plan with only those items, old items and accounts that an unexplained finding of this kind needs.

    Args:
        plan: which shows it.
        invariant: the rule that is broken.
        slug: the provider; None for any.
        seconds: CPU time after which the smallest plan so far must do.
    """
    give_up_at = time.process_time() + seconds

    def shows(candidate: Plan) -> bool:
        if time.process_time() > give_up_at:
            return False
        findings = unexplained(candidate, Run(candidate).play())
        return any(one.invariant == invariant and slug in {None, one.slug} for one in findings)

    plan = attrs.evolve(plan, items=_fewest(list(plan.items), lambda items: shows(attrs.evolve(plan, items=items))))
    for changes in (
        {"stalls": 0.0},
        {"offsets": {}},
        {"slow": {}},
        {"accounts": [attrs.evolve(one, items=0) for one in plan.accounts]},
    ):
        smaller = attrs.evolve(plan, **changes)
        if smaller != plan and shows(smaller):
            plan = smaller
    for account in list(plan.accounts):
        rest = [one for one in plan.accounts if one is not account]
        if rest and not any(item.get("account") == account.name for item in plan.items):
            smaller = attrs.evolve(plan, accounts=rest)
            plan = smaller if shows(smaller) else plan
    return plan


def _fewest(items: list[Item], shows: Callable[[list[Item]], bool]) -> list[Item]:
    size = max(len(items) // 2, 1)
    while True:
        begin = 0
        while begin < len(items):
            fewer = items[:begin] + items[begin + size :]
            if fewer and shows(fewer):
                items = fewer
            else:
                begin += size
        if size == 1:
            return items
        size //= 2
