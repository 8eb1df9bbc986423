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
    _call: list[Lock] = attrs.field(factory=list)

    def take(self, table: str, key: Hashable, *, waits: bool = True) -> None:
        """Note that the row is locked from now on."""
        self.order.setdefault((table, key), waits)

    def take_in_call(self, table: str, key: Hashable) -> None:
        """Note that the row is locked by the call of a store that is under way."""
        self._call.append((table, key))

    def end_call(self) -> None:
        """One call locks a table's rows in the order of their keys, as `adapters/postgres` does: none of two waits for
        the other."""
        if self._call:
            for one in dict.fromkeys(table for table, _ in self._call):
                for table, key in sorted((lock for lock in self._call if lock[0] == one), key=repr):
                    self.take(table, key)
            self._call.clear()


@attrs.define(eq=False)
class LockOrder:
    """All pairs of locks that transactions have taken one after the other."""

    report: Callable[[str], None]
    _numbers: dict[Lock, int] = attrs.field(factory=dict)
    """Locks as numbers, which compare faster."""
    _tables: list[str] = attrs.field(factory=list)
    _pairs: dict[tuple[int, int], list[tuple[frozenset[int], str]]] = attrs.field(factory=dict)
    _known: set[tuple[str, tuple[int, ...]]] = attrs.field(factory=set)
    _reported: set[tuple[str, str, str, str]] = attrs.field(factory=set)

    def end(self, held: HeldLocks) -> None:
        """Compare a transaction that has ended with all earlier ones."""
        taken = [(self._number(lock), waits) for lock, waits in list(held.order.items())[:MOST_LOCKS]]
        order = tuple(number for number, _ in taken)
        if len(order) < 2 or (held.by, order) in self._known:
            return
        self._known.add((held.by, order))
        before = [frozenset(order[:index]) for index in range(len(order))]
        for later, (second, waits) in enumerate(taken):
            if waits:  # others are skipped if somebody holds them
                for earlier, first in enumerate(order[:later]):
                    self._compare(first, second, before[earlier], held.by)

    def _number(self, lock: Lock) -> int:
        number = self._numbers.setdefault(lock, len(self._numbers))
        if number == len(self._tables):
            self._tables.append(lock[0])
        return number

    def _compare(self, first: int, second: int, before: frozenset[int], by: str) -> None:
        # A lock that both take first keeps the two apart.
        for others, other in self._pairs.get((second, first), ()):
            if before.isdisjoint(others):
                self._tell(self._tables[first], self._tables[second], by, other)
        seen = self._pairs.setdefault((first, second), [])
        if not any(known <= before for known, _ in seen):
            seen.append((before, by))

    def _tell(self, first: str, second: str, by: str, other: str) -> None:
        what = (first, second, by, other)
        if what not in self._reported:
            self._reported.add(what)
            self.report(f"{by} locks {first} before {second}, {other} locks {second} before {first}")
