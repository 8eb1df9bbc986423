"""Spans of time, against a model that looks at every minute."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.spans import EPOCH, FAR, Span, common, union, without
from tests.support.builders import NOW

MINUTE = timedelta(minutes=1)
MINUTES = range(-1, 62)


def at(minute):
    return NOW + minute * MINUTE


def span(from_minute, to_minute):
    return Span(at(from_minute), FAR if to_minute is None else at(to_minute))


SPANS = st.lists(st.builds(span, st.integers(0, 60), st.none() | st.integers(0, 60)), max_size=8)
"""Any spans: overlapping, adjacent, empty, reversed and endless ones, in any order."""


def minutes(spans):
    """The minutes that lie in any of them."""
    return {minute for minute in MINUTES if any(one.from_at <= at(minute) < one.to_at for one in spans)}


def assert_tidy(spans):
    """In order, apart from each other, none empty."""
    assert isinstance(spans, tuple)
    assert not any(one.is_empty for one in spans)
    assert all(one.to_at < other.from_at for one, other in pairwise(spans))


@given(SPANS)
def test_a_union_has_what_lies_in_any(spans):
    """A minute lies in the union exactly if it lies in one of the spans, and no two spans of the union touch."""
    found = union(spans)
    assert minutes(found) == minutes(spans)
    assert_tidy(found)
    assert union(found) == union(reversed(spans)) == found


@given(SPANS, SPANS)
def test_what_is_common_lies_in_both(these, those):
    """A minute lies in what is common exactly if it lies in both."""
    found = common(these, those)
    assert minutes(found) == minutes(these) & minutes(those)
    assert_tidy(found)
    assert common(those, these) == found


@given(SPANS, SPANS)
def test_what_is_left_lies_in_the_first_only(these, those):
    """A minute is left exactly if it lies in these and not in those."""
    found = without(these, those)
    assert minutes(found) == minutes(these) - minutes(those)
    assert_tidy(found)


@given(SPANS, SPANS)
def test_nothing_is_lost_between_the_two(these, those):
    """What is common and what is left are together what there was."""
    assert union([*common(these, those), *without(these, those)]) == union(these)


@pytest.mark.parametrize(("one", "is_empty"), [((1, 1), True), ((2, 1), True), ((1, 2), False), ((1, None), False)])
def test_an_empty_span_has_nothing_in_it(one, is_empty):
    """A span is empty if it ends where it begins, or earlier."""
    assert span(*one).is_empty is is_empty
    assert union([span(*one)]) == (() if is_empty else (span(*one),))


def test_all_time_can_be_cut():
    """A span without a beginning and an end is cut like any other."""
    assert without([Span(EPOCH)], [span(1, 2)]) == (Span(EPOCH, at(1)), Span(at(2)))
    assert common([Span(EPOCH)], [span(1, None)]) == (span(1, None),)
