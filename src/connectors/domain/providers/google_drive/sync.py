"""Reading Drive: change logs from a stored token, and listings for what was before.

A walk is a list of work, read from the front: each item is one pass over one log, and one page is one step of it. The
log is `user` (all that the account sees) or a shared drive's id; the user's log does not have everything that happens
in shared drives, so each of those has its own token.

    backfill      files (newest first, with signals) → older (only remembered) → changes since before the files
    first read    older (everything, only remembered)
    incremental   changes

The token is taken before anything is listed, so that what happens during a listing is in the changes after it. What
is listed is remembered, so that a later change of an old file is told from a file that is newly shared.

Source: developers.google.com/workspace/drive/api/guides/manage-changes and …/search-files.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.reading import read_id, read_object, read_objects, read_text, read_texts
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.google_drive.oauth import SHARED_DRIVE_SCOPES
from connectors.domain.providers.google_drive.payloads import CHANGE_FIELDS, LIST_FIELDS, read_change, read_file
from connectors.domain.providers.google_drive.signals import interpret, observe_change, observe_file

USER_LOG = "user"
USER_TARGET = "changes"
DRIVE_TARGET = "drive:"

CHANGES_PAGE = 500
"""Changes per page; Drive takes up to 1000."""
FILES_PAGE = 500
"""Files per page. It must always be said: left out, Drive may send a whole My Drive at once."""
DRIVES_PAGES = 50
"""Pages of shared drives that are read, of 100 each: more is no answer that we believe."""
RESYNC_OVERLAP = timedelta(days=1)
"""After a lost token: how far before the last good read the listing starts."""

Work = Mapping[str, Any]


def get_start_token(app: ProviderApp, log: str) -> Conversation[str]:
    """A token for all that happens in the log from now on."""
    url = url_of(app, Endpoint.DRIVE) + "/changes/startPageToken"
    parameters = log_parameters(log) | {"includeItemsFromAllDrives": None}
    response = yield HttpRequest(method="GET", url=with_query(url, parameters))
    token = read_text(response.json_object().get("startPageToken"))
    if token is None:
        raise UnexpectedResponseError("Drive gave no start token.")
    return token


def log_parameters(log: str) -> dict[str, str | None]:
    """What names a log in a query. Without both flags everything in shared drives is invisible."""
    return {
        "supportsAllDrives": "true",
        "includeItemsFromAllDrives": "true",
        "driveId": None if log == USER_LOG else log,
    }


def find_logs(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The user's log, and the shared drives chosen in the connection's metadata, or else all that it may list."""
    chosen = connection.metadata.get("shared_drives")
    if isinstance(chosen, list):
        return (USER_LOG, *read_texts(chosen))
    if SHARED_DRIVE_SCOPES.isdisjoint(connection.scopes):
        return (USER_LOG,)
    drives: list[str] = []
    page: str | None = None
    for _ in range(DRIVES_PAGES):
        parameters = {"pageSize": "100", "fields": "nextPageToken,drives(id,name)", "pageToken": page}
        response = yield HttpRequest(method="GET", url=with_query(url_of(app, Endpoint.DRIVE) + "/drives", parameters))
        answer = response.json_object()
        drives += [drive for each in read_objects(answer.get("drives")) if (drive := read_id(each.get("id")))]
        page = read_text(answer.get("nextPageToken"))
        if page is None:
            break
    return (USER_LOG, *dict.fromkeys(drives))


def start(ctx: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """Tokens first; then the work of the walk."""
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
            continue  # chosen by hand, and not (or no longer) this account's to read: the other logs are
        if plan.mode is SyncMode.BACKFILL:
            work += _backfill_work(log, plan)
        elif is_new:
            work.append({"pass": "older", "log": log, "filter": None})
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
        window += f" and modifiedTime > '{rfc3339(plan.since)}'"
        older += f" or modifiedTime <= '{rfc3339(plan.since)}'"
    return [
        {"pass": "files", "log": log, "filter": window},
        {"pass": "older", "log": log, "filter": older},
        {"pass": "changes", "log": log},
    ]


def read_page(ctx: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page of the first piece of work."""
    work = read_objects(cursor.get("work"))
    if not work:
        return SyncPage(cursor=_at_rest(cursor, plan), done=True)
    if work[0].get("pass") == "changes":
        page = yield from _read_changes(ctx, plan, cursor, work)
    else:
        page = yield from _read_files(ctx, plan, cursor, work)
    return page


def _at_rest(cursor: Cursor, plan: SyncPlan) -> Cursor:
    return {
        "tokens": cursor.get("tokens"),
        "baseline": cursor.get("baseline"),
        "read_at": rfc3339(plan.started_at),
    }


def _page(plan: SyncPlan, cursor: Cursor, work: Sequence[Work], **found: Any) -> SyncPage:
    """The page, done when no work is left."""
    moved = {**cursor, "work": list(work)}
    return SyncPage(cursor=moved if work else _at_rest(moved, plan), done=not work, **found)


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
        # The shared drive is gone, or this account is no longer in it. Its cursor closes, the others go on.
        tokens.pop(log, None)
        return _page(plan, {**cursor, "tokens": tokens}, work[1:])
    except UnexpectedResponseError as error:
        # A token that is fresh and refused all the same: a third would be no better.
        if not _is_bad_token(error) or work[0].get("renewed") is True:
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
    return _page(
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
            continue  # a shared drive was renamed, joined or left: nothing that happened to a file
        change = read_change(document)
        if isinstance(change, str):
            skipped.append(SkippedItem(reference=read_id(document.get("fileId")) or "a change", reason=change))
            continue
        observation = observe_change(change, baseline)
        # A log holds each file once, at its latest change. Should a page not, the latest state is what counts.
        observations.pop(observation.key, None)
        observations[observation.key] = observation
    return tuple(observations.values()), tuple(skipped)


def _is_bad_token(error: UnexpectedResponseError) -> bool:
    """Whether Drive refused the page token. A wrong parameter of ours is `invalidParameter`, and stays an error."""
    detail: Mapping[str, Any] = error.details[0] if error.details else {}
    if detail.get("status") != HTTPStatus.BAD_REQUEST:
        return False
    return detail.get("location") == "pageToken" or detail.get("reason") in {"invalid", "badRequest", ""}


def _lose_token(ctx: SyncContext, plan: SyncPlan, cursor: Cursor, work: Sequence[Work]) -> Conversation[SyncPage]:
    """Start the log anew: a fresh token, then a listing of what changed since shortly before the last good read."""
    log = read_id(work[0].get("log")) or USER_LOG
    token = yield from get_start_token(ctx.app, log)
    since = (read_instant(cursor.get("read_at")) or plan.started_at) - RESYNC_OVERLAP
    tokens = {**read_object(cursor.get("tokens")), log: token}
    listing = {"pass": "resync", "log": log, "filter": f"modifiedTime > '{rfc3339(since)}'"}
    return _page(
        plan,
        {**cursor, "tokens": tokens},
        [listing, {**work[0], "renewed": True}, *work[1:]],
        gap="Drive no longer knows the change token. Files changed since are listed again; removals, and moves that "
        "left modifiedTime alone, cannot be recovered.",
    )


def _read_files(ctx: SyncContext, plan: SyncPlan, cursor: Cursor, work: Sequence[Work]) -> Conversation[SyncPage]:
    item = work[0]
    log, page = read_id(item.get("log")) or USER_LOG, read_text(item.get("page"))
    condition, before = read_text(item.get("filter")), read_text(item.get("before"))
    if before is not None:
        condition = f"modifiedTime <= '{before}'" + (f" and ({condition})" if condition else "")
    url = with_query(
        url_of(ctx.app, Endpoint.DRIVE) + "/files",
        {
            "q": condition,
            "orderBy": "modifiedTime desc",
            "pageSize": str(FILES_PAGE),
            "pageToken": page,
            "corpora": "user" if log == USER_LOG else "drive",
            **log_parameters(log),
            "fields": LIST_FIELDS,
        },
    )
    try:
        response = yield HttpRequest(method="GET", url=url)
    except AccessLostError:
        if log == USER_LOG:
            raise
        tokens = {name: token for name, token in read_object(cursor.get("tokens")).items() if name != log}
        rest = [other for other in work if other.get("log") != log]
        return _page(plan, {**cursor, "tokens": tokens}, rest)
    except UnexpectedResponseError as error:
        has_moved = item.get("seen") not in (None, before)
        if page is None or not _is_bad_token(error) or not has_moved:
            raise
        # Tokens of listings lapse within hours: go on from the last file that was seen.
        return _page(plan, cursor, [{**item, "page": None, "before": item.get("seen")}, *work[1:]])
    answer = response.json_object()
    following = read_text(answer.get("nextPageToken"))
    if following is not None and following == page:
        raise UnexpectedResponseError("Drive's file list does not go on.")
    files = read_objects(answer.get("files"))
    observations, skipped, seen = _observe_files(files, plan, cursor, str(item.get("pass")))
    ahead = {**item, "page": following, "seen": seen or item.get("seen")}
    return _page(
        plan,
        cursor,
        [ahead, *work[1:]] if following else work[1:],
        observations=observations,
        skipped=skipped,
        items=len(files),
    )


def _observe_files(
    files: Sequence[Mapping[str, Any]], plan: SyncPlan, cursor: Cursor, kind: str
) -> tuple[tuple[Observation, ...], tuple[SkippedItem, ...], str | None]:
    observations: dict[str, Observation] = {}
    skipped = []
    seen: str | None = None
    baseline = read_instant(cursor.get("baseline")) or plan.started_at
    for document in files:
        file = read_file(document)
        if file is None:
            skipped.append(SkippedItem(reference="a file", reason="has no id"))
            continue
        seen = file.modified_time or seen
        if kind == "resync":
            # As the log would have shown it, with the only time that a listing has.
            change = read_change({"fileId": file.id, "time": document.get("modifiedTime"), "file": document})
            if isinstance(change, str):
                skipped.append(SkippedItem(reference=file.id, reason=change))
                continue
            observation = observe_change(change, baseline)
        else:
            observation = observe_file(file, document, plan.since, plan.until, is_in_window=kind == "files")
        observations[observation.key] = observation
    return tuple(observations.values()), tuple(skipped), seen


SYNC = Sync(start=start, read_page=read_page, interpret=interpret, poll_interval=timedelta(minutes=15))
