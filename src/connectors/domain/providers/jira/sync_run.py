"""The position of a sync run and how it advances: Jira's cursor, written as JSON between two pages."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import from_epoch_seconds, rfc3339
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.jira.payloads import Issue
from connectors.domain.providers.jira.signals import epoch_ms
from connectors.domain.providers.toolbox.foreign import read_list

MAX_DOUBTED = 2
"""Issues of a full page whose `updated` may be newer than the index: so many edits can happen while it is made."""
DOUBTED_OF = 25
"""One in so many: short pages come at a sync run's end, whose last ten minutes the next sync run reads again."""


@attrs.frozen(kw_only=True)
class SyncRun:
    """The position of a sync run."""

    since_ms: int
    """The next search asks for issues updated at or after this (epoch milliseconds)."""
    started_ms: int
    """Where the sync run began: nothing that happened before is of interest to an incremental one."""
    token: str | None = None
    """Jira's token for more of the same search, only while one second fills whole pages."""
    used: tuple[str, ...] = ()
    """Hashes of the tokens used in this pass over the second; a token that comes again is a loop."""
    seen: frozenset[str] = frozenset()
    """Issues of the second that this pass has shown."""
    before: frozenset[str] | None = None
    """Those that the pass before had shown; two equal passes prove that nothing moved under the first."""
    done: bool = False
    gap: str | None = None

    @classmethod
    def read(cls, cursor: Cursor) -> "SyncRun":
        """The sync run that a cursor describes.

        Raises:
            UnexpectedResponseError: it is not a cursor of this package.
        """
        since, started, token = cursor.get("since"), cursor.get("started"), cursor.get("token")
        if not isinstance(since, int) or not isinstance(started, int):
            raise UnexpectedResponseError("The stored cursor is not one of Jira's.")
        before = cursor.get("before")
        return cls(
            since_ms=since,
            started_ms=started,
            token=token if isinstance(token, str) else None,
            used=tuple(_texts(cursor.get("used"))),
            seen=frozenset(_texts(cursor.get("seen"))),
            before=None if before is None else frozenset(_texts(before)),
        )

    def cursor(self) -> Cursor:
        """The sync run as JSON values."""
        values: dict[str, Any] = {"since": self.since_ms, "started": self.started_ms}
        if self.token is not None:
            values |= {"token": self.token, "used": list(self.used), "seen": sorted(self.seen)}
        if self.before is not None:
            values["before"] = sorted(self.before)
        return values

    def updated_until(self, issues: Sequence[Issue | None]) -> int:
        """Where a search for what follows these issues begins: a whole second.

        Issues are in the index's order, but their fields may be newer than the index: an issue that changes while the
        answer is made is at its old position with the new `updated`. The latest few of a long page are therefore not
        used, and the pages overlap by them. Whether the index compares milliseconds is not documented; rounding down
        is safe.
        """
        times = sorted((epoch_ms(issue.updated) for issue in issues if issue and issue.updated), reverse=True)
        doubted = min(MAX_DOUBTED, len(times) // DOUBTED_OF)
        return max(times[doubted] // 1000 * 1000 if times else 0, self.since_ms)

    def may_end(self, issues: Sequence[Issue | None]) -> bool:
        """Whether the sync run advances with the first issues of a page, the rest left to the next one."""
        return self.token is None and self.updated_until(issues) > self.since_ms

    def after(self, issues: Sequence[Issue | None], token: Any, *, is_cut: bool = False) -> "SyncRun":
        """The position after a page with these issues and this `nextPageToken`.

        `isLast` is not looked at: it has been seen to mislead.

        Args:
            issues: of the page, those that were read.
            token: its `nextPageToken`.
            is_cut: these are only the first of the page, and `may_end`.
        """
        has_more = is_cut or (isinstance(token, str) and bool(token) and bool(issues))
        if not has_more and self.token is None:
            newest = max((epoch_ms(one.updated) for one in issues if one and one.updated), default=self.since_ms)
            return self._at(max(newest // 1000 * 1000, self.since_ms), done=True)
        updated_until_ms = self.updated_until(issues)
        if self.token is None and updated_until_ms > self.since_ms:
            return self._at(updated_until_ms)
        seen = self.seen | {issue.id for issue in issues if issue and _is_in_second(issue, self.since_ms)}
        if has_more and updated_until_ms == self.since_ms:
            return self._next_of_second(seen, token)
        if seen == self.before:
            return self._at(self.since_ms + 1000)
        # An issue that left the second may have moved another one across the edge of a page: read it again.
        return attrs.evolve(self._at(self.since_ms), before=seen)

    def _next_of_second(self, seen: frozenset[str], token: str) -> "SyncRun":
        mark = hashlib.sha256(token.encode(errors="replace")).hexdigest()[:16]
        if mark in self.used:
            # The second is full and Jira repeats itself, so go on with the next second.
            second = rfc3339(from_epoch_seconds(self.since_ms / 1000))
            gap = f"Jira repeats a page: of the issues last updated in the second {second} some may be missing."
            return attrs.evolve(self._at(self.since_ms + 1000), gap=gap)
        return attrs.evolve(self, token=token, used=(*self.used, mark), seen=seen)

    def _at(self, since_ms: int, *, done: bool = False) -> "SyncRun":
        return SyncRun(since_ms=since_ms, started_ms=self.started_ms, done=done)


def _is_in_second(issue: Issue, since_ms: int) -> bool:
    return issue.updated is None or epoch_ms(issue.updated) // 1000 * 1000 == since_ms


def _texts(value: Any) -> Iterator[str]:
    return (item for item in read_list(value) if isinstance(item, str))
