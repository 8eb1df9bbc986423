"""The details of a page's issues: their histories and comments, and the categories of their statuses.

Source: REST v3, Issues (bulk changelog), Issue comments, Workflow statuses.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.http import Conversation, HttpRequest, json_request
from connectors.domain.model.sync import SkippedItem
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.lists import read_listing
from connectors.domain.providers.jira.payloads import Change, read_id
from connectors.domain.providers.jira.signals import STATUS_CATEGORIES
from connectors.domain.providers.toolbox.foreign import read_list, read_object

CHANGES_PAGE = 1000
"""History entries asked for at a time."""
MAX_PAGES = 500
"""Pages of details for one page of issues, against a server that never ends."""
MAX_CALLS = 40
"""Calls to one endpoint after which a page of issues ends early, if possible. A page that a limit stops is repeated as
a whole, so all of it has to fit into that limit."""
BULK_MISSING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE})
"""Answers of a site that has no bulk changelog."""


@attrs.frozen
class Details:
    """The details of a page's issues."""

    issues: Sequence[Mapping[str, Any]]
    """The issues that were read: the first ones of the page, mostly all."""
    changes: Mapping[str, list[Mapping[str, Any]]]
    """Issue id → history entries."""
    comments: Mapping[str, list[Mapping[str, Any]]]
    categories: Mapping[str, str]
    metadata: Mapping[str, Any]
    skipped: tuple[SkippedItem, ...] = ()
    """Histories and comments that this user may not read."""


def read_details(
    context: SyncContext, issues: Sequence[Mapping[str, Any]], may_end: Callable[[int], bool] = lambda count: False
) -> Conversation[Details]:
    """History and comments of these issues, and the categories of the statuses that they went through.

    Args:
        context: whose site.
        issues: a page of the search.
        may_end: whether the page may end after so many of them; if so, issues that need many calls wait.
    """
    skipped: list[SkippedItem] = []
    changes, issues = yield from read_changes(context, issues, may_end, skipped)
    comments: dict[str, list[Mapping[str, Any]]] = {}
    calls = 0
    for count, issue in enumerate(issues):
        if calls >= MAX_CALLS and may_end(count):
            issues = issues[:count]
            break
        issue_id = _issue_id(issue)
        if issue_id is None:
            continue
        embedded = embedded_comments(read_object(issue.get("fields")))
        if embedded is not None:
            comments[issue_id] = embedded
            continue
        try:
            listing = yield from read_listing(
                *(context.app, context.connection, f"issue/{issue_id}/comment"),
                member="comments",
                gone_is_empty=True,  # deleted since the search
                orderBy="created",
            )
        except AccessLostError as error:
            calls += 1
            skipped.append(SkippedItem(reference=f"comments of issue {issue_id}", reason=error.message))
        else:
            calls += listing.calls
            comments[issue_id] = [read_object(item) for item in listing.items]
    known = read_object(context.connection.metadata.get(STATUS_CATEGORIES))
    if known and _statuses(changes) <= known.keys():
        return Details(issues, changes, comments, known, {}, tuple(skipped))
    categories = {**known, **(yield from read_categories(context))}
    metadata = {STATUS_CATEGORIES: categories} if categories != known else {}
    return Details(issues, changes, comments, categories, metadata, tuple(skipped))


def read_categories(context: SyncContext) -> Conversation[Mapping[str, str]]:
    """Status id → category key, of every status on the site."""
    url = site_api(context.app, context.connection.account.id, "status")
    response = yield HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
    pairs = (
        (read_id(status.get("id")), read_id(read_object(status.get("statusCategory")).get("key")))
        for status in map(read_object, response.json_list())
    )
    return {status_id: key for status_id, key in pairs if status_id is not None and key is not None}


def read_changes(
    context: SyncContext,
    issues: Sequence[Mapping[str, Any]],
    may_end: Callable[[int], bool],
    skipped: list[SkippedItem],
) -> Conversation[tuple[dict[str, list[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]]:
    """Issue id → all entries of its history (one issue's may be spread over pages), and the issues that were read.

    If the bulk call is missing or repeats itself, each issue is read separately; an issue that is gone or no longer
    visible is noted in `skipped`.
    """
    ids = [item for item in map(_issue_id, issues) if item is not None]
    found: dict[str, list[Mapping[str, Any]]] = {}
    if not ids:
        return found, issues
    url = site_api(context.app, context.connection.account.id, "changelog/bulkfetch")
    token: str | None = None
    used: set[str] = set()
    for _ in range(MAX_PAGES):
        document: dict[str, Any] = {"issueIdsOrKeys": ids, "maxResults": CHANGES_PAGE}
        if token is not None:
            document["nextPageToken"] = token
        response = yield json_request("POST", url, document, expects=BULK_MISSING)
        if response.status in BULK_MISSING:
            break
        page = response.json_object()
        for log in map(read_object, read_list(page.get("issueChangeLogs"))):
            issue_id = read_id(log.get("issueId"))
            if issue_id is not None:
                found.setdefault(issue_id, []).extend(map(read_object, read_list(log.get("changeHistories"))))
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            return found, issues
        if token in used:
            break
        used.add(token)
    return (yield from _changes_one_by_one(context, issues, may_end, skipped))


def _changes_one_by_one(
    context: SyncContext,
    issues: Sequence[Mapping[str, Any]],
    may_end: Callable[[int], bool],
    skipped: list[SkippedItem],
) -> Conversation[tuple[dict[str, list[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    calls = 0
    for count, issue in enumerate(issues):
        if calls >= MAX_CALLS and may_end(count):
            return found, issues[:count]
        issue_id = _issue_id(issue)
        if issue_id is None:
            continue
        try:
            listing = yield from read_listing(context.app, context.connection, f"issue/{issue_id}/changelog")
        except AccessLostError as error:
            calls += 1
            skipped.append(SkippedItem(reference=f"history of issue {issue_id}", reason=error.message))
        else:
            calls += listing.calls
            found[issue_id] = [read_object(value) for value in listing.items]
    return found, issues


def embedded_comments(fields: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The comments that came with an issue, None if they are not all."""
    embedded = read_object(fields.get("comment"))
    first, total = read_list(embedded.get("comments")), embedded.get("total")
    return [read_object(item) for item in first] if isinstance(total, int) and total <= len(first) else None


def _issue_id(issue: Mapping[str, Any]) -> str | None:
    """The issue's id if it is a number, as Jira's are: nothing else may go into a path."""
    found = read_id(issue.get("id"))
    return found if found is not None and found.isdigit() else None


def _statuses(changes: Mapping[str, list[Mapping[str, Any]]]) -> set[str]:
    """Every status id in these histories."""
    read = (Change.read(change) for entries in changes.values() for change in entries)
    items = (item for change in read if change is not None for item in change.items if item.field == "status")
    return {status_id for item in items for status_id in (item.from_id, item.to_id) if status_id is not None}
