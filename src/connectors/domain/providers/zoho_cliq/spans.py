"""Spans of time, for lists without paging tokens: Cliq is asked for a span and gives up to 100 rows of it.

A full page leaves two spans open, above its latest and below its earliest row, both ends shared with it. In which order
Cliq fills a page does not matter. Each part is smaller than the span, so that this comes to an end.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from connectors.domain.providers.toolbox.foreign import read_list, read_millis

LIMIT = 100
"""Rows of a page: the most that Cliq gives, for it counts calls (15 reads of messages a minute, then a lock)."""


@attrs.frozen
class Span:
    """A span of time, both ends included, in milliseconds."""

    low: int
    high: int

    @property
    def widened(self) -> "Span":
        """With a millisecond more at each end: a page may cut the last one in two, and no other page shares it."""
        return Span(max(self.low - 1, 0), self.high + 1)

    def holds(self, at: int) -> bool:
        """Whether the instant lies in it."""
        return self.low <= at <= self.high


def to_json(spans: Sequence[Span]) -> list[list[int]]:
    """As in a cursor."""
    return [[span.low, span.high] for span in spans]


def read_spans(value: Any) -> tuple[Span, ...]:
    """The spans of a cursor."""
    pairs = [[read_millis(end) for end in read_list(pair)] for pair in read_list(value)]
    return tuple(Span(low, high) for low, high in pairs if low is not None and high is not None)


def open_spans(span: Span, times: Sequence[int]) -> tuple[Span, ...]:
    """What a full page left open of its span.

    A millisecond that the page cut in two is read again. One that fills the page by itself is left out: no call shows
    more of it.

    Args:
        span: that was asked for.
        times: of the page's rows, at least one, all in the span.
    """
    lowest, highest = min(times), max(times)
    if lowest == highest:
        parts = (Span(highest + 1, span.high), Span(span.low, lowest - 1))
        return tuple(part for part in parts if part.low <= part.high)
    above = (Span(highest, span.high),) if highest < span.high else ()
    below = (Span(span.low, lowest),) if lowest > span.low else ()
    return above + below
