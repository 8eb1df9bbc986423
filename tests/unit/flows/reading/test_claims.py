"""Claims: what is said to be read whole, and what is said to be missing."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.flows.reading.claims import Claims
from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.spans import common, union, without
from connectors.domain.model.stream_state import ProvenSpan, StreamStatus, with_proof
from tests.support.stream_rows import (
    ITEMS,
    at,
    blocked,
    by_history,
    by_sync,
    failing,
    make_account,
    make_claims,
    make_discovery,
    make_parked,
    make_state,
    span,
)

BOTH = frozenset({"items", "names"})
PATHS = st.sampled_from([CoveragePath.SYNC, CoveragePath.BACKFILL])
SPANS = st.builds(lambda start, length: span(start, start + length), st.integers(-80, 20), st.integers(1, 40))
PROOF = st.lists(st.builds(ProvenSpan, SPANS, PATHS), max_size=4).map(tuple)
STATUSES = st.sampled_from(StreamStatus)
ROWS = st.lists(st.tuples(PROOF, STATUSES, st.booleans(), st.booleans()), min_size=1, max_size=4)


def rows_of(drawn):
    """Streams of these proofs: some that are set aside, gone, given up, or of another family as well."""
    return [
        make_state(
            str(number),
            proven=proven,
            status=status,
            is_dismissed=is_dismissed,
            stream={"families": BOTH if is_shared else frozenset({"items"})},
        )
        for number, (proven, status, is_dismissed, is_shared) in enumerate(drawn)
    ]


def is_needed(state):
    return state.status is not StreamStatus.GONE and not state.is_dismissed


@given(ROWS, st.integers(-20, 40), st.lists(st.integers(-80, 20), max_size=2))
def test_no_claim_is_beyond_any_proof(drawn, listed_at, bad):
    """What is claimed lies in the proof of every stream that is needed, before the last list, and in no parked item."""
    states = rows_of(drawn)
    items = [make_parked("0", str(number), between=(start, start + 1)) for number, start in enumerate(bad)]
    claims = make_claims(*states, parked=items, discovery=make_discovery(read_until=at(listed_at)))
    claimed = claims.read(ITEMS)
    for state in filter(is_needed, states):
        assert without(claimed, state.proven_by(*CoveragePath)) == ()
    assert without(claimed, [span(-(10**6), listed_at)]) == ()
    assert common(claimed, [item.span for item in items]) == ()
    intervals = claims.intervals(ITEMS)
    assert union(one.span if hasattr(one, "span") else span_of(one) for one in intervals) == claimed


def span_of(interval):
    return attrs.evolve(span(0, 1), from_at=interval.from_at, to_at=interval.to_at)


@given(ROWS, st.integers(0, 3), SPANS, PATHS)
def test_reading_more_claims_no_less(drawn, which, more, path):
    """One more span that is read of any stream takes nothing from what was claimed."""
    states = rows_of(drawn)
    before = make_claims(*states).read(ITEMS)
    index = which % len(states)
    states[index] = attrs.evolve(states[index], proven=with_proof(states[index].proven, more, path))
    assert without(before, make_claims(*states).read(ITEMS)) == ()


@given(ROWS, SPANS)
def test_what_is_wanted_is_claimed_or_missing(drawn, wanted):
    """Every wanted minute up to the last list is claimed, or pending, or in a gap, of a stream that is needed."""
    states = rows_of(drawn)
    account = make_account(((wanted.from_at - at(0)).total_seconds() / 60, (wanted.to_at - at(0)).total_seconds() / 60))
    claims = make_claims(*states, account=account)
    gaps = [span_of(attrs.evolve(gap, to_at=gap.to_at or at(10**6))) for gap in claims.gaps(ITEMS)]
    known = [*claims.read(ITEMS), *claims.pending(ITEMS), *gaps]
    assert without(common(account.requested, [span(-(10**6), 0)]), known) == ()


def test_a_family_is_what_all_of_its_streams_have():
    """The claim is the intersection over the family's streams; a stream without the family does not count."""
    claims = make_claims(
        make_state("a", proven=by_history((-60, 0))),
        make_state("b", proven=by_history((-30, 0))),
        make_state("c", stream={"families": frozenset({"names"})}),
    )
    assert claims.read(ITEMS) == (span(-30, 0),)
    assert claims.pending(ITEMS) == (span(-60, -30),)


def test_a_family_without_streams_is_claimed_as_far_as_they_were_listed():
    """Where there is nothing to read, nothing is missing."""
    assert make_claims().read(ITEMS) == (span(-60, 0),)


def test_nothing_is_claimed_before_the_first_list():
    """Before the streams are known, all that is wanted is pending."""
    claims = make_claims(discovery=make_discovery(read_until=None))
    assert (claims.read(ITEMS), claims.pending(ITEMS)) == ((), claims.agenda.account.requested)
    assert Claims.of(claims.agenda.streams, None, (), ()) is None


def test_a_path_claims_only_what_it_shows():
    """Families that no path of reading shows are claimed, pending and missing by none."""
    pushed = attrs.evolve(ITEMS, is_read=False, is_backfilled=False)
    changes = attrs.evolve(ITEMS, is_backfilled=False)
    claims = make_claims(blocked(backfill=failing(), proven=(*by_history((-60, -20)), *by_sync((-20, 0)))))
    assert (claims.intervals(pushed), claims.pending(pushed), claims.gaps(pushed)) == ([], (), [])
    assert claims.read(changes) == (span(-20, 0),)
    assert claims.read(ITEMS) == (span(-60, 0),)


def test_a_stream_that_is_found_shrinks_the_claim():
    """Until its past is read, the family is proven only where the new stream is."""
    old = make_state("a", proven=by_history((-60, 0)))
    new = make_state("b", read_until=None, bookmark=None)
    assert make_claims(old).read(ITEMS) == (span(-60, 0),)
    assert make_claims(old, new).read(ITEMS) == ()


@pytest.mark.parametrize(
    ("changes", "is_counted"),
    [
        ({"status": StreamStatus.GONE}, False),
        ({"status": StreamStatus.BLOCKED}, True),
        ({"status": StreamStatus.BLOCKED, "is_dismissed": True}, False),
        ({"status": StreamStatus.UNREADABLE}, True),
        ({"status": StreamStatus.UNREADABLE, "read_until": None}, False),
    ],
)
def test_who_is_counted(changes, is_counted):
    """Coverage does without a stream that is gone, given up, or could never be read."""
    claims = make_claims(make_state("a", proven=by_sync((-60, 0))), make_state("b", **changes))
    assert claims.read(ITEMS) == (() if is_counted else (span(-60, 0),))


@pytest.mark.parametrize(
    ("reading", "gaps"),
    [
        ({"incremental": failing()}, [(-60, -30), (-10, None)]),
        ({"backfill": failing()}, [(-60, -30), (-10, 0)]),
    ],
)
def test_what_a_stream_aside_leaves_is_a_gap(reading, gaps):
    """Its wanted and unread stretches are gaps with its reason; only where new things fail has the last one no end."""
    claims = make_claims(blocked(**reading, proven=by_history((-30, -10))))
    found = claims.gaps(ITEMS)
    assert [(one.from_at, one.to_at) for one in found] == [(at(start), at(end)) for start, end in gaps]
    assert {(one.cause, one.stream, one.reason) for one in found} == {(GapCause.STREAM_BLOCKED, "a", "It is refused.")}
    assert claims.gaps(ITEMS) == found  # with the same ids each time


def test_a_discovery_that_fails_is_a_gap_of_every_family():
    """Since the last list nobody knows what there is."""
    discovery = attrs.evolve(make_discovery(), status=StreamStatus.BLOCKED, reason="No list.", incremental=failing())
    claims = make_claims(make_state(proven=by_sync((-60, 30)), read_until=at(30)), discovery=discovery)
    (gap,) = claims.gaps(ITEMS)
    assert (gap.from_at, gap.to_at, gap.reason) == (at(0), None, "No list.")
    assert claims.read(ITEMS) == (span(-60, 0),)


def test_a_parked_item_is_a_small_gap():
    """Its instants are missing, and nothing around them."""
    claims = make_claims(make_state(proven=by_history((-60, 0))), parked=[make_parked(between=(-30, -29))])
    (gap,) = claims.gaps(ITEMS)
    assert (gap.cause, gap.from_at, gap.to_at) == (GapCause.ITEM_UNREADABLE, at(-30), at(-29))
    assert claims.read(ITEMS) == (span(-60, -30), span(-29, 0))


def test_what_was_given_up_is_no_gap_and_no_proof():
    """It stays unproven, and nobody is told."""
    claims = make_claims(blocked(backfill=failing(), proven=by_history((-30, 0)), given_up=(span(-60, -30),)))
    assert (claims.gaps(ITEMS), claims.pending(ITEMS), claims.read(ITEMS)) == ([], (), (span(-30, 0),))


def test_a_part_is_proven_by_its_whole_since_it_was_found():
    """Where another stream shows its changes, that one's proof counts from when the part was found."""
    whole = make_state("all", proven=by_sync((-60, 20)), read_until=at(20))
    part = make_state("b", stream={"changes_in": "all"}, found_at=at(10), read_until=None)
    claims = make_claims(whole, part, discovery=make_discovery(read_until=at(20)))
    assert claims.read(ITEMS) == (span(10, 20),)
    assert claims.pending(ITEMS) == (span(-60, 10),)
