"""The order in which transactions lock rows: two rows locked in both orders can deadlock in PostgreSQL."""

from collections.abc import Callable, Hashable

import attrs

MOST_LOCKS = 40
"""Locks of one transaction that are compared with each other."""

Lock = tuple[str, Hashable]
"""A table and a key in it."""


@attrs.define(eq=False)
class HeldLocks:
    """What one transaction has locked, in order."""

    by: str
    """Who, for the report."""
    order: dict[Lock, bool] = attrs.field(factory=dict)
    """Lock → whether the transaction would have waited for it."""

    def take(self, table: str, key: Hashable, *, waits: bool = True) -> None:
        """Note that the row is locked from now on."""
        self.order.setdefault((table, key), waits)


@attrs.define(eq=False)
class LockOrder:
    """All pairs of locks that transactions have taken one after the other."""

    report: Callable[[str], None]
    _pairs: dict[tuple[Lock, Lock], list[tuple[frozenset[Lock], str]]] = attrs.field(factory=dict)
    _reported: set[tuple[str, str, str, str]] = attrs.field(factory=set)

    def end(self, held: HeldLocks) -> None:
        """Compare a transaction that has ended with all earlier ones."""
        locks = list(held.order)[:MOST_LOCKS]
        for later, second in enumerate(locks):
            for earlier, first in enumerate(locks[:later]):
                self._compare(first, second, frozenset(locks[:earlier]), held)

    def _compare(self, first: Lock, second: Lock, before: frozenset[Lock], held: HeldLocks) -> None:
        if not held.order[second]:
            return  # it would have been skipped, not waited for
        # A lock that both take first keeps the two apart.
        for others, by in self._pairs.get((second, first), ()):
            if not (before & others):
                self._tell(first[0], second[0], held.by, by)
        seen = self._pairs.setdefault((first, second), [])
        if not any(known <= before for known, _ in seen):
            seen.append((before, held.by))

    def _tell(self, first: str, second: str, by: str, other: str) -> None:
        what = (first, second, by, other)
        if what not in self._reported:
            self._reported.add(what)
            self.report(f"{by} locks {first} before {second}, {other} locks {second} before {first}")
