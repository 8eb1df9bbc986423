"""A site as streams: one that shows all changes, and one for the history of each project.

A search asks for what was updated at or after the last position, oldest first, so an issue that changes while we read
moves ahead of us, never behind. Each issue comes with its whole history and its comments. The README explains why
nothing is missed.

Source: REST v3, Issue search (enhanced), Project search.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, ProviderUnavailableError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, HttpResponse, json_request, with_query
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import DiscoveryPage, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.jira.details import (
    CHANGELOG,
    COMMENTS,
    FIELDS,
    Details,
    Row,
    known_categories,
    read_categories,
    read_details,
    read_part,
    with_categories,
)
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.envelope import Envelope
from connectors.domain.providers.jira.events import FAMILIES, UPDATED, normalize
from connectors.domain.providers.jira.limits import read_failure
from connectors.domain.providers.jira.lists import read_listing
from connectors.domain.providers.jira.old_cursor import split_cursor
from connectors.domain.providers.jira.payloads import Change, Comment, Project, read_id, read_time
from connectors.domain.providers.jira.position import SITE, Position, bookmark_at
from connectors.domain.providers.jira.signals import STATUS_CATEGORIES, Site, epoch_ms
from connectors.domain.providers.toolbox.foreign import read_object
from connectors.domain.providers.toolbox.parking import ItemGuard
from connectors.domain.providers.toolbox.structure import read_rows

PROJECT = re.compile(r"project:([0-9]{1,18})")
"""The keys of the streams of history. Nothing but the number goes into a query."""
ITEM = re.compile(rf"issue ([0-9]{{1,18}}) ({FIELDS}|{CHANGELOG}|{COMMENTS})")
"""References of parked parts of issues."""
ROWS = re.compile(r"issues from ([0-9]{1,18})")
"""References of parked rows whose issue is not readable: the position at which they are on the first page."""

NO_ID = "an issue without a number"

READ_FAMILIES = frozenset(family.name for family in FAMILIES if family.is_read)
PAGE_SIZE = 100
"""Issues asked for at a time."""
SEARCHED_FIELDS = (
    *("summary", "status", "project", "issuetype", "priority", "assignee", "reporter", "creator"),
    *("created", "updated", "resolutiondate", "labels", "parent", "comment"),
)
"""Named because the default is only the id. `comment` includes an issue's first comments, which saves most calls."""


def discover(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:
    """The site and the projects that the user can see, all on one page; and the statuses, where none is known yet."""
    del window, cursor
    listing = yield from read_listing(context.app, context.connection, "project/search", orderBy="key")
    metadata: dict[str, Any] = {}
    if not known_categories(context):
        # Only names: a page that needs them asks again.
        with suppress(AccessLostError, UnexpectedResponseError, ProviderUnavailableError):
            metadata[STATUS_CATEGORIES] = yield from read_categories(context)
    site = Stream(key=SITE, name="changes on the site", families=READ_FAMILIES)
    return DiscoveryPage(streams=(site, *map(_history_of, listing.items)), connection_metadata=metadata)


def read_page(context: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of issues, each with all that happened to it.

    The site has no history of its own: each project has its part of it, and the same families.

    Raises:
        AccessLostError: the project is no longer shown.
        UnexpectedResponseError: the query was refused, or the answer is not a page of issues.
    """
    is_incremental = window.mode is SyncMode.INCREMENTAL
    if stream.key == SITE and not is_incremental:
        return StreamPage(cursor=None)
    if is_incremental and window.bookmark is None:
        return StreamPage(cursor=None, bookmark=bookmark_at(window.high))
    position = _first(window) if cursor is None else Position.read(cursor)
    page, following = yield from _read_rows(context, stream, window, position)
    if following is not None:
        return attrs.evolve(page, cursor=following.cursor())
    if stream.key != SITE:
        yield from _verify_shown(context, stream)
    return attrs.evolve(page, bookmark=bookmark_at(window.high) if is_incremental else None)


def read_item(context: SyncContext, stream: Stream, window: Window, reference: str) -> Conversation[StreamPage | None]:
    """A part of an issue that could not be read before; None if the issue is gone.

    Raises:
        UnexpectedResponseError: it still cannot be read.
    """
    rows = ROWS.fullmatch(reference)
    if rows is not None:
        page, _ = yield from _read_rows(context, stream, window, Position(since_ms=int(rows[1])))
        if any(ROWS.fullmatch(one.reference) for one in page.parked):
            raise UnexpectedResponseError(NO_ID)
        return page
    item = ITEM.fullmatch(reference)
    if item is None:
        raise UnexpectedResponseError("The reference is not one of Jira's.")
    request = HttpRequest(
        method="GET",
        url=with_query(
            site_api(context.app, context.connection.account.id, f"issue/{item[1]}"),
            {"fields": ",".join(SEARCHED_FIELDS)},
        ),
        headers={"accept": "application/json"},
        expects=frozenset({HTTPStatus.NOT_FOUND}),
    )
    response = yield request
    if response.status == HTTPStatus.NOT_FOUND:
        return None
    row = Row.read(response.json_object())
    if row is None:
        raise UnexpectedResponseError(NO_ID)
    details = yield from _read_one(context, row, item[2])
    guard = ItemGuard()
    drafts = _drafts(context, window, details, guard)
    failed = [one for one in guard.parked if one.reference == reference]
    if failed:
        raise UnexpectedResponseError(failed[0].reason)
    return StreamPage(cursor=None, signals=drafts, items=1, connection_metadata=details.metadata)


def search_request(context: SyncContext, stream: Stream, position: Position) -> HttpRequest:
    """The search for one page. Numbers in it are epoch milliseconds: a quoted date would be read in the user's own
    time zone, and to the minute.

    Raises:
        UnexpectedResponseError: the stream's key is not one of this package.
    """
    bounds = [f"updated >= {position.since_ms}"]
    if stream.key != SITE:
        bounds.append(f"project = {_project_id(stream)}")
    document: dict[str, Any] = {
        "jql": f"{' AND '.join(bounds)} ORDER BY updated ASC, id ASC",
        "fields": list(SEARCHED_FIELDS),
        "maxResults": PAGE_SIZE,
    }
    if position.token is not None:
        document["nextPageToken"] = position.token
    url = site_api(context.app, context.connection.account.id, "search/jql")
    return json_request("POST", url, document, expects=frozenset({HTTPStatus.BAD_REQUEST}))


def envelopes_of(row: Row, details: Details) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that an issue shows, each as the webhook's envelope with the part of the issue that it comes from."""
    # The comments have envelopes of their own; copies of them in each issue would only take space.
    fields = {name: value for name, value in read_object(row.document.get("fields")).items() if name != "comment"}
    plain = {**row.document, "fields": fields}
    creator = fields.get("creator") or fields.get("reporter")
    created = fields.get("created")
    yield FIELDS, {"webhookEvent": "jira:issue_created", "timestamp": created, "user": creator, "issue": plain}
    for change in details.changes.get(row.issue.id, []):
        at, author = change.get("created"), change.get("author")
        yield (
            CHANGELOG,
            {"webhookEvent": UPDATED, "timestamp": at, "user": author, "issue": plain, "changelog": change},
        )
    for comment in details.comments.get(row.issue.id, []):
        author = comment.get("author")
        envelope = {"timestamp": comment.get("created"), "user": author, "issue": plain, "comment": comment}
        yield COMMENTS, {"webhookEvent": "comment_created", **envelope}
        if is_edited(comment):
            editor = comment.get("updateAuthor") or author
            edited = {**envelope, "timestamp": comment.get("updated"), "user": editor}
            yield COMMENTS, {"webhookEvent": "comment_updated", **edited}


def is_edited(comment: Mapping[str, Any]) -> bool:
    """Whether a comment has been edited since it was written: its two instants differ."""
    read = Comment.read(comment)
    return read is not None and None not in {read.created, read.updated} and read.created != read.updated


def _first(window: Window) -> Position:
    """Where a run begins: at the bookmark, and never later than the index's lag before the window."""
    if window.bookmark is None:
        return Position.at(window.low)
    return min(Position.read(window.bookmark), Position.read(bookmark_at(window.low)), key=lambda one: one.since_ms)


def _read_rows(
    context: SyncContext, stream: Stream, window: Window, position: Position
) -> Conversation[tuple[StreamPage, Position | None]]:
    """The page at a position, and the position after it."""
    response, position = yield from _search(context, stream, window, position)
    document = response.json_object()
    values, guard, rows = read_rows(document, "issues", "Jira"), ItemGuard(), []
    for value in values:
        row = Row.read(value)
        if row is None:
            updated = read_time(read_object(read_object(value).get("fields")).get("updated"))
            guard.park(f"issues from {max(0, position.since_ms if updated is None else epoch_ms(updated))}", NO_ID)
        else:
            rows.append(row)
    issues = [row.issue for row in rows]
    asked_after = window.asked_after
    details = yield from read_details(context, rows, lambda count: position.may_end(issues[:count], asked_after), guard)
    count = len(details.rows)
    token, is_cut = document.get("nextPageToken") if values else None, count < len(rows)
    page = StreamPage(
        cursor=None,
        signals=_drafts(context, window, details, guard),
        items=count,
        parked=tuple({one.reference: one for one in guard.parked}.values()),
        connection_metadata=details.metadata,
    )
    return page, position.after(issues[:count], token, asked_after, is_cut=is_cut)


def _search(
    context: SyncContext, stream: Stream, window: Window, position: Position
) -> Conversation[tuple[HttpResponse, Position]]:
    """The answer, and for which position it is: a page token that has expired begins its pass again."""
    request = search_request(context, stream, position)
    response = yield request
    if response.status == HTTPStatus.BAD_REQUEST and position.token is not None:
        position = attrs.evolve(position, token=None)
        request = search_request(context, stream, position)
        response = yield request
    if response.status == HTTPStatus.BAD_REQUEST:
        if stream.key != SITE:
            yield from _verify_shown(context, stream)
        raise read_failure(request, response, window.high)
    return response, position


def _read_one(context: SyncContext, row: Row, part: str) -> Conversation[Details]:
    """One part of one issue."""
    if part == FIELDS:
        return Details(rows=[row], changes={}, comments={}, categories=known_categories(context))
    listing = yield from read_part(context, row, part)
    entries = {row.issue.id: [read_object(item) for item in listing.items]}
    changes, comments = (entries, {}) if part == CHANGELOG else ({}, entries)
    return (yield from with_categories(context, Details(rows=[row], changes=changes, comments=comments)))


def _history_of(project: Any) -> Stream:
    project_id, found = read_id(read_object(project).get("id")), Project.read(project)
    stream = Stream(
        key=f"project:{project_id}",
        name=f"history of {project_id if found is None else found.key}",
        families=READ_FAMILIES,
        changes_in=SITE,
    )
    _project_id(stream)
    return stream


def _verify_shown(context: SyncContext, stream: Stream) -> Conversation[None]:
    """Check that the user sees the project: a search of one that is hidden or archived is as empty as of a quiet one.

    Raises:
        AccessLostError: the project is not shown.
    """
    project_id = _project_id(stream)
    listing = yield from read_listing(context.app, context.connection, "project/search", id=project_id)
    if all(read_id(read_object(project).get("id")) != project_id for project in listing.items):
        raise AccessLostError("Jira no longer shows this project to the connected user.")


def _project_id(stream: Stream) -> str:
    found = PROJECT.fullmatch(stream.key)
    if found is None:
        raise UnexpectedResponseError("A project has no number.")
    return found[1]


def _drafts(context: SyncContext, window: Window, details: Details, guard: ItemGuard) -> tuple[SignalDraft, ...]:
    """The signals inside the window; what is unreadable is parked."""
    site = attrs.evolve(Site.of(context.connection), categories=details.categories)
    drafts: list[SignalDraft] = []
    for row in details.rows:
        for part, envelope in envelopes_of(row, details):
            at = read_time(envelope.get("timestamp"))
            if at is not None and not window.emits(at):
                continue
            try:
                if part == CHANGELOG and Change.read(envelope["changelog"]) is None:
                    raise UnexpectedResponseError("a change without an id or fields")
                drafts.extend(normalize(Envelope.read(envelope), site))
            except (UnexpectedResponseError, ValueError) as error:
                guard.park(row.reference(part), str(error), row.span)
    return tuple(drafts)


STREAMS = Streams(discover=discover, read_page=read_page, read_item=read_item, split_cursor=split_cursor)
