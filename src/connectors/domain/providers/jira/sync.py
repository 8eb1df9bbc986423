"""Reading a site: its issues from the least recently updated on, each with its history and comments.

Every page asks anew for "updated at or after the last one seen, oldest first", so an issue that moves while we read
moves ahead of us, never behind. Jira's page tokens are used only where one second holds more than a page.
The README proves that nothing slips.

Source: REST v3, Issue search (enhanced), Issues (bulk changelog), Issue comments, Workflow statuses.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, json_request, with_query
from connectors.domain.model.instant import from_epoch_seconds, rfc3339
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.limits import read_failure
from connectors.domain.providers.jira.payloads import Change, Comment, Issue, as_list, as_object, read_id, read_time
from connectors.domain.providers.jira.signals import STATUS_CATEGORIES, UPDATED, Site, epoch_ms, normalize
from connectors.domain.providers.jira.subscriptions import list_values

OVERLAP = timedelta(minutes=10)
"""How far an incremental walk starts before the last one ended: Jira's search index lags behind its issues."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Lower bound of an unbounded backfill: before Jira existed, because a search without any bound is refused."""
PAGE_SIZE = 100
"""Issues asked for at a time."""
COMMENTS_PAGE = 100
"""Comments asked for at a time."""
CHANGES_PAGE = 1000
"""History entries asked for at a time."""
MAX_PAGES = 500
"""Pages of one page's details, against a server that never ends."""

FIELDS = (
    *("summary", "status", "project", "issuetype", "priority", "assignee", "reporter", "creator"),
    *("created", "updated", "resolutiondate", "labels", "parent", "comment"),
)
"""Named because the default is the id alone. `comment` brings an issue's first comments, which saves most calls."""

BULK_MISSING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE})
"""Answers of a site that has no bulk changelog."""

TARGET = re.compile(r"[A-Z][A-Z0-9_]{0,63}|[0-9]{1,18}")
"""A project's key or id: all that may go into a query."""

Window = tuple[datetime, datetime | None]


def start(context: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """Where the walk begins: `since` (backfill), or a little before the last walk's end (incremental).

    The first incremental walk takes a baseline: it will be asked for what is later than now.
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
    """One page of issues with all that happened to them inside the walk's window.

    Raises:
        UnexpectedResponseError: the query was refused, or the answer is not a page of issues.
    """
    if "baseline" in cursor:
        categories = yield from read_categories(context)
        done = {"updated": cursor["baseline"]}
        return SyncPage(cursor=done, done=True, connection_metadata={STATUS_CATEGORIES: categories})
    walk = Walk.read(cursor)
    request = search_request(context, plan, walk)
    response = yield request
    if response.status == HTTPStatus.BAD_REQUEST:
        if walk.token is None:
            raise read_failure(request, response, plan.started_at)
        # A token lives seven days; the page that it meant begins at `since_ms` again.
        return SyncPage(cursor=_at(walk.since_ms, walk.started_ms))
    document = response.json_object()
    issues = [as_object(item) for item in as_list(document.get("issues"))]
    found = yield from read_details(context, issues)
    drafts, skipped = _collect(context, plan, walk, found)
    after = walk.after([Issue.read(item) for item in issues], document.get("nextPageToken"))
    return SyncPage(
        cursor=final_cursor(plan, after),
        done=after.done,
        signals=drafts,
        items=len(issues),
        skipped=skipped,
        gap=after.gap,
        connection_metadata=found.metadata,
    )


@attrs.frozen(kw_only=True)
class Walk:
    """Where a walk stands."""

    since_ms: int
    """The next search asks for issues updated at or after this (epoch milliseconds)."""
    started_ms: int
    """Where the walk began: nothing that happened before is of interest to an incremental one."""
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
    def read(cls, cursor: Cursor) -> "Walk":
        """The walk that a cursor describes.

        Raises:
            UnexpectedResponseError: it is not a cursor of this room.
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
        """The walk as JSON values."""
        values: dict[str, Any] = {"since": self.since_ms, "started": self.started_ms}
        if self.token is not None:
            values |= {"token": self.token, "used": list(self.used), "seen": sorted(self.seen)}
        if self.before is not None:
            values["before"] = sorted(self.before)
        return values

    def after(self, issues: Sequence[Issue | None], token: Any) -> "Walk":
        """Where it stands after a page with these issues and this `nextPageToken`.

        `isLast` is not looked at: it has been seen to mislead.
        """
        newest = max((epoch_ms(issue.updated) for issue in issues if issue and issue.updated), default=self.since_ms)
        # Whole seconds: whether the index compares milliseconds is not documented, and rounding down is safe.
        reached = max(newest // 1000 * 1000, self.since_ms)
        has_more = isinstance(token, str) and bool(token) and bool(issues)
        if self.token is None and (not has_more or reached > self.since_ms):
            return self._at(reached, done=not has_more)
        seen = self.seen | {issue.id for issue in issues if issue and _is_in_second(issue, self.since_ms)}
        if has_more and reached == self.since_ms:
            return self._next_of_second(seen, token)
        if seen == self.before:
            return self._at(self.since_ms + 1000)
        # An issue that left the second may have pulled another over the edge of a page: look again.
        return attrs.evolve(self._at(self.since_ms), before=seen)

    def _next_of_second(self, seen: frozenset[str], token: str) -> "Walk":
        mark = hashlib.sha256(token.encode(errors="replace")).hexdigest()[:16]
        if mark in self.used:
            # The second is full and Jira walks in circles. The next second is the only way on.
            second = rfc3339(from_epoch_seconds(self.since_ms / 1000))
            gap = f"Jira repeats a page: of the issues last updated in the second {second} some may be missing."
            return attrs.evolve(self._at(self.since_ms + 1000), gap=gap)
        return attrs.evolve(self, token=token, used=(*self.used, mark), seen=seen)

    def _at(self, since_ms: int, *, done: bool = False) -> "Walk":
        return Walk(since_ms=since_ms, started_ms=self.started_ms, done=done)


def _is_in_second(issue: Issue, since_ms: int) -> bool:
    return issue.updated is None or epoch_ms(issue.updated) // 1000 * 1000 == since_ms


def _texts(value: Any) -> Iterator[str]:
    return (item for item in as_list(value) if isinstance(item, str))


@attrs.frozen
class Details:
    """What a page's issues have gone through."""

    issues: Sequence[Mapping[str, Any]]
    changes: Mapping[str, list[Mapping[str, Any]]]
    """Issue id → history entries."""
    comments: Mapping[str, list[Mapping[str, Any]]]
    categories: Mapping[str, str]
    metadata: Mapping[str, Any]


def search_request(context: SyncContext, plan: SyncPlan, walk: Walk) -> HttpRequest:
    """The search for one page. Numbers in it are epoch milliseconds: a quoted date would be read in the user's own
    time zone, and to the minute.

    Raises:
        UnexpectedResponseError: the plan's target is not a project's key or id.
    """
    bounds = [f"updated >= {walk.since_ms}"]
    if plan.target is not None:
        if TARGET.fullmatch(plan.target) is None:
            raise UnexpectedResponseError("Only a project's key or id can be read by itself.")
        bounds.append(f'project = "{plan.target}"')
    document: dict[str, Any] = {
        "jql": f"{' AND '.join(bounds)} ORDER BY updated ASC, id ASC",
        "fields": list(FIELDS),
        "maxResults": PAGE_SIZE,
    }
    if walk.token is not None:
        document["nextPageToken"] = walk.token
    url = site_api(context.app, context.connection.account.id, "search/jql")
    return json_request("POST", url, document, expects=frozenset({HTTPStatus.BAD_REQUEST}))


def read_details(context: SyncContext, issues: Sequence[Mapping[str, Any]]) -> Conversation[Details]:
    """History and comments of these issues, and the categories of the statuses that they went through."""
    ids = [item for item in (read_id(issue.get("id")) for issue in issues) if item is not None]
    changes = (yield from read_changes(context, ids)) if ids else {}
    comments: dict[str, list[Mapping[str, Any]]] = {}
    for issue in issues:
        issue_id = read_id(issue.get("id"))
        if issue_id is not None:
            comments[issue_id] = yield from read_comments(context, issue_id, as_object(issue.get("fields")))
    known = as_object(context.connection.metadata.get(STATUS_CATEGORIES))
    if known and _statuses(changes) <= known.keys():
        return Details(issues, changes, comments, known, {})
    categories = {**known, **(yield from read_categories(context))}
    return Details(
        issues, changes, comments, categories, {STATUS_CATEGORIES: categories} if categories != known else {}
    )


def read_categories(context: SyncContext) -> Conversation[Mapping[str, str]]:
    """Status id → category key, of every status on the site."""
    url = site_api(context.app, context.connection.account.id, "status")
    response = yield HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
    pairs = (
        (read_id(status.get("id")), read_id(as_object(status.get("statusCategory")).get("key")))
        for status in map(as_object, response.json_list())
    )
    return {status_id: key for status_id, key in pairs if status_id is not None and key is not None}


def read_changes(context: SyncContext, ids: Sequence[str]) -> Conversation[dict[str, list[Mapping[str, Any]]]]:
    """Issue id → all entries of its history. One issue's may be spread over pages.

    Where the bulk call is missing or walks in circles, each issue is asked by itself.
    """
    url = site_api(context.app, context.connection.account.id, "changelog/bulkfetch")
    found: dict[str, list[Mapping[str, Any]]] = {}
    token: str | None = None
    used: set[str] = set()
    for _ in range(MAX_PAGES):
        document: dict[str, Any] = {"issueIdsOrKeys": list(ids), "maxResults": CHANGES_PAGE}
        if token is not None:
            document["nextPageToken"] = token
        response = yield json_request("POST", url, document, expects=BULK_MISSING)
        if response.status in BULK_MISSING:
            return (yield from _changes_one_by_one(context, ids))
        page = response.json_object()
        for log in map(as_object, as_list(page.get("issueChangeLogs"))):
            issue_id = read_id(log.get("issueId"))
            if issue_id is not None:
                found.setdefault(issue_id, []).extend(map(as_object, as_list(log.get("changeHistories"))))
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            return found
        if token in used:
            break
        used.add(token)
    return (yield from _changes_one_by_one(context, ids))


def _changes_one_by_one(context: SyncContext, ids: Sequence[str]) -> Conversation[dict[str, list[Mapping[str, Any]]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for issue_id in ids:
        values = yield from list_values(context.app, context.connection, f"issue/{issue_id}/changelog")
        found[issue_id] = [as_object(value) for value in values]
    return found


def read_comments(
    context: SyncContext, issue_id: str, fields: Mapping[str, Any]
) -> Conversation[list[Mapping[str, Any]]]:
    """All comments of an issue: those embedded in it when they are all, else the whole list."""
    embedded = as_object(fields.get("comment"))
    first, total = as_list(embedded.get("comments")), embedded.get("total")
    if isinstance(total, int) and total <= len(first):
        return [as_object(item) for item in first]
    found: list[Mapping[str, Any]] = []
    url = site_api(context.app, context.connection.account.id, f"issue/{issue_id}/comment")
    for _ in range(MAX_PAGES):
        query = {"startAt": str(len(found)), "maxResults": str(COMMENTS_PAGE), "orderBy": "created"}
        request = HttpRequest(
            method="GET",
            url=with_query(url, query),
            headers={"accept": "application/json"},
            expects=frozenset({HTTPStatus.NOT_FOUND}),  # deleted since the search
        )
        response = yield request
        if response.status == HTTPStatus.NOT_FOUND:
            break
        page = response.json_object()
        items = as_list(page.get("comments"))
        found.extend(map(as_object, items))
        total = page.get("total")
        if not items or (isinstance(total, int) and len(found) >= total):
            break
    return found


def final_cursor(plan: SyncPlan, walk: Walk) -> Cursor:
    """What the next incremental walk starts from. A backfill that stopped at `until` has not covered what is later."""
    if not walk.done:
        return walk.cursor()
    ends = [walk.since_ms]
    if plan.mode is SyncMode.BACKFILL and plan.until is not None:
        ends.append(epoch_ms(plan.until))
    return {"updated": min(ends)}


def envelopes_of(issue: Mapping[str, Any], details: Details) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that an issue shows, each as the webhook's envelope with a reference for the log."""
    issue_id = read_id(issue.get("id")) or ""
    # The comments have envelopes of their own; in each copy of the issue they would only take room.
    fields = {name: value for name, value in as_object(issue.get("fields")).items() if name != "comment"}
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
    context: SyncContext, plan: SyncPlan, walk: Walk, details: Details
) -> tuple[tuple[SignalDraft, ...], tuple[SkippedItem, ...]]:
    """The signals inside the window. One that cannot be read steps aside."""
    site = attrs.evolve(Site.of(context.connection), categories=details.categories)
    window = _window(plan, walk)
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
                drafts.extend(normalize(envelope, site))
            except (UnexpectedResponseError, ValueError) as error:
                skipped.append(SkippedItem(reference=reference, reason=str(error)))
    return tuple(drafts), tuple(skipped)


def _window(plan: SyncPlan, walk: Walk) -> Window:
    """Which moments the walk speaks of."""
    if plan.mode is SyncMode.BACKFILL:
        return plan.since or EARLIEST, plan.until
    return from_epoch_seconds(walk.started_ms / 1000), None


def _is_inside(value: Any, window: Window) -> bool:
    """Whether a moment is of interest; one that cannot be read is, so that its item gets reported."""
    at, (since, until) = read_time(value), window
    return at is None or (at >= since and (until is None or at <= until))


def _statuses(changes: Mapping[str, list[Mapping[str, Any]]]) -> set[str]:
    """Every status id that these histories mention."""
    read = (Change.read(change) for entries in changes.values() for change in entries)
    items = (item for change in read if change is not None for item in change.items if item.field == "status")
    return {status_id for item in items for status_id in (item.from_id, item.to_id) if status_id is not None}


def _at(since_ms: int, started_ms: int | None = None) -> Cursor:
    return {"since": since_ms, "started": since_ms if started_ms is None else started_ms}


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


SYNC = Sync(start=start, read_page=read_page)
