"""Gmail's message list, newest first, in overlapping pages.

Gmail does not document how page tokens keep their position, and trashed or archived messages leave the list. If a token
counts positions, everything behind moves up, and what moves from the next page to the previous one would be on neither.
So with every page the previous one is listed once more, ids only, and what has moved up is read too. If any message of
the previous page is still found there or further down, nothing was missed; if none is, the listing starts over, a day
above where it was.

Source: developers.google.com/workspace/gmail/api/guides/list-messages.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.instant import epoch_seconds, read_instant, rfc3339
from connectors.domain.model.streams import ParkedItem, StreamPage, Window
from connectors.domain.model.sync import Cursor
from connectors.domain.providers._google.ids import read_id, reference_to
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail.calls import get_envelope, with_pairs
from connectors.domain.providers.gmail.limits import PAGE_SIZE
from connectors.domain.providers.gmail.oauth import SEARCH_SCOPES, mailbox_url
from connectors.domain.providers.gmail.payloads import HIDDEN_LABELS
from connectors.domain.providers.gmail.signals import observe_message
from connectors.domain.providers.toolbox.foreign import read_each, read_object, read_text
from connectors.domain.providers.toolbox.order import TAIL, has_passed
from connectors.domain.providers.toolbox.parking import ItemGuard
from connectors.domain.providers.toolbox.structure import read_rows

OVERLAP = timedelta(days=1)
"""Dates in queries are the mailbox's own days, and mail is not listed in the order of its arrival to the second."""
LABEL_RUN = ("INBOX", "SENT")
"""Without the right to search, these labels are listed one by one."""


@attrs.frozen(kw_only=True)
class Listing:
    """The position of a listing. One that starts over without progress is at a position where it has been."""

    labels: tuple[str, ...] = ()
    """The label that is listed, and those that come after it; empty for a search."""
    page: str | None = None
    before: datetime | None = None
    """What is newer was read before the listing started over."""
    read_to: datetime | None = None
    """What is newer has been read, as far as the last messages of the pages agree on it."""
    passed: tuple[str, ...] = ()
    """The messages of the page before; none on the first."""
    passed_page: str | None = None
    """That page's token, None for the first."""

    def to_cursor(self) -> Cursor:
        """As JSON values."""
        return {
            "labels": list(self.labels),
            "page": self.page,
            "before": self.before and rfc3339(self.before),
            "read_to": self.read_to and rfc3339(self.read_to),
            "passed": list(self.passed),
            "passed_page": self.passed_page,
        }


def read_listing(ctx: SyncContext, cursor: Cursor | None) -> Listing:
    """The listing of a cursor. Without one it begins: by search where the grant allows it, else label by label."""
    if cursor is None:
        return Listing(labels=() if not SEARCH_SCOPES.isdisjoint(ctx.connection.scopes) else LABEL_RUN)
    return Listing(
        labels=tuple(read_each(cursor.get("labels"), read_id)),
        page=read_text(cursor.get("page")),
        before=read_instant(cursor.get("before")),
        read_to=read_instant(cursor.get("read_to")),
        passed=tuple(read_each(cursor.get("passed"), read_id)),
        passed_page=read_text(cursor.get("passed_page")),
    )


def read_listed(ctx: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of the listing: its messages, and those that have come up to the page before."""
    listing = read_listing(ctx, cursor)
    try:
        identifiers, following = yield from _list(ctx, window, listing, listing.page)
        again: tuple[str, ...] = ()
        if listing.passed:
            again, _ = yield from _list(ctx, window, listing, listing.passed_page)
    except UnexpectedResponseError as error:
        if listing.page is None or not _is_bad_page(error):
            raise
        return _start_over(listing)
    if listing.passed and set(listing.passed).isdisjoint((*identifiers, *again)):
        return _start_over(listing)
    risen = [each for each in again if each not in {*listing.passed, *identifiers}]
    listed = tuple(dict.fromkeys((*risen, *identifiers)))
    guard = ItemGuard()
    times: dict[str, datetime] = {}
    observations = []
    for identifier in listed:
        envelope = yield from get_envelope(ctx, guard, identifier, reference_to(identifier))
        if envelope is None:
            continue
        message, document = envelope
        times[identifier] = message.received_at
        if window.emits(message.received_at):
            # It was listed, so it was neither spam nor trash.
            labels = message.labels - HIDDEN_LABELS
            observations.append(observe_message(message.id, document=document, arrival_labels=labels))
    ahead = _ahead(window, listing, identifiers, following, [times[each] for each in identifiers if each in times])
    return StreamPage(
        cursor=None if ahead is None else ahead.to_cursor(),
        observations=tuple(observations),
        parked=tuple(_with_bounds(window, listing, one, listed, times) for one in guard.parked),
        items=len(listed),
    )


def _list(
    ctx: SyncContext, window: Window, listing: Listing, page: str | None
) -> Conversation[tuple[tuple[str, ...], str | None]]:
    url = with_pairs(
        mailbox_url(ctx.app) + "/messages",
        [
            ("q", None if listing.labels else _query(window, listing)),
            ("labelIds", listing.labels[0] if listing.labels else None),
            ("maxResults", str(PAGE_SIZE)),
            ("includeSpamTrash", "false"),
            ("pageToken", page),
        ],
    )
    response = yield HttpRequest(method="GET", url=url)
    answer = response.json_object()
    # An empty page has no list; what has no count either is no page.
    is_empty = "messages" not in answer and not {"resultSizeEstimate", "nextPageToken"}.isdisjoint(answer)
    entries = [] if is_empty else read_rows(answer, "messages", "Gmail")
    identifiers = [read_id(read_object(entry).get("id")) for entry in entries]
    return tuple(each for each in identifiers if each is not None), read_text(answer.get("nextPageToken"))


def _query(window: Window, listing: Listing) -> str:
    """The search query for the whole listing."""
    bounds = [at + OVERLAP for at in (window.until, listing.before) if at is not None]
    before = f"before:{epoch_seconds(min(bounds))} " if bounds else ""
    return f"{before}after:{max(epoch_seconds(window.low - OVERLAP), 0)} -in:chats"


def _is_bad_page(error: UnexpectedResponseError) -> bool:
    """Whether Gmail refused the page token: nothing else of the query changes from page to page."""
    return any(detail.get("status") == HTTPStatus.BAD_REQUEST for detail in error.details)


def _start_over(listing: Listing) -> StreamPage:
    """From the top again; where there is a search, from a day above what has been read."""
    again = Listing(labels=listing.labels, before=listing.read_to, read_to=listing.read_to)
    return StreamPage(cursor=again.to_cursor())


def _ahead(
    window: Window, listing: Listing, identifiers: tuple[str, ...], following: str | None, times: Sequence[datetime]
) -> Listing | None:
    """Where the listing goes on; None at its end."""
    # Label by label there is no query to end the list: newest first, it ends when it leaves the window.
    if following is None or (listing.labels and has_passed(times, window.low - OVERLAP)):
        rest = listing.labels[1:]
        return Listing(labels=rest) if rest else None
    read_to = listing.read_to
    if len(times) >= TAIL:
        read_to = min(max(times[-TAIL:]), read_to or window.high)
    return attrs.evolve(
        listing,
        page=following,
        read_to=read_to,
        passed=identifiers or listing.passed,
        passed_page=listing.page if identifiers else listing.passed_page,
    )


def _with_bounds(
    window: Window, listing: Listing, item: ParkedItem, listed: Sequence[str], times: Mapping[str, datetime]
) -> ParkedItem:
    """The parked message with the instants between which it was received, as its neighbours in the list tell."""
    if item.reference not in listed:
        return item
    index = listed.index(item.reference)
    newer = [times[each] for each in listed[:index] if each in times][-TAIL:]
    older = [times[each] for each in listed[index:] if each in times][:TAIL]
    low = min(older, default=window.low) - OVERLAP
    high = min(max(newer, default=listing.read_to or window.high), window.high) + OVERLAP
    return attrs.evolve(item, between=(low, high)) if low <= high else item
