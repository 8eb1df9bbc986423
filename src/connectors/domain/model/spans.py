"""Spans of time, each from an instant to before another one, and what is left of some when others are taken away."""

from collections.abc import Iterable
from datetime import UTC, datetime

import attrs

from connectors.domain.model.instant import utc

EPOCH = datetime.fromtimestamp(0, UTC)
"""The beginning of a span that has none: no provider has anything earlier."""

FAR = datetime.max.replace(tzinfo=UTC)
"""The end of a span that has none."""


@attrs.frozen(order=True)
class Span:
    """From `from_at` to before `to_at`. An empty one ends where it begins, or earlier."""

    from_at: datetime = attrs.field(converter=utc)
    to_at: datetime = attrs.field(default=FAR, converter=utc)

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies in it."""
        return self.to_at <= self.from_at


Spans = tuple[Span, ...]
"""In order, apart from each other, none empty. Every function here takes any spans and gives such ones."""


def union(spans: Iterable[Span]) -> Spans:
    """What lies in any of them."""
    found: list[Span] = []
    for one in sorted(span for span in spans if not span.is_empty):
        if found and one.from_at <= found[-1].to_at:
            found[-1] = Span(found[-1].from_at, max(found[-1].to_at, one.to_at))
        else:
            found.append(one)
    return tuple(found)


def common(these: Iterable[Span], those: Iterable[Span]) -> Spans:
    """What lies in both."""
    found = []
    ours, theirs = union(these), union(those)
    first = second = 0
    while first < len(ours) and second < len(theirs):
        one, other = ours[first], theirs[second]
        found.append(Span(max(one.from_at, other.from_at), min(one.to_at, other.to_at)))
        if one.to_at < other.to_at:
            first += 1
        else:
            second += 1
    return union(found)


def without(these: Iterable[Span], those: Iterable[Span]) -> Spans:
    """What lies in these and not in those."""
    left = []
    cuts = union(those)
    for one in union(these):
        at = one.from_at
        for cut in cuts:
            if cut.to_at <= at or cut.from_at >= one.to_at:
                continue
            left.append(Span(at, cut.from_at))
            at = max(at, cut.to_at)
        left.append(Span(at, one.to_at))
    return union(left)
