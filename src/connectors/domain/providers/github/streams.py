"""The streams of an account: six lists of each repository, found with every read."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation
from connectors.domain.model.streams import Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.github import lists, payloads, rows, sso
from connectors.domain.providers.github.discovery import discover
from connectors.domain.providers.github.endpoints import endpoints_of, get
from connectors.domain.providers.github.hooks import is_id
from connectors.domain.providers.github.old_cursor import split_cursor
from connectors.domain.providers.github.pages import Reading, ReadRow, ask, identity_of, is_switched_off


def _since(read_row: ReadRow, word: str, *segments: str, **params: str) -> "_List":
    return _List(partial(lists.read_since, segments, read_row, word, params), read_row, segments)


@attrs.frozen
class _List:
    """How a list is read, and one of its rows by itself."""

    read: Callable[[Reading, Cursor], Conversation[StreamPage]]
    read_row: ReadRow
    segments: tuple[str, ...] = ()
    """Of the URL of one row, before its number; empty: GitHub shows rows only in their list."""


LISTS: Mapping[str, _List] = {
    "pulls": _List(lists.read_pulls, rows.read_pull, ("pulls",)),
    "issues": _since(rows.read_issue, "issue", "issues", state="all"),
    "comments": _since(rows.read_comment, "comment", "issues", "comments"),
    "review_comments": _since(rows.read_review_comment, "comment", "pulls", "comments"),
    "releases": _List(lists.read_releases, rows.read_release, ("releases",)),
    "activity": _List(lists.read_activity, rows.read_activity_entry),
}


def read_page(context: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of one list. See `Streams.read_page`."""
    if sso.is_hidden(stream):
        return (yield from sso.read_page(endpoints_of(context.app), stream, window))
    return (yield from _list_of(stream).read(_reading(context, stream, window), cursor or {}))


def read_item(context: SyncContext, stream: Stream, window: Window, reference: str) -> Conversation[StreamPage]:
    """One row by itself, of pull requests with their reviews. See `Streams.read_item`."""
    listed, reading = _list_of(stream), _reading(context, stream, window)
    number = reference.rpartition(" ")[2]
    if not listed.segments or not is_id(number):
        raise UnexpectedResponseError("GitHub shows this only in its list, where it could not be read.")
    item = yield from _ask_for_one(reading, reading.url(*listed.segments, number))
    if identity_of(reference.partition(" ")[0], item) not in {int(number), None}:
        raise AccessLostError("GitHub has moved it to another repository.")
    _, drafts = listed.read_row(reading, item)
    if listed.read_row is not rows.read_pull:
        return StreamPage(cursor=None, signals=tuple(drafts), items=1)
    try:
        reviews = yield from lists.read_reviews(reading, int(number))
    except AccessLostError as error:
        raise UnexpectedResponseError("GitHub shows the pull request and not its reviews.") from error
    return attrs.evolve(reviews, signals=(*drafts, *reviews.signals), items=1 + reviews.items)


def _ask_for_one(reading: Reading, url: str) -> Conversation[Any]:
    """The row as JSON. Only where its repository is visible is a row that is not there gone."""
    try:
        response = yield from ask(url)
        if is_switched_off(response):
            raise UnexpectedResponseError("The list is switched off now.")
    except AccessLostError as error:
        try:
            yield get(reading.endpoints.repository_url(reading.repository.full_name))
        except AccessLostError:
            raise UnexpectedResponseError("The repository is not visible now.") from error
        raise
    return response.json()


def _list_of(stream: Stream) -> _List:
    return LISTS[stream.key.partition(":")[0]]


def _reading(context: SyncContext, stream: Stream, window: Window) -> Reading:
    return Reading(
        endpoints=endpoints_of(context.app),
        repository=payloads.ListedRepository(
            id=int(stream.key.partition(":")[2]),
            full_name=stream.data["full_name"],
            html_url=stream.data["html_url"],
        ),
        window=window,
    )


STREAMS = Streams(discover=discover, read_page=read_page, read_item=read_item, split_cursor=split_cursor)
