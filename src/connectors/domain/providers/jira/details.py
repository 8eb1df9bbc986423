"""The details of a page's issues: their histories and comments, and the categories of their statuses.

Source: REST v3, Issues (bulk changelog), Issue comments, Workflow statuses.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, ProviderUnavailableError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, json_request
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.lists import Listing, read_listing
from connectors.domain.providers.jira.payloads import Categories, Change, Issue, read_id
from connectors.domain.providers.jira.signals import STATUS_CATEGORIES
from connectors.domain.providers.toolbox.foreign import read_list, read_object
from connectors.domain.providers.toolbox.parking import ItemGuard
from connectors.domain.providers.toolbox.structure import read_rows

CHANGES_PAGE = 1000
"""History entries asked for at a time."""
MAX_PAGES = 500
"""Pages of details for one page of issues, against a server that never ends."""
MAX_CALLS = 40
"""Calls for single issues after which a page of issues ends early, if possible. A page that a limit stops is repeated
as a whole, so all of it has to fit into that limit."""

FIELDS, CHANGELOG, COMMENTS = "fields", "changelog", "comments"
"""The parts of an issue, each of which can fail by itself."""


@attrs.frozen
class Row:
    """One issue of a search, as it came and as it was read."""

    document: Mapping[str, Any]
    issue: Issue

    @classmethod
    def read(cls, value: Any) -> "Row | None":
        """The row, or None unless the issue's id is a number, as Jira's are: nothing else may go into a path."""
        issue = Issue.read(value)
        return cls(read_object(value), issue) if issue is not None and issue.id.isdigit() else None

    def reference(self, part: str) -> str:
        """How a part of it is named when it is parked."""
        return f"issue {self.issue.id} {part}"

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The instants between which the issue's events lie; None if it does not say."""
        created, updated = self.issue.created, self.issue.updated
        return None if created is None or updated is None or created > updated else (created, updated)


Entries = list[Mapping[str, Any]]


@attrs.frozen(kw_only=True)
class Details:
    """The details of a page's issues."""

    rows: Sequence[Row]
    """The issues that were read: the first ones of the page, mostly all."""
    changes: Mapping[str, Entries]
    """Issue id → history entries."""
    comments: Mapping[str, Entries]
    categories: Categories = attrs.field(factory=dict)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """For the connection, where new statuses were found."""


def read_details(
    context: SyncContext, rows: Sequence[Row], may_end: Callable[[int], bool], guard: ItemGuard
) -> Conversation[Details]:
    """History and comments of these issues, and the categories of the statuses that they went through.

    Args:
        context: whose site.
        rows: a page of the search.
        may_end: whether the page may end after so many of them; if so, issues that need many calls wait.
        guard: keeps what cannot be read.
    """
    bulk = yield from _read_all_changes(context, rows)
    changes = {} if bulk is None else bulk
    comments: dict[str, Entries] = {}
    calls = 0
    for count, row in enumerate(rows):
        if calls >= MAX_CALLS and may_end(count):
            rows = rows[:count]
            break
        if bulk is None:
            changes[row.issue.id], used = yield from _read_part(context, row, CHANGELOG, guard)
            calls += used
        comments[row.issue.id], used = yield from _read_part(context, row, COMMENTS, guard)
        calls += used
    details = Details(rows=rows, changes=changes, comments=comments)
    try:
        return (yield from with_categories(context, details))
    except (AccessLostError, UnexpectedResponseError) as error:
        return _without_unknown(context, details, guard, error.message)


def with_categories(context: SyncContext, details: Details) -> Conversation[Details]:
    """The details with the categories of statuses, which are asked for if one is unknown."""
    known = known_categories(context)
    if all(_statuses(entries) <= known.keys() for entries in details.changes.values()):
        return attrs.evolve(details, categories=known)
    categories = {**known, **(yield from read_categories(context))}
    metadata = {STATUS_CATEGORIES: categories} if categories != known else {}
    return attrs.evolve(details, categories=categories, metadata=metadata)


def read_categories(context: SyncContext) -> Conversation[Categories]:
    """Status id → category key, of every status on the site."""
    url = site_api(context.app, context.connection.account.id, "status")
    response = yield HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
    pairs = (
        (read_id(status.get("id")), read_id(read_object(status.get("statusCategory")).get("key")))
        for status in map(read_object, response.json_list())
    )
    return {status_id: key for status_id, key in pairs if status_id is not None and key is not None}


def known_categories(context: SyncContext) -> Categories:
    """Status id → category key, as far as the connection has learnt them."""
    return read_object(context.connection.metadata.get(STATUS_CATEGORIES))


def read_part(context: SyncContext, row: Row, part: str) -> Conversation[Listing]:
    """The whole history of one issue, or all of its comments: those that came with it, or their list."""
    if part == CHANGELOG:
        return (yield from read_listing(context.app, context.connection, f"issue/{row.issue.id}/changelog"))
    embedded = read_object(read_object(row.document.get("fields")).get("comment"))
    first, total = read_list(embedded.get("comments")), embedded.get("total")
    if isinstance(total, int) and total <= len(first):
        return Listing(tuple(first))
    path = f"issue/{row.issue.id}/comment"
    return (yield from read_listing(context.app, context.connection, path, member="comments", orderBy="created"))


def _read_part(context: SyncContext, row: Row, part: str, guard: ItemGuard) -> Conversation[tuple[Entries, int]]:
    """The entries and the number of calls. What cannot be read is parked."""
    listing = yield from guard.read(row.reference(part), read_part(context, row, part), row.span)
    return ([], 1) if listing is None else ([read_object(item) for item in listing.items], listing.calls)


def _read_all_changes(context: SyncContext, rows: Sequence[Row]) -> Conversation[dict[str, Entries] | None]:
    """Issue id → all entries of its history (one issue's may be spread over pages).

    None if each issue has to be asked for: the call is missing, repeats itself, or fails, maybe because of one issue.
    """
    found: dict[str, Entries] = {}
    if not rows:
        return found
    url = site_api(context.app, context.connection.account.id, "changelog/bulkfetch")
    document: dict[str, Any] = {"issueIdsOrKeys": [row.issue.id for row in rows], "maxResults": CHANGES_PAGE}
    used: set[str] = set()
    for _ in range(MAX_PAGES):
        try:
            response = yield json_request("POST", url, document)
            page = response.json_object()
            logs = read_rows(page, "issueChangeLogs", "Jira")
        except (AccessLostError, UnexpectedResponseError, ProviderUnavailableError):
            return None
        for log in map(read_object, logs):
            issue_id = read_id(log.get("issueId"))
            if issue_id is not None:
                found.setdefault(issue_id, []).extend(map(read_object, read_list(log.get("changeHistories"))))
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            return found
        if token in used:
            return None
        used.add(token)
        document = {**document, "nextPageToken": token}
    return None


def _without_unknown(context: SyncContext, details: Details, guard: ItemGuard, reason: str) -> Details:
    """The details without the histories that need a status of unknown category: those are parked.

    Without the category, a closing would be taken for another change of the status, and under the same key for good.
    """
    known = known_categories(context)
    changes = dict(details.changes)
    for row in details.rows:
        if not _statuses(changes.get(row.issue.id, [])) <= known.keys():
            guard.park(row.reference(CHANGELOG), reason, row.span)
            del changes[row.issue.id]
    return attrs.evolve(details, changes=changes, categories=known)


def _statuses(entries: Entries) -> set[str]:
    """Every status id in a history."""
    read = (Change.read(change) for change in entries)
    items = (item for change in read if change is not None for item in change.items if item.field == "status")
    return {status_id for item in items for status_id in (item.from_id, item.to_id) if status_id is not None}
