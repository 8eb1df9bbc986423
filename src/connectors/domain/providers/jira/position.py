"""The position in a search for issues, the least recently updated first: written as JSON between two pages.

The README proves that nothing is missed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import from_epoch_seconds
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.jira.payloads import Issue, read_id
from connectors.domain.providers.jira.signals import epoch_ms
from connectors.domain.providers.toolbox.foreign import read_each, read_list
from connectors.domain.providers.toolbox.order import DOUBT, supported_position

SITE = "site"
"""The key of the stream that shows every change."""
SETTLE = timedelta(minutes=17)
"""How long a change may take to reach the search: ten minutes that the index lags, and seven that clocks may differ."""
SECOND = 1000
"""Milliseconds. Whether the index compares them is not documented, so positions are whole seconds."""


@attrs.frozen(kw_only=True)
class Position:
    """Where the next page begins."""

    since_ms: int
    """The search asks for issues updated at or after this (epoch milliseconds)."""
    token: str | None = None
    """Jira's token for more of the same search, where it holds more than a page and `since_ms` cannot advance."""
    seen: frozenset[str] = frozenset()
    """Issues that this pass over the search has shown."""
    before: frozenset[str] | None = None
    """Those that the pass before had shown. Two equal passes prove that nothing moved under the first."""

    @classmethod
    def at(cls, since: datetime) -> "Position":
        """The first position of a run that reads from an instant on."""
        return cls(since_ms=max(_whole_second(since), 0))

    @classmethod
    def read(cls, cursor: Cursor) -> "Position":
        """The position that a cursor or bookmark describes.

        Raises:
            UnexpectedResponseError: it is not one of this package.
        """
        since, token, before = cursor.get("since"), cursor.get("token"), cursor.get("before")
        if not isinstance(since, int):
            raise UnexpectedResponseError("The stored cursor is not one of Jira's.")
        return cls(
            since_ms=since,
            token=token if isinstance(token, str) else None,
            seen=_ids(cursor.get("seen")),
            before=None if before is None else _ids(before),
        )

    def cursor(self) -> Cursor:
        """The position as JSON values."""
        values: dict[str, Any] = {"since": self.since_ms}
        if self.token is not None:
            values |= {"token": self.token, "seen": sorted(self.seen)}
        if self.before is not None:
            values["before"] = sorted(self.before)
        return values

    def may_end(self, issues: Sequence[Issue], asked_after: datetime) -> bool:
        """Whether the run advances with the first issues of a page, the rest left to the next one."""
        return self.token is None and self._supported(issues, asked_after) is not None

    def after(
        self, issues: Sequence[Issue], token: Any, asked_after: datetime, *, is_cut: bool = False
    ) -> "Position | None":
        """The position after a page with these issues and this `nextPageToken`; None: the search has ended.

        `isLast` is not looked at: it has been seen to mislead.

        Args:
            issues: of the page, those that were read.
            token: its `nextPageToken`; None too if the page was empty.
            asked_after: an instant before the page was asked for.
            is_cut: these are only the first of the page, and `may_end`.
        """
        supported = self._supported(issues, asked_after)
        has_more = is_cut or (isinstance(token, str) and bool(token))
        if self.token is None and not has_more:
            return None
        if self.token is None and supported is not None:
            return Position(since_ms=supported)
        # An issue that changes later than this is read by the next run in any case.
        known = [one for one in issues if one.updated is None or one.updated <= asked_after]
        if supported is None and has_more:
            return attrs.evolve(self, token=token, seen=self.seen.union(one.id for one in known))
        if supported is not None:
            known = [one for one in known if one.updated and _whole_second(one.updated) <= self.since_ms]
        seen = self.seen.union(one.id for one in known)
        if seen != self.before:
            # A token may count from the list's start: an issue that left would hide another between two pages.
            return Position(since_ms=self.since_ms, before=seen)
        return None if supported is None else Position(since_ms=self.since_ms + SECOND)

    def _supported(self, issues: Sequence[Issue], asked_after: datetime) -> int | None:
        """How far the page's order bears out a position beyond the present one; None: not at all.

        What shows a fresh instant may have been edited while the page was made, and proves nothing.
        """
        settled = [one.updated for one in issues if one.updated and one.updated <= asked_after - SETTLE]
        # The first row is mostly the one at the position, so of three rows only one can be doubted.
        doubt = min(DOUBT, max(len(settled) - 2, 0))
        found = supported_position(settled, from_epoch_seconds(self.since_ms / 1000), asked_after, SETTLE, doubt)
        whole = None if found is None else _whole_second(found)
        return whole if whole is not None and whole > self.since_ms else None


def bookmark_at(until: datetime) -> Cursor:
    """The bookmark of a run that has shown all that the search knew at that instant."""
    return Position.at(until - SETTLE).cursor()


def _whole_second(at: datetime) -> int:
    return epoch_ms(at) // SECOND * SECOND


def _ids(value: Any) -> frozenset[str]:
    return frozenset(read_each(read_list(value), read_id))
