"""What a page's issues have gone through: their histories and comments, and the categories of their statuses.

Source: REST v3, Issues (bulk changelog), Issue comments, Workflow statuses.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.http import Conversation, HttpRequest, json_request, with_query
from connectors.domain.model.sync import SkippedItem
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.payloads import Change, as_list, as_object, read_id
from connectors.domain.providers.jira.signals import STATUS_CATEGORIES
from connectors.domain.providers.jira.subscriptions import list_values

COMMENTS_PAGE = 100
"""Comments asked for at a time."""
CHANGES_PAGE = 1000
"""History entries asked for at a time."""
MAX_PAGES = 500
"""Pages of one page's details, against a server that never ends."""
BULK_MISSING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE})
"""Answers of a site that has no bulk changelog."""


@attrs.frozen
class Details:
    """What a page's issues have gone through."""

    issues: Sequence[Mapping[str, Any]]
    changes: Mapping[str, list[Mapping[str, Any]]]
    """Issue id → history entries."""
    comments: Mapping[str, list[Mapping[str, Any]]]
    categories: Mapping[str, str]
    metadata: Mapping[str, Any]
    skipped: tuple[SkippedItem, ...] = ()
    """Histories and comments that this user may not read."""


def read_details(context: SyncContext, issues: Sequence[Mapping[str, Any]]) -> Conversation[Details]:
    """History and comments of these issues, and the categories of the statuses that they went through."""
    ids = [item for item in map(_issue_id, issues) if item is not None]
    skipped: list[SkippedItem] = []
    changes = (yield from read_changes(context, ids, skipped)) if ids else {}
    comments: dict[str, list[Mapping[str, Any]]] = {}
    for issue in issues:
        issue_id = _issue_id(issue)
        if issue_id is None:
            continue
        try:
            comments[issue_id] = yield from read_comments(context, issue_id, as_object(issue.get("fields")))
        except AccessLostError as error:
            skipped.append(SkippedItem(reference=f"comments of issue {issue_id}", reason=error.message))
    known = as_object(context.connection.metadata.get(STATUS_CATEGORIES))
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
        (read_id(status.get("id")), read_id(as_object(status.get("statusCategory")).get("key")))
        for status in map(as_object, response.json_list())
    )
    return {status_id: key for status_id, key in pairs if status_id is not None and key is not None}


def read_changes(
    context: SyncContext, ids: Sequence[str], skipped: list[SkippedItem]
) -> Conversation[dict[str, list[Mapping[str, Any]]]]:
    """Issue id → all entries of its history. One issue's may be spread over pages.

    Where the bulk call is missing or walks in circles, each issue is asked by itself; one that has gone or is closed to
    us meanwhile is noted in `skipped`.
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
            return (yield from _changes_one_by_one(context, ids, skipped))
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
    return (yield from _changes_one_by_one(context, ids, skipped))


def _changes_one_by_one(
    context: SyncContext, ids: Sequence[str], skipped: list[SkippedItem]
) -> Conversation[dict[str, list[Mapping[str, Any]]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for issue_id in ids:
        try:
            values = yield from list_values(context.app, context.connection, f"issue/{issue_id}/changelog")
        except AccessLostError as error:
            skipped.append(SkippedItem(reference=f"history of issue {issue_id}", reason=error.message))
        else:
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


def _issue_id(issue: Mapping[str, Any]) -> str | None:
    """The issue's id if it is a number, as Jira's are: nothing else may go into a path."""
    found = read_id(issue.get("id"))
    return found if found is not None and found.isdigit() else None


def _statuses(changes: Mapping[str, list[Mapping[str, Any]]]) -> set[str]:
    """Every status id that these histories mention."""
    read = (Change.read(change) for entries in changes.values() for change in entries)
    items = (item for change in read if change is not None for item in change.items if item.field == "status")
    return {status_id for item in items for status_id in (item.from_id, item.to_id) if status_id is not None}
