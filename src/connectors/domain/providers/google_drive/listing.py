"""Drive's files, by the time of their last edit.

A listing continues by `modifiedTime`, not by page token. Google does not document how a token keeps its position, and
when a trashed or edited file leaves the list, everything behind it may move up. Each page asks for what is no newer
than the last file seen, so the pages overlap in one second. The token is followed only where one second fills a page,
and then the previous page is read once more with each page.

Source: developers.google.com/workspace/drive/api/guides/search-files.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.sync import Cursor, Observation, SkippedItem, SyncPage, SyncPlan
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_drive.logs import USER_LOG, log_parameters
from connectors.domain.providers.google_drive.payloads import LIST_FIELDS, read_change, read_file
from connectors.domain.providers.google_drive.signals import CLOCK_DOUBT, observe_change, observe_file
from connectors.domain.providers.google_drive.sync_run import Work, is_bad_token, page_of
from connectors.domain.providers.toolbox.foreign import read_object, read_objects, read_text

FILES_PAGE = 500
"""Files per page. Always sent: without it Drive may return a whole My Drive at once."""


def read_files(ctx: SyncContext, plan: SyncPlan, cursor: Cursor, work: Sequence[Work]) -> Conversation[SyncPage]:
    """One page of the first item of work, which is a listing."""
    item = work[0]
    log, page = read_id(item.get("log")) or USER_LOG, read_text(item.get("page"))
    try:
        answer = yield from _list_files(ctx, item, page)
        # Within one second, files trashed meanwhile may have moved others from this page to the previous one.
        risen = {} if page is None else (yield from _list_files(ctx, item, read_text(item.get("passed_page"))))
    except AccessLostError:
        if log == USER_LOG:
            raise
        tokens = {name: token for name, token in read_object(cursor.get("tokens")).items() if name != log}
        rest = [other for other in work if other.get("log") != log]
        return page_of(plan, {**cursor, "tokens": tokens}, rest)
    except UnexpectedResponseError as error:
        if page is None or not is_bad_token(error) or item.get("restarted") is True:
            raise
        # Tokens of listings lapse within hours: read the second from its beginning, once.
        return page_of(plan, cursor, [{**item, "page": None, "restarted": True}, *work[1:]])
    following = read_text(answer.get("nextPageToken"))
    files = read_objects(answer.get("files"))
    observations, skipped, seen = _observe_files(
        [*read_objects(risen.get("files")), *files], plan, cursor, str(item.get("pass"))
    )
    if answer.get("incompleteSearch") is True:
        skipped = (*skipped, SkippedItem(reference=f"files of {log}", reason="Drive did not search all of them"))
    return page_of(
        plan,
        cursor,
        work[1:] if following is None else [_files_ahead(item, page, following, seen), *work[1:]],
        observations=observations,
        skipped=skipped,
        items=len(files),
    )


def _list_files(ctx: SyncContext, item: Work, page: str | None) -> Conversation[Mapping[str, Any]]:
    log = read_id(item.get("log")) or USER_LOG
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
    response = yield HttpRequest(method="GET", url=url)
    return response.json_object()


def _files_ahead(item: Work, page: str | None, following: str, seen: str | None) -> Work:
    """Where a listing continues: at the second of the last file, or by token within that second."""
    last, before = read_instant(seen), read_instant(item.get("before"))
    # Rounded up: Google does not document whether a query compares fractions of a second.
    bound = None if last is None else last.replace(microsecond=0) + timedelta(seconds=1)
    if bound is not None and (before is None or bound < before):
        rest = {name: value for name, value in item.items() if name not in {"page", "passed_page", "restarted"}}
        return {**rest, "before": rfc3339(bound)}
    if following == page:
        raise UnexpectedResponseError("Drive's file list does not go on.")
    return {**item, "page": following, "passed_page": page}


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
            since = plan.started_at - CLOCK_DOUBT if kind == "first" else plan.since
            observation = observe_file(file, document, since, plan.until, is_in_window=kind != "older")
        observations[observation.key] = observation
    return tuple(observations.values()), tuple(skipped), seen
