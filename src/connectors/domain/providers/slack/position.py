"""Where a run over one channel stands, written as JSON between two pages, and the times that its window asks for."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import attrs

from connectors.domain.model.streams import Window
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.slack.options import LOOKBACK_DAYS
from connectors.domain.providers.slack.payloads import EPOCH, Message, instant_ts, read_ts, ts_instant
from connectors.domain.providers.toolbox.foreign import read_list, read_text

CURSOR_LIMIT = 2000
"""Characters of one of Slack's paging cursors."""
OVERLAP = timedelta(minutes=5)
"""By how much an incremental run overlaps the one before. Slack's clock dates messages and ours sets the window; they
may differ by as much as we tolerate in signatures. What is read twice has the same keys."""
MICROSECOND = timedelta(microseconds=1)
"""The distance of two neighbouring `ts`: makes Slack's exclusive `oldest` and `latest` inclusive."""


@attrs.frozen(kw_only=True)
class Thread:
    """The parent of a thread that is to be read."""

    ts: str
    latest: str | None = None
    """Its latest reply, where Slack says which."""


@attrs.frozen(kw_only=True)
class Position:
    """How far a run has read its channel. Every time is a `ts`."""

    lowest: str | None = None
    """The history is read down to here; None at its beginning."""
    page: str | None = None
    """Slack's cursor, for a page that gives no time to go on from."""
    is_ended: bool = False
    """The history is read; only its last threads remain."""
    is_limited: bool = False
    """Slack said that it shows nothing older, on a free plan."""
    threads: tuple[Thread, ...] = ()
    """Their replies come before the next page of the history."""
    highest: str | None = None
    """The first thread is read up to here: replies are listed oldest first."""
    thread_page: str | None = None

    def after_thread(self) -> "Position":
        """The position at the next thread, or at the next page of the history."""
        return attrs.evolve(self, threads=self.threads[1:], highest=None, thread_page=None)

    @property
    def cursor(self) -> Cursor | None:
        """The cursor of this position; None at the end."""
        if self.is_ended and not self.threads:
            return None
        document = attrs.asdict(self, filter=lambda field, value: value not in (None, ()))
        return {**document, "threads": [[thread.ts, thread.latest] for thread in self.threads]}

    @classmethod
    def read(cls, cursor: Cursor | None) -> Self:
        """The position in a cursor. What it lacks, or has in another form, is as at the beginning."""
        found = cursor or {}
        return cls(
            lowest=read_ts(found.get("lowest")),
            page=read_text(found.get("page"), CURSOR_LIMIT),
            is_ended=found.get("is_ended") is True,
            is_limited=found.get("is_limited") is True,
            threads=tuple(thread for thread in map(_read_thread, read_list(found.get("threads"))) if thread),
            highest=read_ts(found.get("highest")),
            thread_page=read_text(found.get("thread_page"), CURSOR_LIMIT),
        )


def _read_thread(value: Any) -> Thread | None:
    parent, latest = (*read_list(value), None, None)[:2]
    ts = read_ts(parent)
    return None if ts is None else Thread(ts=ts, latest=read_ts(latest))


@attrs.frozen(kw_only=True)
class Span:
    """The times that a window asks of a channel."""

    low: datetime
    """What happened from here on is wanted."""
    oldest: str
    """From here on messages are read, also for the threads that they start. Not after `low`."""
    high: datetime
    latest: str | None
    """Slack's exclusive upper end; None in an incremental run, which leaves out nothing that is already there."""

    def threads(self, messages: Iterable[Message]) -> tuple[Thread, ...]:
        """The threads that they start and that somebody answered since `low`."""
        return tuple(
            Thread(ts=one.ts, latest=one.latest_reply)
            for one in messages
            if one.ts is not None and one.reply_count > 0 and not one.is_reply and self._is_new(one.latest_reply)
        )

    def _is_new(self, latest_reply: str | None) -> bool:
        return latest_reply is None or ts_instant(latest_reply) >= self.low

    def read_down_to(self, seen: Iterable[str], lowest: str | None) -> str | None:
        """The position after a page of the newest first. A `ts` that was not asked for moves nothing."""
        top = datetime.max.replace(tzinfo=UTC) if lowest is None else ts_instant(lowest)
        asked = [at for at in map(ts_instant, seen) if ts_instant(self.oldest) <= at < top]
        return instant_ts(asked[-1]) if asked else lowest

    def read_up_to(self, seen: Iterable[str], highest: str | None) -> str | None:
        """The position after a page of the oldest first: likewise, and never in the future."""
        bottom = ts_instant(just_before(self.oldest) if highest is None else highest)
        asked = [at for at in map(ts_instant, seen) if bottom < at <= self.high]
        return instant_ts(asked[-1]) if asked else highest


def span_of(context: SyncContext, window: Window) -> Span:
    """The times to ask for: from the look-back before the window to its end."""
    is_history = window.mode is SyncMode.BACKFILL
    low = max(window.low, EPOCH) - (timedelta(0) if is_history else OVERLAP)
    oldest = max(low - timedelta(days=context.app.options[LOOKBACK_DAYS]), EPOCH)
    high = max(window.high, EPOCH)
    latest = just_after(instant_ts(high)) if is_history else None
    return Span(low=low, oldest=instant_ts(oldest), high=high, latest=latest)


def just_before(ts: str) -> str:
    """The `oldest` that includes `ts` itself."""
    return instant_ts(max(ts_instant(ts) - MICROSECOND, EPOCH))


def just_after(ts: str) -> str:
    """The `latest` that includes `ts` itself."""
    return instant_ts(ts_instant(ts) + MICROSECOND)
