"""Reading Drive: each change log is a stream, read from a stored token; listings show what was before.

    baseline      a fresh token; then all files; then those made or edited meanwhile, which the listing may have missed
    incremental   the log; and once, when new files must have reached the lists, those made around the baseline
    backfill      files that were made or edited in the window

The token is taken before anything is listed, so that what happens during a listing is in the changes after it. What
is listed beside the log is remembered, so that a later change of an old file is not mistaken for a newly shared file.

Source: developers.google.com/workspace/drive/api/guides/manage-changes and …/search-files.
"""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.streams import DiscoveryPage, ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, Observation, SyncMode
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.google_drive.listing import FILES_REFERENCE, read_files
from connectors.domain.providers.google_drive.logs import (
    USER_LOG,
    find_chosen,
    get_start_token,
    key_of,
    list_drives,
    log_of,
    log_parameters,
    read_rows,
)
from connectors.domain.providers.google_drive.old_cursor import split_cursor
from connectors.domain.providers.google_drive.payloads import CHANGE_FIELDS, read_change
from connectors.domain.providers.google_drive.signals import CLOCK_DOUBT, FAMILIES, interpret, observe_change
from connectors.domain.providers.toolbox.foreign import read_object, read_text

CHANGES_PAGE = 500
"""Changes per page; Drive takes up to 1000."""
OVERLAP = timedelta(days=1)
"""How far before a window its files are listed: an edit made offline is uploaded later under its own time."""
INDEX_LAG = timedelta(minutes=30)
"""How long a new file may be missing in lists that the log already has."""
CHANGES_REFERENCE = "changes:"
"""What the reference of a page of changes begins with, one of which is parked; the rest is the page's token."""
LOST = (
    "Drive no longer knows the change token. Files edited since are listed again; what was moved, shared, trashed or "
    "removed cannot be recovered."
)


def discover(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:  # noqa: ARG001
    """The user's log, and a page of the shared drives'."""
    logs = {USER_LOG: "My Drive"} if cursor is None else {}
    following = None
    chosen = find_chosen(context.connection)
    if chosen is None:
        drives, following = yield from list_drives(context.app, read_text((cursor or {}).get("page")))
    else:
        drives = {drive: drive for drive in chosen}
    is_chosen = chosen is not None
    families = frozenset(family.name for family in FAMILIES)
    streams = (
        Stream(
            key=key_of(log), name=f"change log of {name}", families=families, is_chosen=is_chosen and log != USER_LOG
        )
        for log, name in {**drives, **logs}.items()
    )
    return DiscoveryPage(streams=tuple(streams), cursor=None if following is None else {"page": following})


def read_page(context: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of the log, or of its files."""
    log = log_of(stream.key)
    if window.mode is SyncMode.BACKFILL:
        since = max(window.low - OVERLAP, window.floor)
        return (yield from read_files(context, log, cursor or {}, since))
    if cursor is None:
        cursor = window.bookmark
    if cursor is None:
        cursor = {"token": (yield from get_start_token(context.app, log)), "files": {}}
    if "files" in cursor:
        return (yield from _read_files_beside_log(context, log, window, cursor))
    try:
        page = yield from _read_changes(context, log, read_text(cursor.get("token")) or "")
    except UnexpectedResponseError as error:
        if not is_bad_token(error):
            raise
        return StreamPage(cursor=None, lost=LOST)
    listed_at = read_instant((window.bookmark or {}).get("listed_at"))
    if page.bookmark is None or listed_at is None:
        return page
    if window.high < listed_at + INDEX_LAG:
        return attrs.evolve(page, bookmark={**page.bookmark, "listed_at": rfc3339(listed_at)})
    files = {"since": rfc3339(listed_at - INDEX_LAG)}
    return attrs.evolve(page, cursor={**page.bookmark, "files": files}, bookmark=None)


def _read_files_beside_log(context: SyncContext, log: str, window: Window, cursor: Cursor) -> Conversation[StreamPage]:
    """One page of the files that a baseline lists, or those around it."""
    position = read_object(cursor.get("files"))
    since = read_instant(position.get("since"))
    page = yield from read_files(context, log, position, since, remembers=True)
    if page.cursor is not None:
        return attrs.evolve(page, cursor={**cursor, "files": page.cursor})
    if since is None:
        return attrs.evolve(page, cursor={**cursor, "files": {"since": rfc3339(window.high - CLOCK_DOUBT)}})
    listed_at = {"listed_at": rfc3339(window.high)} if window.bookmark is None else {}
    return attrs.evolve(page, bookmark={"token": cursor.get("token"), **listed_at})


def _read_changes(context: SyncContext, log: str, token: str) -> Conversation[StreamPage]:
    url = with_query(
        url_of(context.app, Endpoint.DRIVE) + "/changes",
        {
            "pageToken": token,
            "pageSize": str(CHANGES_PAGE),
            "includeRemoved": "true",
            "includeCorpusRemovals": "true",
            **log_parameters(log),
            "fields": CHANGE_FIELDS,
        },
    )
    response = yield HttpRequest(method="GET", url=url)
    answer = response.json_object()
    following, final = read_text(answer.get("nextPageToken")), read_text(answer.get("newStartPageToken"))
    if (following or final) is None:
        raise UnexpectedResponseError("Drive's change list does not say where it goes on.")
    rows = read_rows(answer, "changes")
    observations: dict[str, Observation] = {}
    reasons = []
    for row in rows:
        document = read_object(row)
        if document.get("changeType") == "drive":
            continue  # a shared drive was renamed, joined or left: no file changed
        change = read_change(document)
        if isinstance(change, str):
            reasons.append(f"a change {change}")
            continue
        observation = observe_change(change)
        # A log has each file once, at its latest change. If a page does not, the latest state counts.
        observations.pop(observation.key, None)
        observations[observation.key] = observation
    return StreamPage(
        cursor=None if following is None else {"token": following},
        bookmark=None if following is not None else {"token": final},
        observations=tuple(observations.values()),
        items=len(rows),
        parked=tuple(ParkedItem(reference=CHANGES_REFERENCE + token, reason=reason) for reason in reasons[:1]),
    )


def read_item(context: SyncContext, stream: Stream, window: Window, reference: str) -> Conversation[StreamPage]:
    """The page that the parked thing is on. What a log repeats has been compared before, and says nothing new.

    Raises:
        UnexpectedResponseError: it still cannot be read, or Drive no longer knows the page that it was on.
    """
    log = log_of(stream.key)
    if reference.startswith(FILES_REFERENCE):
        before = reference.removeprefix(FILES_REFERENCE) or None
        page = yield from read_files(context, log, {"before": before}, window.floor)
    else:
        page = yield from _read_changes(context, log, reference.removeprefix(CHANGES_REFERENCE))
    if page.parked:
        raise UnexpectedResponseError(page.parked[0].reason)
    return attrs.evolve(page, cursor=None, bookmark=None)


def is_bad_token(error: UnexpectedResponseError) -> bool:
    """Whether Drive refused the page token. `invalidParameter` is a mistake of ours, and stays an error."""
    detail: Mapping[str, Any] = error.details[0] if error.details else {}
    if detail.get("status") != HTTPStatus.BAD_REQUEST:
        return False
    return detail.get("location") == "pageToken" or detail.get("reason") in {"invalid", "badRequest", ""}


STREAMS = Streams(
    discover=discover,
    read_page=read_page,
    read_item=read_item,
    interpret=interpret,
    split_cursor=split_cursor,
    follows_log=True,
    poll_interval=timedelta(minutes=15),
)
