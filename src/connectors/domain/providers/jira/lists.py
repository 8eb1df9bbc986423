"""Lists that Jira pages by offset, read so that nothing is missed when items are removed meanwhile.

An offset counts from the start: when an item is removed there, the rest moves up, and an item between two pages would
be missed. So each page begins with the last item of the page before; if it does not, the list is read again.

Source: REST v3, Pagination.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.http import Conversation, HttpRequest, HttpResponse, with_query
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.payloads import read_id
from connectors.domain.providers.toolbox.foreign import read_object
from connectors.domain.providers.toolbox.structure import read_rows

PAGE_SIZE = 100
"""Items asked for at a time."""
MAX_PAGES = 500
"""Pages of one list, against a server that never ends it."""
PASSES = 5
"""How often a list that keeps changing is read; then everything that was seen is taken."""


@attrs.frozen
class Listing:
    """A list's items, each once, in its order."""

    items: tuple[Any, ...]
    calls: int = 0


@attrs.define
class _Reading:
    """What has come so far."""

    member: str
    found: dict[str, Any] = attrs.field(factory=dict)
    calls: int = 0

    def take(self, response: HttpResponse) -> tuple[list[Any], Mapping[str, Any]]:
        self.calls += 1
        page = response.json_object()
        items = read_rows(page, self.member, "Jira")
        for item in items:
            # Items without an id cannot be compared: each counts.
            self.found.setdefault(_mark(item) or f"?{len(self.found)}", item)
        return items, page

    @property
    def listing(self) -> Listing:
        return Listing(tuple(self.found.values()), self.calls)


def read_listing(
    app: ProviderApp,
    connection: Connection,
    path: str,
    *,
    member: str = "values",
    limit: int | None = None,
    **params: str,
) -> Conversation[Listing]:
    """All items of a list.

    Args:
        app: our registration.
        connection: whose site.
        path: below `/rest/api/3/`.
        member: the answer's member that holds them.
        limit: at most so many, from the start; None for all.
        params: more of the query.
    """
    url, size = site_api(app, connection.account.id, path), str(limit or PAGE_SIZE)

    def ask(start: int) -> HttpRequest:
        return HttpRequest(
            method="GET",
            url=with_query(url, {"startAt": str(start), "maxResults": size, **params}),
            headers={"accept": "application/json"},
        )

    reading = _Reading(member)
    for _ in range(PASSES):
        if (yield from _read_pass(reading, ask, limit)):
            break
    return reading.listing


def _read_pass(reading: _Reading, ask: Callable[[int], HttpRequest], limit: int | None) -> Conversation[bool]:
    """Whether the list did not change, so that all of it has been seen."""
    start, joint = 0, None
    for _ in range(MAX_PAGES):
        response = yield ask(start)
        items, page = reading.take(response)
        if joint is not None and (not items or _mark(items[0]) != joint):
            return False
        is_done = len(items) == (joint is not None) or page.get("isLast") is True
        end, total = start + len(items), page.get("total")
        if not isinstance(page.get("isLast"), bool) and isinstance(total, int):
            is_done = is_done or end >= total
        if is_done or (limit is not None and end >= limit):
            return True
        joint = _mark(items[-1])
        start = end if joint is None else end - 1
    return True


def _mark(item: Any) -> str | None:
    return read_id(read_object(item).get("id"))
