"""A table in memory: rows by key, indexes, one sort order, and undo for every change."""

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from connectors.domain.model.paging import Page, PageRequest, Position

K = TypeVar("K", bound=tuple[Any, ...])
R = TypeVar("R")

UndoLog = list[Callable[[], None]]
"""How to undo the changes of the current unit of work, in the order in which they were made."""


class Table(Generic[K, R]):
    """Rows by key. Each key starts with the tenant id."""

    def __init__(
        self,
        undo: UndoLog,
        *,
        indexes: Mapping[str, Callable[[R], Hashable]] | None = None,
        order: Callable[[R], tuple[datetime, UUID]] | None = None,
    ) -> None:
        """An empty table.

        Args:
            undo: receives a function that undoes each change.
            indexes: what `find` can look up, by the index's name.
            order: the sort key of lists, within one tenant.
        """
        self._undo = undo
        self._rows: dict[K, R] = {}
        self._indexes = dict(indexes or {})
        self._entries: dict[tuple[str, Hashable], dict[K, None]] = {}
        self._order = order
        self._sorted: dict[Any, list[tuple[datetime, UUID, K]]] = {}

    def get(self, key: K) -> R | None:
        """The row under the key, or None."""
        return self._rows.get(key)

    def values(self) -> list[R]:
        """All rows, in insertion order."""
        return list(self._rows.values())

    def items(self) -> list[tuple[K, R]]:
        """All keys and rows, in insertion order."""
        return list(self._rows.items())

    def find(self, index: str, value: Hashable) -> list[R]:
        """The rows to which the index gives this value."""
        return [self._rows[key] for key in self._entries.get((index, value), ())]

    def put(self, key: K, row: R) -> None:
        """Insert the row, or replace the one under its key."""
        before = self._rows.get(key)
        self._undo.append(lambda: self._set(key, before))
        self._set(key, row)

    def remove(self, key: K) -> R | None:
        """Delete the row and return it; None if there was none."""
        before = self._rows.get(key)
        if before is not None:
            self._undo.append(lambda: self._set(key, before))
            self._set(key, None)
        return before

    def remove_tenant(self, tenant_id: UUID) -> None:
        """Delete every row whose key starts with this tenant."""
        for key in [key for key in self._rows if key[0] == tenant_id]:
            self.remove(key)

    def newest_first(self, tenant_id: UUID, after: Position | None = None) -> Iterator[R]:
        """The tenant's rows in descending order; with `after`, only those after it."""
        entries = self._sorted.get(tenant_id, [])
        end = len(entries) if after is None else bisect_left(entries, (after.at, after.id))
        for index in range(end - 1, -1, -1):
            yield self._rows[entries[index][2]]

    def page(self, tenant_id: UUID, page: PageRequest, accept: Callable[[R], bool]) -> Page[R]:
        """A page of the tenant's accepted rows, newest first."""
        assert self._order is not None, "only ordered tables have pages"  # noqa: S101 - a bug here, not an input
        items: list[R] = []
        for row in self.newest_first(tenant_id, page.after):
            if not accept(row):
                continue
            if len(items) == page.limit:
                return Page(tuple(items), Position(*self._order(items[-1])))
            items.append(row)
        return Page(tuple(items), None)

    def _set(self, key: K, row: R | None) -> None:
        before = self._rows.get(key)
        if before is not None:
            self._forget(key, before)
        if row is None:
            self._rows.pop(key, None)
            return
        self._rows[key] = row
        for name, read in self._indexes.items():
            self._entries.setdefault((name, read(row)), {})[key] = None
        if self._order is not None:
            insort(self._sorted.setdefault(key[0], []), (*self._order(row), key))

    def _forget(self, key: K, row: R) -> None:
        for name, read in self._indexes.items():
            entry = (name, read(row))
            self._entries[entry].pop(key, None)
            if not self._entries[entry]:
                del self._entries[entry]
        if self._order is not None:
            entries = self._sorted[key[0]]
            del entries[bisect_left(entries, (*self._order(row), key))]
            if not entries:
                del self._sorted[key[0]]
