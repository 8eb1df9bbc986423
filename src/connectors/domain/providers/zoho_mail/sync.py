"""Reading a mailbox: folder by folder, newest first, down to where the sync run before ended.

Zoho has no change feed and no paging token: `start` counts rows of a list that moves while we read.

1. *New mail* pushes rows down: the next page repeats some. Their keys are the same.
2. *Moved or deleted mail* pulls rows up, and some would be missed between two pages. So each page begins ten rows
   before the end of the one before and has to show one of those rows. If it does not, the sync run steps back until it
   does.
3. *Mail is not listed in the order of its arrival* to the second, so each folder is read a quarter of an hour beyond
   its mark. The mark is the latest `receivedTime` seen, and moves only when the folder is through.
4. *Mail moves from a folder that is still to be read into one that is through*, or to a part of a list that is behind
   us. So everything is read twice: by a backfill in two passes, the second with the folders the other way round; by
   incremental sync runs in that each reads again what the one before had to read.

A page is one call. Rows have received times in UTC; no other time of Zoho's can be relied on.
Source: zoho.com/mail/help/api/get-emails-list, get-all-folder-details.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers._zoho.limits import read_answer
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.toolbox.foreign import (
    LATEST_MILLIS,
    instant_millis,
    read_list,
    read_object,
    read_objects,
)
from connectors.domain.providers.zoho_mail.oauth import NAME, mailbox_url
from connectors.domain.providers.zoho_mail.payloads import (
    Folder,
    FolderKind,
    Message,
    read_folder,
    read_received,
    read_row,
)
from connectors.domain.providers.zoho_mail.signals import arrival, interpret, observe, tracks_changes
from connectors.domain.providers.zoho_mail.sync_run import SyncRun, read_sync_run

PAGE_SIZE = 200
"""Rows: the most that Zoho gives, for it counts calls."""
OVERLAP = timedelta(minutes=15)
"""How far before its mark each folder is read."""
OVERLAP_ROWS = 10
"""Rows by which two pages overlap."""
RETREATS = 50
"""Steps back within one folder; more are an error."""
DEFAULT_HISTORY = timedelta(days=30)
"""The default range of a backfill."""
RECENT = timedelta(days=2)
"""How far back the option finds changes of known mail. Each 200 messages cost a call per sync run."""
FOLDERS_KEPT = 500
"""Folders whose names a connection remembers."""
POLL_INTERVAL = timedelta(minutes=5)
"""About 30 calls a minute are allowed; a sync run takes one for the list of folders and one for each folder."""

READ_ALWAYS = frozenset({FolderKind.RECEIVED, FolderKind.SENT})
READ_FOR_CHANGES = frozenset({FolderKind.TRASH, FolderKind.SPAM})


def start(context: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The first cursor. Needs no call."""
    yield from ()
    return first_step(context, plan).to_cursor()


def first_step(context: SyncContext, plan: SyncPlan) -> SyncRun:
    """The sync run before its first page; already finished for a baseline, which reads nothing."""
    del context
    last = read_sync_run(plan.last_cursor)
    upper = plan.started_at if plan.until is None else min(plan.until, plan.started_at)
    ceiling = instant_millis(upper)
    if plan.mode is SyncMode.BACKFILL:
        floor = max(instant_millis(plan.since or plan.started_at - DEFAULT_HISTORY), 0)
        # Marks are of another sync run: a backfill reads its whole window.
        phase = "folders" if floor <= ceiling else "rest"
        return SyncRun(floor=floor, ceiling=ceiling, passes_left=1, phase=phase)
    if last is None:
        return SyncRun(floor=ceiling, ceiling=ceiling, phase="rest")
    return SyncRun(floor=last.floor, ceiling=ceiling, marks=last.marks, starts=last.next_starts, next_starts=last.marks)


def read_page(context: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """The page at the cursor. An unknown cursor (of an older version) starts the sync run again."""
    sync_run = read_sync_run(cursor) or first_step(context, plan)
    if sync_run.phase == "folders":
        return (yield from read_folders(context, sync_run))
    if sync_run.phase == "messages" and sync_run.queue:
        return (yield from read_messages(context, plan, sync_run))
    return page_at(attrs.evolve(sync_run, phase="rest", queue=()))


def page_at(sync_run: SyncRun, **found: Any) -> SyncPage:
    """A page after which the sync run is at this position."""
    at_rest = sync_run.phase == "rest" or (sync_run.phase == "messages" and not sync_run.queue)
    if at_rest:
        sync_run = attrs.evolve(sync_run, phase="rest", queue=(), start=1, tail=(), retreats=0, newest=None)
    return SyncPage(cursor=sync_run.to_cursor(), done=at_rest, **found)


def read_folders(context: SyncContext, sync_run: SyncRun) -> Conversation[SyncPage]:
    """The list of folders: which to read, and their names for webhooks."""
    response = yield HttpRequest(method="GET", url=mailbox_url(context.app, context.connection) + "/folders")
    entries = read_objects(read_object(read_answer(NAME, response)).get("data"))
    folders = {folder.id: folder for folder in map(read_folder, entries) if folder is not None}
    wanted = READ_ALWAYS | (READ_FOR_CHANGES if tracks_changes(context.app) else frozenset())
    queue = tuple(folder for folder in folders.values() if folder.kind in wanted)
    if not sync_run.passes_left:
        queue = queue[::-1]
    skipped = (SkippedItem(reference="folders", reason="a folder without an id"),) * (len(entries) > len(folders))
    known = list(folders.values())[:FOLDERS_KEPT]
    # A folder that is gone needs no mark; ids are not used again.
    marks = {folder_id: at for folder_id, at in sync_run.marks.items() if folder_id in folders}
    next_starts = {folder_id: at for folder_id, at in sync_run.next_starts.items() if folder_id in folders}
    return page_at(
        attrs.evolve(sync_run, phase="messages", queue=queue, marks=marks, next_starts=next_starts),
        items=len(entries),
        skipped=skipped,
        connection_metadata={
            "folders": {folder.id: {"name": folder.name, "kind": folder.kind.value} for folder in known}
        },
    )


def read_messages(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One page of a folder."""
    folder = sync_run.queue[0]
    url = with_query(
        mailbox_url(context.app, context.connection) + "/messages/view",
        {
            "folderId": folder.id,
            "start": str(sync_run.start),
            "limit": str(PAGE_SIZE),
            "sortBy": "date",
            "sortorder": "false",
            "includeto": "true",
        },
    )
    try:
        response = yield HttpRequest(method="GET", url=url)
        entries = read_list(read_object(read_answer(NAME, response)).get("data"))
    except AccessLostError as error:
        # The folder was removed since it was listed.
        skipped = SkippedItem(reference=f"folder {folder.id}", reason=error.message)
        return page_at(next_folder(plan, sync_run, None), skipped=(skipped,))
    rows = [read_object(entry) for entry in entries]
    identifiers = [row_id(row) for row in rows]
    if sync_run.tail and sync_run.start > 1 and not set(sync_run.tail) & set(identifiers):
        # More rows left the list than the pages overlap: the missed rows are further up.
        if sync_run.retreats >= RETREATS:
            raise UnexpectedResponseError("The pages of Zoho Mail's list do not fit together.")
        back = max(sync_run.start - PAGE_SIZE + OVERLAP_ROWS, 1)
        return page_at(
            attrs.evolve(sync_run, start=back, tail=sync_run.tail if back > 1 else (), retreats=sync_run.retreats + 1),
            items=0,
        )
    lowest = lower_bound(context, plan, sync_run, folder)
    # Mail dated years ahead is never older than a sync run, so only an end that was asked for counts.
    highest = LATEST_MILLIS if plan.until is None else sync_run.ceiling
    signals, observations, skipped_rows, times = read_rows(context, folder, rows, lowest, highest)
    newest = max([*times, *([] if sync_run.newest is None else [sync_run.newest])], default=None)
    found: dict[str, Any] = {
        "signals": signals,
        "observations": observations,
        "skipped": skipped_rows,
        "items": len(rows),
    }
    if len(rows) < PAGE_SIZE or (times and min(times) < lowest):
        return page_at(next_folder(plan, sync_run, newest), **found)
    ahead = sync_run.start + len(rows) - OVERLAP_ROWS
    tail = tuple(identifier for identifier in identifiers[-OVERLAP_ROWS:] if identifier is not None)
    if tail and tail == sync_run.tail:
        raise UnexpectedResponseError("Zoho Mail's list does not go on.")  # the same page, whatever `start` says
    return page_at(attrs.evolve(sync_run, start=ahead, tail=tail, newest=newest), **found)


def row_id(row: Mapping[str, Any]) -> str | None:
    """A row's id, to recognize the row, even an unreadable one."""
    return read_id(row.get("messageId"))


def lower_bound(context: SyncContext, plan: SyncPlan, sync_run: SyncRun, folder: Folder) -> int:
    """Milliseconds down to which a folder is read: behind its start, but not below the floor."""
    at = sync_run.starts.get(folder.id)
    lowest = sync_run.floor if at is None else at - OVERLAP // timedelta(milliseconds=1)
    if tracks_changes(context.app):
        lowest = min(lowest, instant_millis(plan.started_at - RECENT))
    return max(lowest, sync_run.floor)


def read_rows(
    context: SyncContext, folder: Folder, rows: list[Mapping[str, Any]], lowest: int, highest: int
) -> tuple[tuple[SignalDraft, ...], tuple[Observation, ...], tuple[SkippedItem, ...], list[int]]:
    """What a page's rows say: signals and states within the window, rows that cannot be read, and all times."""
    signals: list[SignalDraft] = []
    observations: list[Observation] = []
    skipped: list[SkippedItem] = []
    times: list[int] = []
    for row in rows:
        received_ms = read_received(row)
        if received_ms is not None:
            times.append(received_ms)
            if not lowest <= received_ms <= highest:
                continue  # most rows of a page that is read for the latest one
        message = read_row(row)
        if not isinstance(message, Message):
            skipped.append(SkippedItem(reference=f"folder {folder.id}/{row_id(row) or '?'}", reason=message))
            continue
        draft = arrival(context.connection, message, folder, row)
        if draft is not None:
            signals.append(draft)
        if tracks_changes(context.app):
            observations.append(observe(message, folder, row))
    return tuple(signals), tuple(observations), tuple(skipped), times


def next_folder(plan: SyncPlan, sync_run: SyncRun, newest: int | None) -> SyncRun:
    """The sync run at the next folder, with the mark of this one moved. The next sync run reads newer mail again."""
    folder = sync_run.queue[0]
    marks = dict(sync_run.marks)
    if newest is not None:
        marks[folder.id] = max(min(newest, sync_run.ceiling), marks.get(folder.id, 0))
    ahead = attrs.evolve(sync_run, queue=sync_run.queue[1:], marks=marks, start=1, tail=(), retreats=0, newest=None)
    if ahead.queue:
        return ahead
    if sync_run.passes_left:
        return attrs.evolve(ahead, phase="folders", passes_left=sync_run.passes_left - 1)
    # A backfill has read all of it twice itself.
    return attrs.evolve(ahead, next_starts=marks) if plan.mode is SyncMode.BACKFILL else ahead


SYNC = Sync(start=start, read_page=read_page, interpret=interpret, poll_interval=POLL_INTERVAL)
