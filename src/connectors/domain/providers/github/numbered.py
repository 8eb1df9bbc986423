"""Lists that GitHub cuts into numbered pages, read so that nothing is missed while they shrink and grow.

What leaves such a list moves the rest of it up: an item from the head of the next page lands at the end of the one just
read, and would never be seen. So each page begins with something that was already seen, or the sync run steps back.
That costs a sixth more pages: it is for short lists that have no better order.

Source: docs.github.com, "Using pagination in the REST API".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.domain.model.http import HttpResponse
from connectors.domain.providers.github.endpoints import PAGE_SIZE, Endpoints, read_link

Position = Mapping[str, Any]

OVERLAP = 5
"""Items by which pages overlap at least: as many may leave between two pages without a step back."""

TAIL = 2 * OVERLAP
"""Items of a page's end that are remembered. One would do, were it not just the one that leaves."""

_SIZES = range(PAGE_SIZE // 2 + 1, PAGE_SIZE + 1)


def parameters(position: Position) -> dict[str, str]:
    """`per_page` and `page` there; at the beginning of the list only the first."""
    size, page = _page(position)
    return {"per_page": str(size)} if page == 1 else {"per_page": str(size), "page": str(page)}


def next_position(
    endpoints: Endpoints,
    position: Position,
    response: HttpResponse,
    ids: Sequence[Any],
    count: int,
    *,
    has_ended: bool = False,
) -> Position | None:
    """Where to go on after a page.

    Args:
        endpoints: where the next page may be.
        position: where the page was: `url`, or how many items were `seen` up to there, with the last of them as `tail`.
        response: the page.
        ids: of the page's items, in its order; what is no number is passed over.
        count: how many items it has, with those that have no id.
        has_ended: nothing behind it is wanted.

    Returns:
        None at the end of the list.
    """
    size, page = _page(position)
    known = [id_ for id_ in ids if isinstance(id_, int)]
    tail, offset = position.get("tail"), size * (page - 1)
    if tail and offset and set(tail).isdisjoint(known):
        # More left than the pages overlap. Half a page back, and further if need be: the beginning always holds.
        return {"seen": max(0, offset - PAGE_SIZE // 2), "tail": tail}
    following = None if has_ended else read_link(endpoints, response)
    if following is None:
        return None
    if "url" in position or count < size:
        # Cut smaller than asked for: its numbers count pages of its own size.
        return {"url": following}
    return {"seen": offset + count, "tail": known[-TAIL:]}


def _page(position: Position) -> tuple[int, int]:
    """The size and number of the page that extends furthest and still begins with something seen."""
    seen = position.get("seen", 0)
    before = seen - OVERLAP
    if before <= 0:
        return PAGE_SIZE, 1
    size = max(_SIZES, key=lambda size: before // size * size + size)
    return size, before // size + 1
