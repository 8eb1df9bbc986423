"""Tables of event rules, one row per event. Families, subscribed events and docs are derived from the rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import Family

P = TypeVar("P")


@attrs.frozen(kw_only=True)
class EventRule(Generic[P]):
    """How one of a vendor's webhook events becomes signals."""

    family: str
    """The family that it belongs to."""
    kinds: frozenset[SignalKind]
    """Every kind of signal that it can become."""
    payload: type[P]
    """The class of its payload."""
    make: Callable[..., Any]
    """Makes its signals from the payload. Each provider package says which other arguments it gets."""
    subscribed_as: tuple[str, ...] = ()
    """The names under which the vendor offers it; empty: its own name up to the first dot."""


Rules = Mapping[str, EventRule[Any]]
"""The vendor's name for the event, with its action where it has one → its rule."""


def subscribed_events(rules: Rules) -> tuple[str, ...]:
    """The vendor's events to subscribe to so that every event of the table arrives; each once, in table order."""
    return tuple(
        dict.fromkeys(
            name for event, rule in rules.items() for name in rule.subscribed_as or (event.partition(".")[0],)
        )
    )


def kinds_of(rules: Rules) -> frozenset[SignalKind]:
    """Every kind that the table's events can become."""
    return frozenset(kind for rule in rules.values() for kind in rule.kinds)


def derive_families(rules: Rules, *families: Family) -> tuple[Family, ...]:
    """The families, with the kinds and events of their rows added.

    Args:
        rules: the table.
        families: each with its name and flags; kinds and events that they already have are kept.

    Raises:
        ValueError: a row names a family that is not listed, or a family has no kinds.
    """
    return _fill(families, [(rule.family, rule.kinds, frozenset({event})) for event, rule in rules.items()])


def derive_families_by_kind(
    family_of: Mapping[SignalKind, str], *families: Family, events: Mapping[str, SignalKind] = MappingProxyType({})
) -> tuple[Family, ...]:
    """The families, with their kinds added, for a vendor whose changes are mostly found by reading.

    Args:
        family_of: kind → name of its family. Its keys are all kinds that the provider can emit.
        families: as for `derive_families`.
        events: the vendor's webhook event → the kind that it reports.

    Raises:
        ValueError: as from `derive_families`.
        KeyError: an event reports a kind that has no family.
    """
    rows = [(family, frozenset({kind}), frozenset[str]()) for kind, family in family_of.items()]
    rows += [(family_of[kind], frozenset({kind}), frozenset({event})) for event, kind in events.items()]
    return _fill(families, rows)


_Row = tuple[str, frozenset[SignalKind], frozenset[str]]


def _fill(families: Iterable[Family], rows: Sequence[_Row]) -> tuple[Family, ...]:
    filled = {family.name: family for family in families}
    unknown = {name for name, _, _ in rows} - filled.keys()
    if unknown:
        raise ValueError(f"rows of families that are not listed: {', '.join(sorted(unknown))}")
    for name, kinds, events in rows:
        family = filled[name]
        filled[name] = attrs.evolve(family, kinds=family.kinds | kinds, events=family.events | events)
    empty = [family.name for family in filled.values() if not family.kinds]
    if empty:
        raise ValueError(f"families without kinds: {', '.join(empty)}")
    return tuple(filled.values())
