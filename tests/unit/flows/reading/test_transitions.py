"""What becomes of a stream: after a page, after a failure, after it was listed."""

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.flows.reading.transitions import (
    FRESH_ENOUGH,
    ITEM_PAUSE,
    LONGEST_ITEM_PAUSE,
    LONGEST_PAUSE,
    MOST_REFUSALS,
    SHORTEST_PAUSE,
    advanced,
    after_page,
    forgiven,
    found,
    gone,
    is_quiet,
    listed,
    parked,
    parked_again,
    pause_after,
    read_suspect,
    refused,
    set_aside,
    suspected,
    with_legacy,
    write_suspect,
)
from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.spans import without
from connectors.domain.model.stream_state import CircleGuard, ClosedBy, Reading, StreamRun, StreamStatus
from connectors.domain.model.streams import ParkedItem, StreamPage
from connectors.domain.model.sync import SyncMode
from tests.support.builders import NOW
from tests.support.stream_rows import (
    at,
    blocked,
    by_history,
    by_sync,
    failing,
    make_discovery,
    make_parked,
    make_state,
    make_stream,
    make_work,
    span,
)

BACKFILL, INCREMENTAL = SyncMode.BACKFILL, SyncMode.INCREMENTAL
END = StreamPage(cursor=None, bookmark={"n": 1})


def after(state, work, page, *, rounds=1, has_news=False):
    return after_page(state, work, page, at(20), rounds=rounds, has_news=has_news)


# --- circles ---------------------------------------------------------------------------------------------------------


def steps_until_noticed(cursors):
    guard = CircleGuard()
    for step, cursor in enumerate(cursors, 1):
        guard = guard.after(cursor)
        if guard is None:
            return step
    return None


@given(st.integers(0, 60), st.integers(1, 60))
def test_a_circle_is_noticed(tail, length):
    """A circle is noticed within three times its length, or that of the way to it where that is longer."""
    cursors = ({"page": step if step < tail else tail + (step - tail) % length} for step in range(10_000))
    assert steps_until_noticed(cursors) <= 3 * max(tail, length) + 2


@given(st.integers(1, 100))
def test_a_circle_from_the_start_is_noticed_soon(length):
    """Pages that go in a circle from the first one on are noticed within three times its length."""
    assert steps_until_noticed({"page": step % length} for step in range(10_000)) <= 3 * length


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers()), unique_by=repr, max_size=50))
def test_no_alarm_without_a_circle(cursors):
    """As long as no position comes again, none is taken for one that does."""
    distinct = []
    for one in cursors:
        if one not in distinct:
            distinct.append(one)
    assert steps_until_noticed(distinct) is None


def test_the_order_of_a_cursors_fields_means_nothing():
    """Two equal positions are equal however they are written."""
    assert steps_until_noticed([{"a": 1, "b": 2}, {"b": 2, "a": 1}]) == 2


def test_a_run_that_goes_in_a_circle_is_an_error():
    """The run keeps its guard from page to page; another window begins with a new one."""
    work = make_work()
    state = after(make_state(), work, StreamPage(cursor={"page": 1}))
    with pytest.raises(UnexpectedResponseError, match="in a circle"):
        advanced(state, work, {"page": 1})
    assert advanced(state, work, {"page": 2}).window == work.window
    assert advanced(state, make_work(high=16), {"page": 1}).cursor == {"page": 1}


# --- after a page ----------------------------------------------------------------------------------------------------


def test_a_page_moves_the_run():
    """Between its first and its last page a run has a position, and proves nothing."""
    state = after(make_state(), work := make_work(), StreamPage(cursor={"page": 1}))
    assert (state.incremental.run.cursor, state.incremental.run.window) == ({"page": 1}, work.window)
    assert (state.read_until, state.proven, state.served_at) == (NOW, (), at(20))


def test_the_end_of_a_run_proves_its_window():
    """The time since the previous run is proven, and the bookmark is kept for the next one."""
    state = after(make_state(proven=by_sync((-20, 0))), make_work(bookmark={}), END)
    assert (state.proven, state.read_until, state.bookmark) == (by_sync((-20, 15)), at(15), {"n": 1})
    assert state.incremental == Reading()


def test_a_baseline_proves_only_what_it_shows():
    """A baseline proves nothing, or what it says that it has read from, as history: what is gone was not shown."""
    assert after(make_state(), make_work(), END).proven == ()
    page = attrs.evolve(END, read_from=at(5))
    assert after(make_state(), make_work(), page).proven == by_history((5, 15))


def test_a_history_proves_its_stretch():
    """It moves neither the bookmark nor up to when the stream is read."""
    known = make_state(bookmark={"n": 0})
    state = after(known, make_work(mode=BACKFILL, low=-30, high=0), END)
    assert (state.proven, state.bookmark, state.read_until) == (by_history((-30, 0)), {"n": 0}, NOW)


def test_what_the_vendor_does_not_show_is_given_up():
    """What is older than the oldest that is shown stays unproven, and is not asked for again."""
    page = attrs.evolve(END, oldest_shown=at(-10))
    state = after(make_state(), make_work(mode=BACKFILL, low=-30, high=0), page)
    assert (state.proven, state.given_up) == (by_history((-10, 0)), (span(-30, -10),))
    newest = after(make_state(), make_work(mode=BACKFILL, low=-30, high=-20), page)
    assert (newest.proven, newest.given_up) == ((), (span(-30, -20),))
    assert after(make_state(), make_work(bookmark={}), attrs.evolve(END, oldest_shown=at(5))).proven == by_sync((5, 15))


def test_a_first_round_proves_nothing():
    """History that is read in two rounds is proven by the second one."""
    work = make_work(mode=BACKFILL, low=-30, high=0)
    first = after(make_state(), work, END, rounds=2)
    assert (first.proven, first.read_once) == ((), (span(-30, 0),))
    second = after(first, attrs.evolve(work, round_number=2), END, rounds=2)
    assert (second.proven, second.read_once) == (by_history((-30, 0)), ())


def test_a_lapsed_bookmark_is_forgotten():
    """The next run takes a baseline, and the time since the last one is left to history."""
    state = after(make_state(bookmark={"n": 0}), make_work(bookmark={"n": 0}), StreamPage(cursor=None, lost="Lapsed."))
    assert (state.bookmark, state.read_until, state.proven) == (None, NOW, ())


def test_only_news_and_ends_are_progress():
    """A page with nothing new does not make the failures before it be forgotten; a circle has pages, too."""
    work = make_work()
    known = blocked(incremental=failing(3))
    onward = StreamPage(cursor={"page": 1})
    assert after(known, work, onward).incremental.failures == 3
    assert after(known, work, onward).status is StreamStatus.BLOCKED
    assert after(known, work, onward, has_news=True).incremental.failures == 0
    ended = after(known, work, END)
    assert (ended.status, ended.reason, ended.incremental) == (StreamStatus.READY, None, Reading())


@given(
    st.lists(st.tuples(st.sampled_from(SyncMode), st.integers(-60, 0), st.integers(1, 30), st.booleans()), max_size=10)
)
def test_proof_never_shrinks(runs):
    """Whatever is read, refused or fails, what was proven stays proven while our clock goes on."""
    state = make_state()
    for mode, low, length, fails in runs:
        if mode is SyncMode.INCREMENTAL and state.read_until is not None and at(low + length) < state.read_until:
            continue
        before = state.proven_by(*CoveragePath)
        if fails:
            state = set_aside(state, mode, "No.", at(20))
        else:
            state = after(state, make_work(mode=mode, low=low, high=low + length, bookmark={}), END)
        assert without(before, state.proven_by(*CoveragePath)) == ()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (END, True),
        (StreamPage(cursor={}), False),
        (attrs.evolve(END, lost="Lapsed."), False),
        (attrs.evolve(END, oldest_shown=NOW), False),
        (attrs.evolve(END, parked=(ParkedItem(reference="1", reason="No."),)), False),
        (attrs.evolve(END, connection_metadata={"end": 1}), False),
    ],
)
def test_a_quiet_page(page, expected):
    """A page is quiet if it ends its run and brings nothing that has to be stored at once."""
    assert is_quiet(page) is expected


# --- after a failure -------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_an_hour():
    """The pause after each failure is twice the one before, from 30 seconds to an hour, and never ends."""
    state, pauses = make_state(), []
    for _ in range(12):
        state = set_aside(state, INCREMENTAL, "No.", NOW)
        pauses.append(state.incremental.next_at - NOW)
    assert pauses[:3] == [SHORTEST_PAUSE, SHORTEST_PAUSE * 2, SHORTEST_PAUSE * 4]
    assert pauses[-1] == LONGEST_PAUSE
    assert pause_after(10**9) == LONGEST_PAUSE


def test_a_stream_that_failed_is_blocked():
    """It has its reason, and since when; the second failure and every fourth after it begin its window again."""
    run = StreamRun(window=make_work().window, cursor={"page": 3})
    first = set_aside(make_state(incremental=Reading(run=run)), INCREMENTAL, "No.", at(1))
    assert (first.status, first.reason, first.status_since) == (StreamStatus.BLOCKED, "No.", at(1))
    assert first.incremental.run == run
    second = set_aside(first, INCREMENTAL, "Still no.", at(2))
    assert (second.reason, second.status_since, second.incremental.failed_since) == ("Still no.", at(1), at(1))
    assert second.incremental.run is None
    third = set_aside(
        attrs.evolve(second, incremental=attrs.evolve(second.incremental, run=run)), INCREMENTAL, "", at(3)
    )
    assert third.incremental.run == run
    begins_again = [
        set_aside(make_state(incremental=failing(failures, run=run)), INCREMENTAL, "No.", NOW).incremental.run is None
        for failures in range(1, 11)
    ]
    assert begins_again == [True, False, False, False, True, False, False, False, True, False]


def test_one_mode_does_not_clear_the_other():
    """A stream is ready again once neither what is new nor its history fails."""
    state = set_aside(set_aside(make_state(), INCREMENTAL, "New.", NOW), BACKFILL, "Old.", NOW)
    state = after(state, make_work(bookmark={}), END)
    assert (state.status, state.reason) == (StreamStatus.BLOCKED, "Old.")
    assert after(state, make_work(mode=BACKFILL), END).status is StreamStatus.READY


def test_a_failure_makes_the_other_mode_wait():
    """Both ask the same list; once one of them was read to its end, the other need not wait either."""
    failed = set_aside(make_state(), BACKFILL, "No.", NOW)
    assert (failed.incremental.next_at, failed.incremental.failures) == (failed.backfill.next_at, 0)
    read = after(failed, make_work(bookmark={}), END)
    assert (read.incremental.next_at, read.backfill) == (None, failed.backfill)
    assert after(failed, make_work(mode=BACKFILL), END).incremental.next_at is None


def test_a_suspicion_outlives_its_pardon():
    """How often a stream let its provider seem down is kept until it is read."""
    state = make_state()
    for count in (1, 2):
        state = suspected(forgiven(set_aside(state, INCREMENTAL, "Down.", NOW), INCREMENTAL), INCREMENTAL)
        assert (state.status, state.incremental.suspected) == (StreamStatus.READY, count)
    assert after(state, make_work(bookmark={}), END).incremental.suspected == 0


@given(st.sampled_from(SyncMode), st.text())
def test_a_suspect_is_read_as_it_was_written(mode, key):
    """Whatever is in its key."""
    assert read_suspect(write_suspect(mode, key)) == (mode, key)


def test_what_is_forgiven_never_happened():
    """The stream is as before its last failure, and may be read at once."""
    run = StreamRun(window=make_work().window)
    known = make_state(incremental=Reading(run=run))
    state = forgiven(set_aside(known, INCREMENTAL, "Down.", NOW), INCREMENTAL)
    assert (state.status, state.incremental) == (StreamStatus.READY, known.incremental)
    twice = forgiven(blocked(incremental=failing(2)), INCREMENTAL)
    assert (twice.status, twice.incremental.failures, twice.incremental.next_at) == (StreamStatus.BLOCKED, 1, None)


def test_our_own_refusals_count_after_three():
    """Twice a page is read again after seconds; then its stream has failed, as it has at once if it failed before."""
    state = make_state()
    for number in range(1, MOST_REFUSALS):
        state = refused(state, INCREMENTAL, "Ours.", NOW)
        assert (state.status, state.incremental.refusals) == (StreamStatus.READY, number)
        assert NOW < state.incremental.next_at <= NOW + timedelta(seconds=4)
    state = refused(state, INCREMENTAL, "Ours.", NOW)
    assert (state.status, state.incremental.refusals, state.incremental.failures) == (StreamStatus.BLOCKED, 0, 1)
    assert refused(state, INCREMENTAL, "Ours.", NOW).incremental.failures == 2


# --- after it was listed ---------------------------------------------------------------------------------------------


def test_what_could_never_be_read_is_not_kept():
    """Unless a person chose it by name: then it is shown with the reason."""
    owner = make_discovery()
    assert found(owner, make_stream(unreadable="Nobody let us in."), NOW) is None
    chosen = found(owner, make_stream(unreadable="Nobody let us in.", is_chosen=True), NOW)
    assert (chosen.status, chosen.reason) == (StreamStatus.UNREADABLE, "Nobody let us in.")
    new = found(owner, make_stream(), at(1))
    assert (new.status, new.read_until, new.proven, new.found_at) == (StreamStatus.READY, None, (), at(1))


def test_what_becomes_unreadable_is_not_asked():
    """It says why; when it can be read again it is tried at once, whatever had failed before."""
    known = blocked(incremental=failing(5))
    shut = listed(known, make_stream(unreadable="We were put out."), at(1), at(1))
    assert (shut.status, shut.reason, shut.is_readable) == (StreamStatus.UNREADABLE, "We were put out.", False)
    again = listed(shut, make_stream(), at(2), at(2))
    assert (again.status, again.reason, again.incremental) == (StreamStatus.READY, None, Reading())
    assert listed(gone(known, "No.", at(1)), make_stream(), at(2), at(2)).status is StreamStatus.READY


def test_a_change_lets_a_blocked_stream_be_tried():
    """What was in its way may be over; a list that says the same changes nothing."""
    known = blocked(incremental=failing(), backfill=failing())
    changed = listed(known, make_stream(name="renamed"), at(1), at(1))
    assert (changed.incremental.next_at, changed.backfill.next_at) == (None, None)
    assert listed(known, make_stream(), at(1), at(1)) is known
    assert listed(known, make_stream(), at(1), NOW + FRESH_ENOUGH).listed_at == NOW + FRESH_ENOUGH


@pytest.mark.parametrize(
    ("state", "quiet_since", "is_read"),
    [
        ({}, -5, True),
        ({}, None, False),
        ({}, 5, False),
        ({"bookmark": None}, -5, False),
        ({"read_until": None}, -5, False),
        ({"incremental": failing(), "status": StreamStatus.BLOCKED}, -5, False),
    ],
)
def test_what_the_vendor_calls_silent_is_read(state, quiet_since, is_read):
    """An idle stream of which the list says that nothing has happened since it was read is read up to the list."""
    known = make_state(**state)
    after_it = listed(known, make_stream(quiet_since=at(quiet_since)), at(10), at(11))
    assert (after_it.read_until == at(10)) is is_read
    assert after_it.proven == (by_sync((0, 10)) if is_read else ())


def test_what_an_older_version_had_read_stays_proven():
    """A stream gets what was proven of all of its families, and its own part of the cursor, or none."""
    stream = make_stream(families=frozenset({"items", "names"}))
    new = found(make_discovery(), stream, NOW)
    legacy = {
        "read_until": rfc3339(at(0)),
        "cursor": {"n": 7},
        "proven": {
            "items": [[rfc3339(at(-40)), rfc3339(at(0)), "sync"]],
            "names": [[rfc3339(at(-60)), rfc3339(at(-20)), "sync"]],
        },
    }
    state = with_legacy(new, legacy, {"a": {"n": 7}}, is_divided=True)
    assert (state.proven, state.bookmark, state.read_until) == (by_sync((-40, -20)), {"n": 7}, at(0))
    undivided = with_legacy(new, legacy, {}, is_divided=False)
    assert (undivided.proven, undivided.bookmark, undivided.read_until) == (state.proven, None, None)
    assert with_legacy(new, legacy, {"b": {"n": 7}}, is_divided=True) == new  # nobody knows that it was ever read


# --- parked items ----------------------------------------------------------------------------------------------------


def test_an_item_is_parked_where_its_neighbours_are():
    """Its span is what the list tells of it, else the window; an instant is a second long."""
    state, work = make_state(), make_work()
    item = ParkedItem(reference="1", reason="No.", between=(at(3), at(2)))
    row = parked(state, item, work, None, at(20))
    assert (row.span, row.next_at, row.opened_at) == (span(2, 3), at(20) + ITEM_PAUSE, at(20))
    assert parked(state, attrs.evolve(item, between=None), work, None, at(20)).span == span(0, 15)
    instant = parked(state, attrs.evolve(item, between=(at(2), at(2))), work, None, at(20)).span
    assert instant.to_at - instant.from_at == timedelta(seconds=1)


def test_a_parked_item_that_is_met_again():
    """An open one keeps its pauses and covers more, one that was read is opened again, and one that a person gave up
    stays closed, but for what came later."""
    item, work = ParkedItem(reference="1", reason="Still no.", between=(at(2), at(3))), make_work()
    known = make_parked(failures=4, next_at=99)
    assert parked(make_state(), item, work, known, at(20)) == attrs.evolve(known, reason="Still no.", span=span(-30, 3))
    read = attrs.evolve(known, closed_at=NOW, closed_by=ClosedBy.READ)
    assert parked(make_state(), item, work, read, at(20)).closed_at is None
    given_up = attrs.evolve(known, closed_at=at(5), closed_by=ClosedBy.PERSON)
    assert parked(make_state(), item, work, given_up, at(20)) == given_up
    later = attrs.evolve(item, between=(at(2), at(9)))
    assert parked(make_state(), later, work, given_up, at(20)).closed_at is None


def test_what_happened_to_a_thing_since_it_was_given_up_is_new():
    """Its reference alone says nothing: it may be another thing that has no name either."""
    given_up = make_parked(closed_at=at(5), closed_by=ClosedBy.PERSON)
    item = ParkedItem(reference="1", reason="No.", between=(at(2), at(9)))
    again = parked(make_state(), item, make_work(), given_up, at(20))
    assert (again.closed_at, again.span) == (None, span(5, 9))


def test_the_pauses_of_a_parked_item_double_up_to_a_day():
    """From five minutes to a day, for ever."""
    item, pauses = make_parked(), []
    for _ in range(12):
        item = parked_again(item, "Still no.", NOW)
        pauses.append(item.next_at - NOW)
    assert pauses[:2] == [ITEM_PAUSE * 2, ITEM_PAUSE * 4]
    assert pauses[-1] == LONGEST_ITEM_PAUSE
