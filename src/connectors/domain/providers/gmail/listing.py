"""Gmail's message list, newest first, in overlapping pages.

Gmail does not document how page tokens keep their position, and trashed or archived messages leave the list. If a token
counts positions, everything behind moves up, and what moves from the next page to the previous one would be on neither.
So with every page the previous one is listed once more, ids only, and what has moved up is read too. If any message of
the previous page is still found there or further down, nothing was missed; if none is, the listing starts over, a day
above where it was.

Source: developers.google.com/workspace/gmail/api/guides/list-messages.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.instant import epoch_seconds, read_instant, rfc3339
from connectors.domain.model.sync import Cursor, SkippedItem, SyncPage
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail.calls import get_message, later, with_pairs
from connectors.domain.providers.gmail.limits import PAGE_SIZE
from connectors.domain.providers.gmail.oauth import SEARCH_SCOPES, mailbox_url
from connectors.domain.providers.gmail.payloads import Message, read_message
from connectors.domain.providers.gmail.signals import observe_message
from connectors.domain.providers.toolbox.foreign import read_count, read_each, read_object, read_objects, read_text

OVERLAP = timedelta(days=1)
"""Dates in queries are the mailbox's own days, and mail is not listed in the order of its arrival to the second."""
LABEL_RUN = ("INBOX", "SENT")
"""Without the right to search, these labels are listed one by one."""
STARTS = 3
"""How often in a row a listing may start over; more is an error."""


@attrs.frozen(kw_only=True)
class Listing:
    """The position of a listing."""

    since: datetime | None
    until: datetime | None
    labels: tuple[str, ...]
    """The label that is listed, and those that come after it; empty for a search."""
    page: str | None = None
    before: datetime | None = None
    """What is newer was read before the listing started over."""
    oldest: datetime | None = None
    """When the oldest message read so far was received."""
    passed: tuple[str, ...] = ()
    """The messages of the page before; none on the first."""
    passed_page: str | None = None
    """That page's token, None for the first."""
    starts: int = 0
    """How often it has started over without progress."""

    def to_state(self) -> dict[str, Any]:
        """As JSON values."""
        moments = {name: getattr(self, name) for name in ("since", "until", "before", "oldest")}
        return {
            **{name: at and rfc3339(at) for name, at in moments.items()},
            "labels": list(self.labels),
            "page": self.page,
            "passed": list(self.passed),
            "passed_page": self.passed_page,
            "starts": self.starts,
        }

    def has(self, at: datetime) -> bool:
        """Whether messages received then are reported."""
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)

    @property
    def query(self) -> str:
        """The search query for the whole listing."""
        bounds = [at for at in (self.until and self.until + OVERLAP, self.before) if at is not None]
        before = f"before:{epoch_seconds(min(bounds))} " if bounds else ""
        after = "" if self.since is None else f"after:{epoch_seconds(self.since - OVERLAP)} "
        return f"{before}{after}-in:chats"


def begin_listing(ctx: SyncContext, since: datetime | None, until: datetime | None) -> Listing:
    """A listing of what was received between, by search where the grant allows it, else label by label."""
    can_search = not SEARCH_SCOPES.isdisjoint(ctx.connection.scopes)
    return Listing(since=since, until=until, labels=() if can_search else LABEL_RUN)


def read_listing(value: Any) -> Listing:
    """The listing of a stored cursor."""
    data = read_object(value)
    return Listing(
        since=read_instant(data.get("since")),
        until=read_instant(data.get("until")),
        labels=tuple(read_each(data.get("labels"), read_id)),
        page=read_text(data.get("page")),
        before=read_instant(data.get("before")),
        oldest=read_instant(data.get("oldest")),
        passed=tuple(read_each(data.get("passed"), read_id)),
        passed_page=read_text(data.get("passed_page")),
        starts=read_count(data.get("starts")) or 0,
    )


def read_listed(ctx: SyncContext, cursor: Cursor) -> Conversation[SyncPage]:
    """One page of the listing: its messages, and those that have come up to the page before."""
    listing = read_listing(cursor.get("listing"))
    try:
        identifiers, following = yield from _list(ctx, listing, listing.page)
        again: tuple[str, ...] = ()
        if listing.passed:
            again, _ = yield from _list(ctx, listing, listing.passed_page)
    except UnexpectedResponseError as error:
        if not is_bad_page(error) or listing.page is None:
            raise
        return _start_over(cursor, listing)
    if listing.passed and set(listing.passed).isdisjoint((*identifiers, *again)):
        return _start_over(cursor, listing)
    if following is not None and following == listing.page:
        raise UnexpectedResponseError("Gmail's message list does not go on.")
    risen = [each for each in again if each not in {*listing.passed, *identifiers}]
    found = yield from _read_messages(ctx, (*risen, *identifiers))
    ahead = _ahead(listing, identifiers, following, found)
    seen = [message.received_at for message, _ in found.messages if listing.has(message.received_at)]
    moved = {
        **cursor,
        "seen_at": later(cursor, max(seen, default=None)),
        "listing": None if ahead is None else ahead.to_state(),
        "follow": ahead is None,
    }
    observations = tuple(
        observe_message(message.id, document=document, arrival_labels=message.labels)
        for message, document in found.messages
        if listing.has(message.received_at)
    )
    return SyncPage(cursor=moved, observations=observations, skipped=found.skipped, items=len(identifiers) + len(risen))


@attrs.frozen(kw_only=True)
class _Found:
    messages: tuple[tuple[Message, Any], ...]
    """Each with its document."""
    skipped: tuple[SkippedItem, ...]


def _read_messages(ctx: SyncContext, identifiers: Sequence[str]) -> Conversation[_Found]:
    messages = []
    skipped = []
    for identifier in dict.fromkeys(identifiers):
        document = yield from get_message(ctx, identifier)
        if document is None:
            continue  # gone since it was listed
        message = read_message(document)
        if isinstance(message, Message) and message.id == identifier:
            messages.append((message, document))
        else:
            reason = message if isinstance(message, str) else "is another message"
            skipped.append(SkippedItem(reference=identifier, reason=reason))
    return _Found(messages=tuple(messages), skipped=tuple(skipped))


def _list(ctx: SyncContext, listing: Listing, page: str | None) -> Conversation[tuple[tuple[str, ...], str | None]]:
    url = with_pairs(
        mailbox_url(ctx.app) + "/messages",
        [
            ("q", None if listing.labels else listing.query),
            ("labelIds", listing.labels[0] if listing.labels else None),
            ("maxResults", str(PAGE_SIZE)),
            ("includeSpamTrash", "false"),
            ("pageToken", page),
        ],
    )
    response = yield HttpRequest(method="GET", url=url)
    answer = response.json_object()
    identifiers = [read_id(entry.get("id")) for entry in read_objects(answer.get("messages"))]
    return tuple(each for each in identifiers if each is not None), read_text(answer.get("nextPageToken"))


def is_bad_page(error: UnexpectedResponseError) -> bool:
    """Whether Gmail refused the page token: nothing else of the query changes from page to page."""
    return bool(error.details) and error.details[0].get("status") == HTTPStatus.BAD_REQUEST


def _start_over(cursor: Cursor, listing: Listing) -> SyncPage:
    """From the top again; where there is a search, from a day above the oldest message read."""
    if listing.starts == STARTS:
        raise UnexpectedResponseError("Gmail's message list changes faster than it can be read.")
    again = Listing(
        since=listing.since,
        until=listing.until,
        labels=listing.labels,
        before=None if listing.labels or listing.oldest is None else listing.oldest + OVERLAP,
        oldest=listing.oldest,
        starts=listing.starts + 1,
    )
    return SyncPage(cursor={**cursor, "listing": again.to_state()})


def _ahead(listing: Listing, identifiers: Sequence[str], following: str | None, found: _Found) -> Listing | None:
    """Where the listing goes on; None when it is through, and history is next."""
    times = [message.received_at for message, _ in found.messages]
    oldest = min((at for at in (listing.oldest, *times) if at is not None), default=None)
    is_past_window = listing.since is not None and bool(times) and times[-1] < listing.since - OVERLAP
    # Label by label there is no query to end the list: newest first, it ends when it leaves the window.
    if following is None or (listing.labels and is_past_window):
        rest = listing.labels[1:]
        return Listing(since=listing.since, until=listing.until, labels=rest) if rest else None
    return attrs.evolve(
        listing,
        page=following,
        oldest=oldest,
        passed=tuple(identifiers) or listing.passed,
        passed_page=listing.page if identifiers else listing.passed_page,
        starts=0 if listing.passed else listing.starts,
    )
