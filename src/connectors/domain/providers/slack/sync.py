"""Backfill and incremental reading: people, then channels, then each channel's history with its threads.

The sync run covers one window of time whose upper end is fixed when it starts. Slack lists newest first, so the
window's lower end moves only when the whole sync run is done: a crash between pages resumes at the committed cursor and
loses nothing. Histories and threads are paged by time, not by Slack's cursors: a `ts` never changes and never expires.

Replies are not in the history. They are read for every parent in the window, and for older parents within the
look-back; a reply to an older parent comes by webhook only.
Source: docs.slack.dev, `conversations.history`, `conversations.replies`, `conversations.join`.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, InsufficientScopeError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, form_request
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.slack.directory import call, next_page, read_channels, read_people, wants_people
from connectors.domain.providers.slack.endpoints import method_url
from connectors.domain.providers.slack.limits import StaleCursorError, read_answer
from connectors.domain.providers.slack.messages import read_item
from connectors.domain.providers.slack.options import LOOKBACK_DAYS, PAGE_SIZE
from connectors.domain.providers.slack.payloads import EPOCH, Message, instant_ts, ts_instant
from connectors.domain.providers.slack.sync_run import (
    Phase,
    Stop,
    SyncRun,
    has_new_replies,
    is_within,
    next_channel,
    next_thread,
    page_at,
    read_sync_run,
    write_sync_run,
)
from connectors.domain.providers.slack.workspace import workspace_of
from connectors.domain.providers.toolbox.foreign import read_list, read_object

OVERLAP = timedelta(minutes=5)
"""By how much an incremental sync run overlaps the one before. Slack's clock dates messages and ours sets the window;
they may differ by as much as we tolerate in signatures. What is read twice has the same keys."""
DEFAULT_HISTORY = timedelta(days=30)
"""The default range of a backfill."""
POLL_INTERVAL = timedelta(hours=1)
"""Webhooks report new events at once. Sync runs catch what was missed, and each reads every look-back again."""
MICROSECOND = timedelta(microseconds=1)
"""The distance of two neighbouring `ts`: makes Slack's exclusive `oldest` and `latest` inclusive."""


def start(context: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The first cursor. Needs no call."""
    yield from ()
    return write_sync_run(first_step(context, plan))


def first_step(context: SyncContext, plan: SyncPlan) -> SyncRun:
    """The sync run before its first page; already finished for a baseline, which reads nothing."""
    last = read_sync_run(plan.last_cursor)
    high = plan.started_at if plan.until is None else min(plan.until, plan.started_at)
    if plan.mode is SyncMode.BACKFILL:
        low = max(plan.since or plan.started_at - DEFAULT_HISTORY, EPOCH)
        floor = low
    elif last is None:
        now = instant_ts(high)
        return SyncRun(phase=Phase.DONE, floor=now, low=now, high=now, lookback=now)
    else:
        floor = ts_instant(last.floor)
        low = max(ts_instant(last.high) - OVERLAP, floor)
    sync_run = SyncRun(
        phase=Phase.PEOPLE if wants_people(context, plan) else Phase.CHANNELS,
        floor=instant_ts(floor if last is None else min(floor, ts_instant(last.floor))),
        low=instant_ts(low),
        high=instant_ts(high),
        lookback=instant_ts(max(low - timedelta(days=context.app.options[LOOKBACK_DAYS]), EPOCH)),
    )
    if low >= high:
        return attrs.evolve(sync_run, phase=Phase.DONE)
    if plan.target is not None:
        return attrs.evolve(sync_run, phase=Phase.MESSAGES, queue=(Stop(plan.target, ""),))
    return sync_run


def read_page(context: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """The page at the cursor. An unknown cursor (of an older version) starts the sync run again."""
    sync_run = read_sync_run(cursor) or first_step(context, plan)
    if sync_run.phase is Phase.PEOPLE:
        return (yield from read_people(context, plan, sync_run))
    if sync_run.phase is Phase.CHANNELS:
        return (yield from read_channels(context, plan, sync_run))
    if sync_run.phase is Phase.MESSAGES and sync_run.queue and sync_run.threads:
        return (yield from read_replies(context, plan, sync_run))
    if sync_run.phase is Phase.MESSAGES and sync_run.queue:
        return (yield from read_history(context, plan, sync_run))
    return page_at(plan, attrs.evolve(sync_run, phase=Phase.MESSAGES, queue=()))


def read_history(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One page of a channel's history, newest first, from the window's upper end down to the look-back."""
    stop = sync_run.queue[0]
    try:
        if stop.join:
            yield from join(context, stop)
        response = yield call(
            context,
            "conversations.history",
            channel=stop.id,
            oldest=just_before(sync_run.lookback),
            latest=just_after(sync_run.high) if sync_run.lowest is None else sync_run.lowest,
            limit=str(context.app.options[PAGE_SIZE]),
            cursor=sync_run.page,
        )
        answer = read_answer(response)
    except StaleCursorError:
        if sync_run.page is None:
            raise
        return page_at(plan, attrs.evolve(sync_run, page=None))
    except AccessLostError as error:
        skipped = SkippedItem(reference=stop.id, reason=error.message)
        return page_at(plan, next_channel(sync_run), skipped=(skipped,))
    items = read_list(answer.get("messages"))
    signals, skipped_items = read_items(context, sync_run, stop, items)
    messages = [Message.read(read_object(item), stop.id) for item in items]
    seen = [message.ts for message in messages if message.ts is not None]
    lowest = min(
        [*within(sync_run, seen), *([sync_run.lowest] if sync_run.lowest else [])], key=ts_instant, default=None
    )
    page = next_page(answer)
    forward = attrs.evolve(
        sync_run,
        # A page that is empty, or of other times, gives no time to go on from.
        page=page if lowest == sync_run.lowest else None,
        queue=(attrs.evolve(stop, join=False), *sync_run.queue[1:]),
        lowest=lowest,
        exhausted=page is None,
        threads=tuple(message.ts for message in messages if message.ts and has_new_replies(message, sync_run)),
    )
    if page is None and not forward.threads:
        forward = next_channel(forward)
    return page_at(plan, forward, signals=signals, skipped=skipped_items, items=len(items))


def join(context: SyncContext, stop: Stop) -> Conversation[None]:
    """Let the bot into a public channel. "Already in" is `ok` with a warning.

    Raises:
        AccessLostError: Slack does not let it.
    """
    response = yield form_request("POST", method_url(context.app, "conversations.join"), {"channel": stop.id})
    try:
        read_answer(response)
    except (InsufficientScopeError, UnexpectedResponseError) as error:
        raise AccessLostError(f"could not join: {error.message}") from error


def read_replies(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One page of a thread, oldest first. Slack repeats the parent on each."""
    stop, parent = sync_run.queue[0], sync_run.threads[0]
    # From the look-back on, not from the window: an earlier reply may have been edited since.
    oldest = just_before(sync_run.lookback) if sync_run.highest is None else sync_run.highest
    response = yield call(
        context,
        "conversations.replies",
        channel=stop.id,
        ts=parent,
        oldest=oldest,
        latest=just_after(sync_run.high),
        limit=str(context.app.options[PAGE_SIZE]),
        cursor=sync_run.thread_page,
    )
    try:
        answer = read_answer(response)
    except StaleCursorError:
        if sync_run.thread_page is None:
            raise
        return page_at(plan, attrs.evolve(sync_run, thread_page=None))
    except AccessLostError as error:
        skipped = SkippedItem(reference=f"{stop.id}/{parent}", reason=error.message)
        return page_at(plan, next_thread(sync_run), skipped=(skipped,))
    items = [item for item in read_list(answer.get("messages")) if read_object(item).get("ts") != parent]
    signals, skipped_items = read_items(context, sync_run, stop, items)
    seen = [ts for ts in (Message.read(read_object(item)).ts for item in items) if ts is not None]
    highest = max(
        [*within(sync_run, seen), *([sync_run.highest] if sync_run.highest else [])], key=ts_instant, default=None
    )
    page = next_page(answer)
    forward = attrs.evolve(sync_run, thread_page=page if highest == sync_run.highest else None, highest=highest)
    if page is None:
        forward = next_thread(forward)
    return page_at(plan, forward, signals=signals, skipped=skipped_items, items=len(items))


def read_items(
    context: SyncContext, sync_run: SyncRun, stop: Stop, items: list[Any]
) -> tuple[tuple[SignalDraft, ...], tuple[SkippedItem, ...]]:
    """The signals of messages inside the window; unreadable messages are skipped."""
    workspace = workspace_of(context.connection)
    if stop.name:
        workspace = attrs.evolve(workspace, channels={**workspace.channels, stop.id: stop.name})
    signals: list[SignalDraft] = []
    skipped: list[SkippedItem] = []
    for item in items:
        try:
            drafts = read_item({"type": "message", **read_object(item), "channel": stop.id}, workspace)
        except ValueError as error:
            reference = f"{stop.id}/{Message.read(read_object(item)).ts or '?'}"
            skipped.append(SkippedItem(reference=reference, reason=str(error)))
            continue
        signals.extend(draft for draft in drafts if is_within(sync_run, draft.occurred_at))
    return tuple(signals), tuple(skipped)


def within(sync_run: SyncRun, seen: Iterable[str]) -> list[str]:
    """The requested messages: a `ts` outside of the range must not move the sync run past unread ones."""
    return [ts for ts in seen if ts_instant(sync_run.lookback) <= ts_instant(ts) <= ts_instant(sync_run.high)]


def just_before(ts: str) -> str:
    """The `oldest` that includes `ts` itself."""
    return instant_ts(max(ts_instant(ts) - MICROSECOND, EPOCH))


def just_after(ts: str) -> str:
    """The `latest` that includes `ts` itself."""
    return instant_ts(ts_instant(ts) + MICROSECOND)


SYNC = Sync(start=start, read_page=read_page, poll_interval=POLL_INTERVAL)
