"""What reading any of a repository's lists needs: a position, a page, and a retry with smaller pages.

Source: docs.github.com, "Using pagination in the REST API", "Best practices for using the REST API".
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import attrs

from connectors.domain.model.errors import ProviderUnavailableError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpResponse
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import SkippedItem
from connectors.domain.providers.github import numbered, payloads
from connectors.domain.providers.github.endpoints import PAGE_SIZE, Endpoints, get, read_list
from connectors.domain.providers.github.numbered import Position

SMALLER_PAGES = (50, 25)
"""Page sizes to try when GitHub gives up on a page: it cuts off what takes longer than ten seconds."""

_PAGE_NUMBER = re.compile(r"[?&]page=")


@attrs.frozen(kw_only=True)
class Window:
    """The signals that a sync run emits, by their own time. Both ends are included."""

    floor: datetime | None
    upper: datetime

    def has(self, at: datetime) -> bool:
        """Whether it is inside."""
        return (self.floor is None or self.floor <= at) and at <= self.upper


@attrs.frozen(kw_only=True)
class ListContext:
    """One repository, and from when on its lists are read."""

    endpoints: Endpoints
    repository: payloads.ListedRepository
    since: datetime | None
    """Items that did not change since then are not looked at; None reads all."""
    window: Window

    def url(self, *segments: str, **params: str | None) -> str:
        """The URL of a list's first page."""
        return self.page_url({}, *segments, **params)

    def page_url(self, position: Position, *segments: str, **params: str | None) -> str:
        """The URL of the page of a numbered list that is next there."""
        next_url: str | None = position.get("url")
        return next_url or self.endpoints.repository_url(
            self.repository.full_name, *segments, **params, **numbered.parameters(position)
        )


@attrs.define(kw_only=True)
class Part:
    """What one page of a list gave."""

    signals: list[SignalDraft] = attrs.field(factory=list)
    items: int = 0
    skipped: list[SkippedItem] = attrs.field(factory=list)
    position: Position | None = None
    """Where to go on, None at the end of the list."""
    ids: list[int] = attrs.field(factory=list)
    """Of the items that have one, in the list's order."""


def next_position(
    list_context: ListContext, part: Part, position: Position, response: HttpResponse, *, has_ended: bool = False
) -> Position | None:
    """Where a numbered list goes on after this part, which is of one page. See `numbered.next_position`."""
    return numbered.next_position(list_context.endpoints, position, response, part.ids, part.items, has_ended=has_ended)


class Stream(Protocol):
    """Reads one page of one list."""

    def __call__(self, list_context: ListContext, position: Position, /) -> Conversation[Part]:
        """The page there. Raises AccessLostError if the list is not (or no longer) visible."""
        ...


def instant_text(at: datetime) -> str:
    """`2026-01-02T03:04:05Z`: as GitHub writes instants, rounded down to whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def ask(url: str) -> Conversation[HttpResponse]:
    """The page, or a smaller one if GitHub times out."""
    request = get(url, expects=frozenset({HTTPStatus.CONFLICT}))
    try:
        return (yield request)
    except ProviderUnavailableError:
        full = f"per_page={PAGE_SIZE}"
        # A link's page number counts pages of its own size: those are asked again as they are, later.
        if not url.endswith(full) or _PAGE_NUMBER.search(url):
            raise
    for size in SMALLER_PAGES[:-1]:
        try:
            return (yield attrs.evolve(request, url=url.replace(full, f"per_page={size}")))
        except ProviderUnavailableError:
            continue
    return (yield attrs.evolve(request, url=url.replace(full, f"per_page={SMALLER_PAGES[-1]}")))


def read_items(
    list_context: ListContext,
    part: Part,
    response: HttpResponse,
    name: str,
    read_item: Callable[[ListContext, Any], tuple[Any, list[SignalDraft]]],
) -> Iterable[tuple[Any, list[SignalDraft]]]:
    """Each item that can be read with its signals inside the window; the others are noted in the part."""
    if response.status == HTTPStatus.NOT_MODIFIED or _is_empty_repository(response):
        return
    for index, item in enumerate(read_list(response)):
        part.items += 1
        identity = item.get("id") if isinstance(item, dict) else None
        if isinstance(identity, int):
            part.ids.append(identity)
        try:
            read, drafts = read_item(list_context, item)
        except UnexpectedResponseError as error:
            reference = reference_of(list_context, name, identity if isinstance(identity, int) else f"[{index}]")
            part.skipped.append(SkippedItem(reference=reference, reason=error.message))
        else:
            yield read, [draft for draft in drafts if list_context.window.has(draft.occurred_at)]


def _is_empty_repository(response: HttpResponse) -> bool:
    """Whether the answer is that there is nothing yet. Any other conflict must not pass for an empty list.

    Raises:
        UnexpectedResponseError: it is a conflict of another kind.
    """
    if response.status != HTTPStatus.CONFLICT:
        return False
    message = response.json_object().get("message")
    # The wording is not documented.
    if isinstance(message, str) and "empty" in message.lower():
        return True
    raise UnexpectedResponseError("GitHub answered a GET with 409.")


def reference_of(list_context: ListContext, name: str, identity: int | str) -> str:
    """A name for an unreadable item: where it is, never its contents."""
    return f"{list_context.repository.full_name}/{name} {identity}"


def is_before(at: datetime, since: datetime | None) -> bool:
    """Whether it is earlier than `since`; nothing is, where that is None."""
    return since is not None and at < since


def optional_text(at: datetime | None) -> str | None:
    """`instant_text` that lets None through."""
    return None if at is None else instant_text(at)
