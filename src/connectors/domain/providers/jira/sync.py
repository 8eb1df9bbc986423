"""Reading a site: its issues from the least recently updated on, each with its history and comments.

Every page asks again for "updated at or after the last one seen, oldest first", so an issue that moves while we read
moves ahead of us, never behind. Jira's page tokens are used only where one second holds more than a page.
The README explains why nothing is missed.

Source: REST v3, Issue search (enhanced).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, json_request
from connectors.domain.model.instant import from_epoch_seconds
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.jira.details import Details, read_categories, read_details
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.envelope import Envelope
from connectors.domain.providers.jira.events import UPDATED, normalize
from connectors.domain.providers.jira.limits import read_failure
from connectors.domain.providers.jira.payloads import Change, Comment, Issue, read_id, read_time
from connectors.domain.providers.jira.signals import STATUS_CATEGORIES, Site, epoch_ms
from connectors.domain.providers.jira.sync_run import SyncRun
from connectors.domain.providers.toolbox.foreign import read_list, read_object

OVERLAP = timedelta(minutes=10)
"""How far an incremental sync run starts before the last one ended: Jira's search index lags behind its issues."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Lower bound of an unbounded backfill: before Jira existed, because a search without any bound is refused."""
PAGE_SIZE = 100
"""Issues asked for at a time."""

FIELDS = (
    *("summary", "status", "project", "issuetype", "priority", "assignee", "reporter", "creator"),
    *("created", "updated", "resolutiondate", "labels", "parent", "comment"),
)
"""Named because the default is only the id. `comment` includes an issue's first comments, which saves most calls."""

TARGET = re.compile(r"[A-Z][A-Z0-9_]{0,63}|[0-9]{1,18}")
"""A project's key or id: all that may go into a query."""

Window = tuple[datetime, datetime | None]


def start(context: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The first cursor: at `since` (backfill), or a little before the last sync run's end (incremental).

    The first incremental sync run takes a baseline: it will be asked for what is later than now.
    """
    del context
    yield from ()
    if plan.mode is SyncMode.BACKFILL:
        return _at(epoch_ms(plan.since or EARLIEST))
    last = None if plan.last_cursor is None else plan.last_cursor.get("updated")
    if not isinstance(last, int):
        return {"baseline": epoch_ms(plan.started_at)}
    return _at(last - _ms(OVERLAP))


def read_page(context: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page of issues with all that happened to them inside the sync run's window.

    Raises:
        UnexpectedResponseError: the query was refused, or the answer is not a page of issues.
    """
    if "baseline" in cursor:
        categories = yield from read_categories(context)
        done = {"updated": cursor["baseline"]}
        return SyncPage(cursor=done, done=True, connection_metadata={STATUS_CATEGORIES: categories})
    sync_run = SyncRun.read(cursor)
    request = search_request(context, plan, sync_run)
    response = yield request
    if response.status == HTTPStatus.BAD_REQUEST:
        if sync_run.token is None:
            raise read_failure(request, response, plan.started_at)
        # A token lives seven days; the page that it meant begins at `since_ms` again.
        return SyncPage(cursor=_at(sync_run.since_ms, sync_run.started_ms))
    document = response.json_object()
    issues = [read_object(item) for item in read_list(document.get("issues"))]
    read = [Issue.read(item) for item in issues]
    found = yield from read_details(context, issues, lambda count: sync_run.may_end(read[:count]))
    drafts, skipped = _collect(context, plan, sync_run, found)
    count = len(found.issues)
    after = sync_run.after(read[:count], document.get("nextPageToken"), is_cut=count < len(issues))
    return SyncPage(
        cursor=final_cursor(plan, after),
        done=after.done,
        signals=drafts,
        items=count,
        skipped=(*found.skipped, *skipped),
        gap=after.gap,
        connection_metadata=found.metadata,
    )


def search_request(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> HttpRequest:
    """The search for one page. Numbers in it are epoch milliseconds: a quoted date would be read in the user's own
    time zone, and to the minute.

    Raises:
        UnexpectedResponseError: the plan's target is not a project's key or id.
    """
    bounds = [f"updated >= {sync_run.since_ms}"]
    if plan.target is not None:
        if TARGET.fullmatch(plan.target) is None:
            raise UnexpectedResponseError("Only a project's key or id can be read by itself.")
        bounds.append(f'project = "{plan.target}"')
    document: dict[str, Any] = {
        "jql": f"{' AND '.join(bounds)} ORDER BY updated ASC, id ASC",
        "fields": list(FIELDS),
        "maxResults": PAGE_SIZE,
    }
    if sync_run.token is not None:
        document["nextPageToken"] = sync_run.token
    url = site_api(context.app, context.connection.account.id, "search/jql")
    return json_request("POST", url, document, expects=frozenset({HTTPStatus.BAD_REQUEST}))


def final_cursor(plan: SyncPlan, sync_run: SyncRun) -> Cursor:
    """The cursor for the next incremental sync run. A backfill that stopped at `until` has not covered what is
    later."""
    if not sync_run.done:
        return sync_run.cursor()
    ends = [sync_run.since_ms]
    if plan.mode is SyncMode.BACKFILL and plan.until is not None:
        ends.append(epoch_ms(plan.until))
    return {"updated": min(ends)}


def envelopes_of(issue: Mapping[str, Any], details: Details) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that an issue shows, each as the webhook's envelope with a reference for the log."""
    issue_id = read_id(issue.get("id")) or ""
    # The comments have envelopes of their own; copies of them in each issue would only take space.
    fields = {name: value for name, value in read_object(issue.get("fields")).items() if name != "comment"}
    plain = {**issue, "fields": fields}
    creator = fields.get("creator") or fields.get("reporter")
    created = fields.get("created")
    yield (
        f"issue {issue_id}",
        {"webhookEvent": "jira:issue_created", "timestamp": created, "user": creator, "issue": plain},
    )
    for change in details.changes.get(issue_id, []):
        yield (
            f"change {read_id(change.get('id'))} of issue {issue_id}",
            {
                "webhookEvent": UPDATED,
                "timestamp": change.get("created"),
                "user": change.get("author"),
                "issue": plain,
                "changelog": change,
            },
        )
    for comment in details.comments.get(issue_id, []):
        reference, author = f"comment {read_id(comment.get('id'))} of issue {issue_id}", comment.get("author")
        envelope = {"timestamp": comment.get("created"), "user": author, "issue": plain, "comment": comment}
        yield reference, {"webhookEvent": "comment_created", **envelope}
        if is_edited(comment):
            editor = comment.get("updateAuthor") or author
            edited = {**envelope, "timestamp": comment.get("updated"), "user": editor}
            yield reference, {"webhookEvent": "comment_updated", **edited}


def is_edited(comment: Mapping[str, Any]) -> bool:
    """Whether a comment has been edited since it was written: its two instants differ."""
    read = Comment.read(comment)
    return read is not None and None not in {read.created, read.updated} and read.created != read.updated


def _collect(
    context: SyncContext, plan: SyncPlan, sync_run: SyncRun, details: Details
) -> tuple[tuple[SignalDraft, ...], tuple[SkippedItem, ...]]:
    """The signals inside the window; unreadable items are skipped."""
    site = attrs.evolve(Site.of(context.connection), categories=details.categories)
    window = _window(plan, sync_run)
    drafts: list[SignalDraft] = []
    skipped: list[SkippedItem] = []
    for issue in details.issues:
        for reference, envelope in envelopes_of(issue, details):
            if not _is_inside(envelope.get("timestamp"), window):
                continue
            if "changelog" in envelope and Change.read(envelope["changelog"]) is None:
                skipped.append(SkippedItem(reference=reference, reason="a change without an id or fields"))
                continue
            try:
                drafts.extend(normalize(Envelope.read(envelope), site))
            except (UnexpectedResponseError, ValueError) as error:
                skipped.append(SkippedItem(reference=reference, reason=str(error)))
    return tuple(drafts), tuple(skipped)


def _window(plan: SyncPlan, sync_run: SyncRun) -> Window:
    """The instants that the sync run covers."""
    if plan.mode is SyncMode.BACKFILL:
        return plan.since or EARLIEST, plan.until
    return from_epoch_seconds(sync_run.started_ms / 1000), None


def _is_inside(value: Any, window: Window) -> bool:
    """Whether an instant is covered; an unreadable one is, so that its item is reported."""
    at, (since, until) = read_time(value), window
    return at is None or (at >= since and (until is None or at <= until))


def _at(since_ms: int, started_ms: int | None = None) -> Cursor:
    return {"since": since_ms, "started": since_ms if started_ms is None else started_ms}


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


SYNC = Sync(start=start, read_page=read_page)
