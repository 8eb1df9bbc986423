"""The position of a sync run and how it advances: Slack's cursor, written as JSON between two pages."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, SkippedItem, SyncPage, SyncPlan
from connectors.domain.providers.slack.payloads import NAME_LIMIT, Message, read_id, read_ts, ts_instant
from connectors.domain.providers.toolbox.foreign import read_object, read_text

CURSOR_LIMIT = 2000
"""Characters of one of Slack's paging cursors."""


class Phase(StrEnum):
    """What is being read."""

    PEOPLE = "people"
    CHANNELS = "channels"
    MESSAGES = "messages"
    DONE = "done"


@attrs.frozen
class Stop:
    """One channel to read."""

    id: str
    name: str
    join: bool = False
    """The bot has to join it first."""


@attrs.frozen(kw_only=True)
class SyncRun:
    """One sync run's position. Every time is a `ts`."""

    phase: Phase
    floor: str
    """Nothing older than this was ever proven complete: an overlap never extends before it."""
    low: str
    """The window's lower end, inclusive: what happened before is not emitted."""
    high: str
    """The window's upper end, fixed when the sync run started."""
    lookback: str
    """From where history is read for parents of threads; not after `low`."""
    page: str | None = None
    """Slack's cursor into the list that is being read; None at its beginning."""
    names: Mapping[str, str] = attrs.field(factory=dict)
    """Names found so far in this phase."""
    queue: tuple[Stop, ...] = ()
    """Channels still to read, the present one first."""
    lowest: str | None = None
    """The lowest `ts` seen in the present channel: where to go on when Slack's cursor expires."""
    exhausted: bool = False
    """The present channel's history is read; only its last threads remain."""
    threads: tuple[str, ...] = ()
    """Parents whose replies come before the next page of history."""
    thread_page: str | None = None
    highest: str | None = None
    """The highest `ts` that the present thread has shown; replies are listed oldest first."""


def write_sync_run(sync_run: SyncRun) -> Cursor:
    """The cursor: JSON values, only what is set."""
    document = attrs.asdict(sync_run, filter=lambda field, value: value not in (None, (), {}, False))
    if sync_run.queue:
        document["queue"] = [[stop.id, stop.name, stop.join] for stop in sync_run.queue]
    if sync_run.threads:
        document["threads"] = list(sync_run.threads)
    return {**document, "phase": sync_run.phase.value}


def read_sync_run(cursor: Cursor | None) -> SyncRun | None:
    """The sync run in a cursor; None where there is none, or none of this version."""
    if cursor is None:
        return None
    times = {name: read_ts(cursor.get(name)) for name in ("floor", "low", "high", "lookback")}
    phase = cursor.get("phase")
    if phase not in list(Phase) or None in times.values():
        return None
    queue, threads = cursor.get("queue", ()), cursor.get("threads", ())
    return SyncRun(
        phase=Phase(phase),
        **{name: value for name, value in times.items() if value is not None},
        page=read_text(cursor.get("page"), CURSOR_LIMIT),
        names={key: name for key, name in read_object(cursor.get("names")).items() if isinstance(name, str)},
        queue=tuple(stop for stop in map(read_stop, queue) if stop is not None),
        lowest=read_ts(cursor.get("lowest")),
        exhausted=cursor.get("exhausted") is True,
        threads=tuple(ts for ts in map(read_ts, threads) if ts is not None),
        thread_page=read_text(cursor.get("thread_page"), CURSOR_LIMIT),
        highest=read_ts(cursor.get("highest")),
    )


def read_stop(value: Any) -> Stop | None:
    """One entry of the queue."""
    if not isinstance(value, list | tuple) or len(value) != 3:  # noqa: PLR2004 - id, name, join
        return None
    identifier, name, join = value
    found = read_id(identifier)
    return None if found is None else Stop(found, read_text(name, NAME_LIMIT) or "", join is True)


def has_new_replies(message: Message, sync_run: SyncRun) -> bool:
    """Whether a message starts a thread in which somebody answered inside the window."""
    if message.reply_count <= 0 or message.is_reply:
        return False
    return message.latest_reply is None or ts_instant(message.latest_reply) >= ts_instant(sync_run.low)


def is_within(sync_run: SyncRun, at: datetime) -> bool:
    """Whether it happened inside the window, both ends included."""
    return ts_instant(sync_run.low) <= at <= ts_instant(sync_run.high)


def next_thread(sync_run: SyncRun) -> SyncRun:
    """The sync run after a thread: the next thread, the next page of history, or the next channel."""
    forward = attrs.evolve(sync_run, threads=sync_run.threads[1:], thread_page=None, highest=None)
    return next_channel(forward) if sync_run.exhausted and not forward.threads else forward


def next_channel(sync_run: SyncRun) -> SyncRun:
    """The sync run after a channel."""
    return attrs.evolve(
        sync_run,
        queue=sync_run.queue[1:],
        page=None,
        lowest=None,
        exhausted=False,
        threads=(),
        thread_page=None,
        highest=None,
    )


def page_at(
    plan: SyncPlan,
    sync_run: SyncRun,
    *,
    signals: tuple[SignalDraft, ...] = (),
    skipped: tuple[SkippedItem, ...] = (),
    items: int = 0,
    metadata: Mapping[str, Any] | None = None,
) -> SyncPage:
    """The page with its cursor; done when no channel is left."""
    done = sync_run.phase is Phase.DONE or (sync_run.phase is Phase.MESSAGES and not sync_run.queue)
    names = {} if metadata is None else dict(metadata)
    return SyncPage(
        cursor=write_sync_run(finished(plan, sync_run) if done else sync_run),
        done=done,
        signals=signals,
        skipped=skipped,
        items=items,
        connection_metadata=names,
    )


def finished(plan: SyncPlan, sync_run: SyncRun) -> SyncRun:
    """The cursor for the next incremental sync run. It only covers what was read without a gap."""
    last = read_sync_run(plan.last_cursor)
    high = sync_run.high
    if plan.target is not None:
        high = sync_run.low if last is None else last.high
    elif last is not None and not ts_instant(sync_run.low) <= ts_instant(last.high) <= ts_instant(sync_run.high):
        high = last.high
    return SyncRun(phase=Phase.DONE, floor=sync_run.floor, low=sync_run.low, high=high, lookback=sync_run.lookback)
