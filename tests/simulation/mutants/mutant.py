"""A mutant: the product with one of its rules left out, and whether the simulation notices."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import attrs

from tests.simulation.known import unexplained
from tests.simulation.plan import Item, Plan, make_plan
from tests.simulation.run import Run
from tests.simulation.schedule import Finding

SEEDS = 200
"""Within so many a mutant must be noticed."""

Kind = tuple[str, str]
"""An invariant and the provider at which it is broken."""


@attrs.frozen
class Change:
    """A part of the product that is replaced, in memory, while a mutant lives."""

    owner: Any
    """A class or a module."""
    name: str
    by: Any


@attrs.frozen(kw_only=True)
class Mutant:
    """The product without one of its rules."""

    name: str
    rule: str
    """What the product does and this mutant does not."""
    changes: tuple[Change, ...]
    breaks: frozenset[str] = attrs.field(converter=frozenset)
    """The invariants by which it may be noticed."""
    profile: str
    slugs: tuple[str, ...]
    aimed: tuple[Item, ...] = ()
    """What each seed's plan has besides, where the rule is about something that seeds meet too rarely."""
    why: str = ""
    """What the aimed items bring about."""

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Within the block, the product is the mutant."""
        with ExitStack() as stack:
            for one in self.changes:
                stack.enter_context(patch.object(one.owner, one.name, one.by))
            yield

    def plan(self, seed: int) -> Plan:
        """What it goes through."""
        plan = make_plan(seed, profile=self.profile, slugs=self.slugs)
        return attrs.evolve(plan, items=sorted([*plan.items, *self.aimed], key=lambda item: item["at"]))


@attrs.frozen(kw_only=True)
class Noticed:
    """How a mutant was noticed."""

    seed: int
    """The first that shows it."""
    kinds: tuple[Kind, ...]
    findings: tuple[Finding, ...]
    cpu_seconds: float
    """Of all seeds until then, with those of the unchanged product for comparison."""


def notice(mutant: Mutant, seeds: Iterable[int] = range(SEEDS)) -> Noticed | None:
    """How it is noticed: by what no known fault explains and the unchanged product does not show in the same seed."""
    began = time.process_time()
    for seed in seeds:
        plan = mutant.plan(seed)
        with mutant.alive():
            findings = unexplained(plan, Run(plan).play())
        kinds = _kinds(one for one in findings if one.invariant in mutant.breaks)
        if kinds:
            kinds -= _kinds(Run(plan).play())
        if kinds:
            return Noticed(
                seed=seed,
                kinds=tuple(sorted(kinds)),
                findings=tuple(one for one in findings if (one.invariant, one.slug) in kinds),
                cpu_seconds=time.process_time() - began,
            )
    return None


def _kinds(findings: Iterable[Finding]) -> set[Kind]:
    return {(one.invariant, one.slug) for one in findings}


# --- for the tables -----------------------------------------------------------------------------------------------


def nothing(*_args: Any, **_options: Any) -> None:
    """Do nothing."""


def always(value: Any) -> Callable[..., Any]:
    """A function that returns this, whatever it is called with."""
    return lambda *_args, **_options: value


def deed(at: float, do: str, **more: Any) -> Item:
    """An item: somebody does this to the first account."""
    return {"at": at, "do": do, "account": "n0", "tenant": 0, **more}


def act(at: float, what: str, **more: Any) -> Item:
    """An item: that happens at the vendor."""
    return {"at": at, "do": "act", "account": "n0", "what": what, "dice": int(at), **more}


def fault(at: float, do: str, **more: Any) -> Item:
    """An item: that goes wrong."""
    return {"at": at, "do": do, **more}
