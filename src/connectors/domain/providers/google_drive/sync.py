"""Reading Drive: change logs from a stored token, and listings for what was before.

A sync run is a list of work, read from the front: each item is one pass over one log, and one page is one step of it.
The log is `user` (all that the account sees) or a shared drive's id; the user's log does not have everything that
happens in shared drives, so each of those has its own token.

    backfill      changes, if the log is known → files (newest first, with signals) → older (only remembered) → changes
                  since before the files
    first read    first (everything, only remembered, except for what happened while the token was taken)
    incremental   changes

The token is taken before anything is listed, so that what happens during a listing is in the changes after it. What
is listed is remembered, so that a later change of an old file is not mistaken for a newly shared file.

Source: developers.google.com/workspace/drive/api/guides/manage-changes and …/search-files.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.google_drive.listing import read_files
from connectors.domain.providers.google_drive.logs import (
    DRIVE_TARGET,
    USER_LOG,
    USER_TARGET,
    find_logs,
    get_start_token,
    log_parameters,
)
from connectors.domain.providers.google_drive.payloads import CHANGE_FIELDS, read_change
from connectors.domain.providers.google_drive.signals import interpret, observe_change
from connectors.domain.providers.google_drive.sync_run import Work, at_rest, is_bad_token, page_of
from connectors.domain.providers.toolbox.foreign import read_object, read_objects, read_text

CHANGES_PAGE = 500
"""Changes per page; Drive takes up to 1000."""
RESYNC_OVERLAP = timedelta(days=1)
"""After a lost token: how far before the last good read the listing starts."""


def start(ctx: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """Tokens first; then the work of the sync run."""
    last = plan.last_cursor or {}
    known = {log: token for log, value in read_object(last.get("tokens")).items() if (token := read_text(value))}
    logs = yield from find_logs(ctx.app, ctx.connection)
    tokens: dict[str, str] = {}
    work: list[Work] = []
    for log in logs:
        is_new = log not in known
        try:
            tokens[log] = (yield from get_start_token(ctx.app, log)) if is_new else known[log]
        except AccessLostError:
            if log == USER_LOG:
                raise
            continue  # chosen by hand, and not (or no longer) readable by this account; the other logs are read
        if plan.mode is SyncMode.BACKFILL:
            # What the log has to tell first: what is listed and old is only remembered, and is then known to the log.
            work += [] if is_new else [{"pass": "changes", "log": log}]
            work += _backfill_work(log, plan)
        elif is_new:
            work.append({"pass": "first", "log": log, "filter": None})
        elif plan.target in {None, USER_TARGET if log == USER_LOG else DRIVE_TARGET + log}:
            work.append({"pass": "changes", "log": log})
    since = plan.since or plan.started_at
    baseline = read_instant(last.get("baseline"))
    if baseline is None or plan.mode is SyncMode.BACKFILL:
        baseline = min(baseline or since, since)
    return {
        "tokens": tokens,
        "baseline": rfc3339(baseline),
        "read_at": read_text(last.get("read_at")) or rfc3339(plan.started_at),
        "work": work,
    }


def _backfill_work(log: str, plan: SyncPlan) -> list[Work]:
    window = "trashed = false"
    older = "trashed = true"
    if plan.since is not None:
        at = rfc3339(plan.since)
        window += f" and ({_changed_since(plan.since)})"
        older += f" or (modifiedTime <= '{at}' and createdTime <= '{at}')"
    return [
        {"pass": "files", "log": log, "filter": window},
        {"pass": "older", "log": log, "filter": older},
        {"pass": "changes", "log": log},
    ]


def _changed_since(at: datetime) -> str:
    """The query for files that were made or edited since: one that is uploaded keeps the time of its last edit."""
    return f"modifiedTime > '{rfc3339(at)}' or createdTime > '{rfc3339(at)}'"


def read_page(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page of the first item of work."""
    work = read_objects(cursor.get("work"))
    if not work:
        return SyncPage(cursor=at_rest(cursor, plan), done=True)
    if work[0].get("pass") == "changes":
        page = yield from _read_changes(ctx, plan, cursor, work)
    else:
        page = yield from read_files(ctx, plan, cursor, work)
    return page


def _read_changes(ctx: SyncContext, plan: SyncPlan, cursor: Cursor, work: Sequence[Work]) -> Conversation[SyncPage]:
    log = read_id(work[0].get("log")) or USER_LOG
    tokens = dict(read_object(cursor.get("tokens")))
    token = read_text(tokens.get(log)) or ""
    url = with_query(
        url_of(ctx.app, Endpoint.DRIVE) + "/changes",
        {
            "pageToken": token,
            "pageSize": str(CHANGES_PAGE),
            "includeRemoved": "true",
            "includeCorpusRemovals": "true",
            **log_parameters(log),
            "fields": CHANGE_FIELDS,
        },
    )
    try:
        response = yield HttpRequest(method="GET", url=url)
    except AccessLostError:
        if log == USER_LOG:
            raise
        # The shared drive is gone, or this account is no longer in it. Its cursor is dropped, the others go on.
        tokens.pop(log, None)
        return page_of(plan, {**cursor, "tokens": tokens}, work[1:])
    except UnexpectedResponseError as error:
        # A fresh token was refused too: a third would not help.
        if not is_bad_token(error) or work[0].get("renewed") is True:
            raise
        return (yield from _lose_token(ctx, plan, cursor, work))
    answer = response.json_object()
    following = read_text(answer.get("nextPageToken"))
    final = read_text(answer.get("newStartPageToken"))
    if (following or final) is None or following == token:
        raise UnexpectedResponseError("Drive's change list does not say where it goes on.")
    tokens[log] = following or final
    baseline = read_instant(cursor.get("baseline")) or plan.started_at
    changes = read_objects(answer.get("changes"))
    observations, skipped = _observe_changes(changes, baseline)
    return page_of(
        plan,
        {**cursor, "tokens": tokens},
        work if following else work[1:],
        observations=observations,
        skipped=skipped,
        items=len(changes),
    )


def _observe_changes(
    changes: Sequence[Mapping[str, Any]], baseline: datetime
) -> tuple[tuple[Observation, ...], tuple[SkippedItem, ...]]:
    observations: dict[str, Observation] = {}
    skipped = []
    for document in changes:
        if document.get("changeType") == "drive":
            continue  # a shared drive was renamed, joined or left: no file changed
        change = read_change(document)
        if isinstance(change, str):
            skipped.append(SkippedItem(reference=read_id(document.get("fileId")) or "a change", reason=change))
            continue
        observation = observe_change(change, baseline)
        # A log has each file once, at its latest change. If a page does not, the latest state counts.
        observations.pop(observation.key, None)
        observations[observation.key] = observation
    return tuple(observations.values()), tuple(skipped)


def _lose_token(ctx: SyncContext, plan: SyncPlan, cursor: Cursor, work: Sequence[Work]) -> Conversation[SyncPage]:
    """Restart the log: a fresh token, then a listing of what changed since shortly before the last good read."""
    log = read_id(work[0].get("log")) or USER_LOG
    token = yield from get_start_token(ctx.app, log)
    since = (read_instant(cursor.get("read_at")) or plan.started_at) - RESYNC_OVERLAP
    tokens = {**read_object(cursor.get("tokens")), log: token}
    listing = {"pass": "resync", "log": log, "filter": _changed_since(since)}
    return page_of(
        plan,
        {**cursor, "tokens": tokens},
        [listing, {**work[0], "renewed": True}, *work[1:]],
        gap="Drive no longer knows the change token. Files changed since are listed again; removals, and moves that "
        "left modifiedTime alone, cannot be recovered.",
    )


SYNC = Sync(start=start, read_page=read_page, interpret=interpret, poll_interval=timedelta(minutes=15))
