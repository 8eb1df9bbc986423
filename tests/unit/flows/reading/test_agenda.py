"""What is read next."""

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.flows.reading.agenda import (
    BLOCKED_REST,
    LONGEST_TURN,
    MOST_PAGES,
    REST,
    TURNS,
    Kind,
    discovered_by,
    looked_for_at,
    wanted_by,
)
from connectors.domain.model.spans import FAR
from connectors.domain.model.stream_state import Reading, StreamRun, StreamStatus
from connectors.domain.model.sync import JobType, SyncMode
from tests.support.builders import NOW, make_job
from tests.support.stream_rows import (
    at,
    blocked,
    by_history,
    by_sync,
    failing,
    make_account,
    make_agenda,
    make_discovery,
    make_parked,
    make_state,
    make_work,
    span,
)

SECOND = timedelta(seconds=1)
PROVEN = by_history((-60, 0))
"""All that is wanted up to now."""


def idle(key="a", **changes):
    """A stream of which nothing is due."""
    return make_state(key, **{"proven": PROVEN, **changes})


def due(agenda, now=NOW):
    """What is next, as (kind, key); None if nothing is due."""
    work = agenda.next(now)
    return None if work is None else (work.kind, work.key)


# --- kinds of work ---------------------------------------------------------------------------------------------------


def test_the_streams_are_found_before_anything_is_read():
    """Before the first list nothing else is due, and a list that has begun is read to its end."""
    assert due(make_agenda(idle(requested_at=at(1)), discovery=make_discovery(read_until=None))) == (Kind.DISCOVERY, "")
    run = StreamRun(window=make_work("", low=-5, high=0).window, cursor={"page": 1})
    assert due(make_agenda(discovery=make_discovery(incremental=Reading(run=run)))) == (Kind.DISCOVERY, "")
    assert due(make_agenda(idle())) is None


@pytest.mark.parametrize(
    ("changes", "streams", "is_due"),
    [
        ({"discovered_by": at(0)}, {}, False),
        ({"discovered_by": at(1)}, {}, True),
        ({"wanted_by": at(1)}, {}, False),
        ({"wanted_by": at(1)}, {"discovery_interval": timedelta(minutes=6)}, False),
        ({"wanted_by": at(1)}, {"discovery_interval": timedelta(minutes=5)}, True),
        ({"discovered_by": at(1)}, {"discovery_interval": timedelta(minutes=5)}, False),
        ({"looked_for_at": at(0)}, {"discovery_interval": timedelta(days=1)}, True),
        ({"looked_for_at": at(-1)}, {"discovery_interval": timedelta(days=1)}, False),
    ],
)
def test_when_streams_are_listed_again(changes, streams, is_due):
    """With every read or at an interval, and at once where somebody names a stream that is not known."""
    agenda = make_agenda(idle(read_until=at(5)), streams=streams, **changes)
    assert (due(agenda, at(5)) == (Kind.DISCOVERY, "")) is is_due


def test_a_list_is_not_read_again_within_seconds():
    """However many unknown streams are named, some seconds lie between two lists; then it is due by itself."""
    agenda = make_agenda(idle(), looked_for_at=NOW)
    assert (due(agenda, NOW + REST - SECOND), agenda.next_at(NOW)) == (None, NOW + REST)
    assert due(agenda, NOW + REST) == (Kind.DISCOVERY, "")


def everything():
    """A stream for each kind of work."""
    return make_agenda(
        idle("asked", requested_at=at(1)),
        idle("new", read_until=None, bookmark=None),
        make_state("old"),
        parked=[make_parked("asked", next_at=0)],
    )


@pytest.mark.parametrize("last", TURNS)
def test_every_kind_gets_its_turn(last):
    """After a page of one kind the next kind comes first, so that none starves another."""
    agenda = everything()
    agenda.account = attrs.evolve(agenda.account, last_turn=last)
    expected = TURNS[(TURNS.index(last) + 1) % len(TURNS)]
    assert agenda.next(at(2)).kind is expected


def test_an_unknown_last_turn_is_none():
    """What another version stored changes only the order."""
    agenda = everything()
    agenda.account = attrs.evolve(agenda.account, last_turn="of another version")
    assert agenda.next(at(2)).kind is TURNS[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"states": [make_state("old")]}, True),
        ({"states": [make_state("old"), idle("new", read_until=None)]}, False),
        ({"states": [make_state("old"), idle("asked", requested_at=at(0))], "now": at(1)}, True),
        ({"states": [make_state("old"), idle("asked", requested_at=at(1))], "now": at(2)}, False),
        ({"states": [make_state("old")], "parked": [make_parked("old", next_at=0)]}, False),
        ({"states": [make_state("old")], "discovered_by": at(1), "now": at(1)}, True),
        ({"states": [make_state("old")], "discovered_by": at(1), "wanted_by": at(1), "now": at(1)}, False),
        ({"states": [make_state("old")], "looked_for_at": at(1), "now": at(1)}, False),
        ({"states": [make_state("old")], "discovery": make_discovery(read_until=None)}, False),
    ],
)
def test_history_only(changes, expected):
    """Whether nothing but history is due; the list that a backfill begins with is part of it."""
    states, now = changes.pop("states", [idle()]), changes.pop("now", NOW)
    assert make_agenda(*states, **changes).is_history_only(now) is expected


# --- which stream ----------------------------------------------------------------------------------------------------


def test_who_has_waited_longest_is_read_first():
    """The stream whose last turn is the longest ago; one that never had any counts from when it was found."""
    states = [idle(key, read_until=None, served_at=at(served)) for key, served in (("a", 3), ("b", 1), ("c", 2))]
    assert due(make_agenda(*states), at(9)) == (Kind.INCREMENTAL, "b")
    states.append(idle("d", read_until=None, found_at=at(-1)))
    assert due(make_agenda(*states), at(9)) == (Kind.INCREMENTAL, "d")


@pytest.mark.parametrize(("pages", "seconds"), [(MOST_PAGES, 0), (1, LONGEST_TURN.total_seconds())])
def test_a_stream_keeps_its_turn_for_some_pages(pages, seconds):
    """A stream is read on for ten pages or five seconds; then another one of its kind has its turn."""
    run = StreamRun(window=make_work().window, cursor={"page": 1})
    present = idle("b", read_until=None, incremental=Reading(run=run), served_at=at(1))
    agenda = make_agenda(present, idle("a", read_until=None, served_at=NOW))
    work = make_work("b")
    for _ in range(pages):
        agenda.took_turn(work, at(1))
    later = at(1) + timedelta(seconds=seconds)
    assert due(agenda, later) == (Kind.INCREMENTAL, "a")
    agenda.turns.clear()
    agenda.took_turn(work, later)
    assert due(agenda, later) == (Kind.INCREMENTAL, "b")


@pytest.mark.parametrize("status", [StreamStatus.UNREADABLE, StreamStatus.GONE])
def test_what_cannot_be_read_is_not_asked(status):
    """Neither for what is new, nor for history, nor for parked items, nor because somebody asks."""
    state = make_state(status=status, requested_at=at(1))
    agenda = make_agenda(state, parked=[make_parked(next_at=0)], wanted_by=at(1))
    assert (agenda.next(at(1)), agenda.next_at(at(1))) == (None, None)


def test_what_is_new_is_read_up_to_what_a_job_wants():
    """Not before a job wants it, not twice, and not within a stream's own interval."""
    assert due(make_agenda(idle())) is None
    assert due(make_agenda(idle(), wanted_by=at(0)), at(1)) is None
    assert due(make_agenda(idle(), wanted_by=at(1)), at(1)) == (Kind.INCREMENTAL, "a")
    slow = idle(stream={"interval": timedelta(minutes=5)})
    assert due(make_agenda(slow, wanted_by=at(1)), at(4)) is None
    assert due(make_agenda(slow, wanted_by=at(1)), at(5)) == (Kind.INCREMENTAL, "a")


def test_a_failing_stream_waits_for_its_time():
    """Until then nothing of it is due, whatever a job wants; afterwards it is, without a job."""
    agenda = make_agenda(blocked(incremental=failing(next_at=10), proven=PROVEN), wanted_by=at(1))
    assert (due(agenda, at(9)), agenda.next_at(at(9))) == (None, at(10))
    agenda.wanted_by = None
    assert due(agenda, at(10)) == (Kind.INCREMENTAL, "a")


def test_who_asks_is_served_once_before_the_time():
    """A request overrides the pause after a failure, once; the next one has to wait."""
    state = blocked(incremental=failing(next_at=60), proven=PROVEN, served_at=at(0), requested_at=at(1))
    assert due(make_agenda(state), NOW + BLOCKED_REST - SECOND) is None
    assert due(make_agenda(state), NOW + BLOCKED_REST) == (Kind.REQUESTED, "a")
    tried = attrs.evolve(state, served_at=NOW + BLOCKED_REST)
    assert due(make_agenda(tried), at(59)) is None
    assert due(make_agenda(tried), at(60)) == (Kind.REQUESTED, "a")


def test_a_stream_that_is_asked_for_all_the_time_has_its_rest():
    """Between two reads that somebody asks for lie some seconds; the second one is not lost."""
    state = idle(served_at=NOW, requested_at=NOW + SECOND)
    agenda = make_agenda(state)
    assert (due(agenda, NOW + REST - SECOND), agenda.next_at(NOW + SECOND)) == (None, NOW + REST)
    assert due(agenda, NOW + REST) == (Kind.REQUESTED, "a")


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_is_what_is_wanted_and_not_proven():
    """Less what was given up, up to when the stream was read; the latest stretch is read first."""
    state = make_state(proven=(*by_history((-50, -40)), *by_sync((-10, 0))), given_up=(span(-60, -55),))
    agenda = make_agenda(state)
    assert agenda.history(state) == (span(-55, -50), span(-40, -10))
    window = agenda.next(NOW).window
    assert (window.mode, window.low, window.high, window.floor) == (SyncMode.BACKFILL, at(-40), at(-10), at(-60))
    assert (window.until, window.begun_at) == (None, NOW)


def test_a_bounded_request_emits_nothing_later():
    """History that was asked for up to an instant has that for its end, also of what is emitted."""
    agenda = make_agenda(idle(), account=make_account((-200, -100)))
    window = agenda.next(NOW).window
    assert (window.low, window.high, window.floor, window.until) == (at(-200), at(-100), at(-200), at(-100))
    assert not window.emits(at(-99))


def test_history_waits_for_the_first_read():
    """A stream that was never read has no history yet: its first read says where that ends."""
    state = make_state(read_until=None, bookmark=None)
    agenda = make_agenda(state)
    assert (agenda.history(state), due(agenda)) == ((), (Kind.INCREMENTAL, "a"))


def test_a_run_that_nobody_wants_any_more_is_left():
    """Its window is no longer part of what is wanted: the next one begins from the start."""
    old = make_work(mode=SyncMode.BACKFILL, low=-500, high=-400).window
    state = make_state(backfill=Reading(run=StreamRun(window=old, cursor={"page": 9})))
    window = make_agenda(state).next(NOW).window
    assert (window.low, window.high) == (at(-60), at(0))
    kept = make_agenda(state, account=make_account((-500, -400)), parked=())
    assert due(kept) == (Kind.BACKFILL, "a")


def test_the_parts_of_a_whole_have_its_history():
    """Where one stream shows what is new in all, it has no history, and each part's ends when the part was found."""
    whole = make_state("all", proven=by_sync((-60, 20)), read_until=at(20))
    part = make_state("b", stream={"changes_in": "all"}, found_at=at(10), read_until=None, bookmark=None)
    agenda = make_agenda(whole, part)
    assert (agenda.history(whole), agenda.history(part)) == ((), (span(-60, 10),))
    assert due(agenda, at(20)) == (Kind.BACKFILL, "b")


def test_two_rounds_read_everything_once_first():
    """With two rounds no stream is read a second time before each has been read once."""
    first = make_state("a", read_once=(span(-60, 0),), served_at=at(-9))
    second = make_state("b", served_at=at(-1))
    agenda = make_agenda(first, second, streams={"rounds": 2})
    work = agenda.next(NOW)
    assert (work.key, work.round_number) == ("b", 1)
    agenda.states["b"] = attrs.evolve(second, read_once=(span(-60, 0),))
    work = agenda.next(NOW)
    assert (work.key, work.round_number) == ("a", 2)


# --- parked items ----------------------------------------------------------------------------------------------------


def test_a_parked_item_is_asked_for_at_its_time():
    """Not before, and not at all where the package cannot read single items."""
    agenda = make_agenda(idle(), parked=[make_parked(reference="1"), make_parked(reference="2", next_at=7)])
    assert (due(agenda, at(4)), agenda.next_at(at(4))) == (None, at(5))
    work = agenda.next(at(7))
    assert (work.kind, work.key, work.item.reference) == (Kind.PARKED, "a", "1")
    assert (work.window.low, work.window.high, work.window.mode) == (at(-60), at(7), SyncMode.INCREMENTAL)
    assert due(make_agenda(idle(), parked=[make_parked()], streams={"read_item": None}), at(7)) is None


def test_items_that_cannot_be_asked_for_wake_nobody():
    """Where the package cannot read single items, no instant is waited for because of one."""
    agenda = make_agenda(idle(), parked=[make_parked()], streams={"read_item": None})
    assert agenda.next_at(NOW) is None


# --- when ------------------------------------------------------------------------------------------------------------

READINGS = (
    st.just(Reading())
    | st.builds(failing, st.integers(1, 3), st.integers(-5, 40))
    | st.builds(lambda next_at: Reading(refusals=1, next_at=at(next_at)), st.integers(-5, 40))
)
MAYBE = st.none() | st.integers(-20, 20)


@st.composite
def agendas(draw):
    """Any rows, without a job."""
    states = []
    for number in range(draw(st.integers(0, 3))):
        asked, served = draw(MAYBE), draw(MAYBE)
        state = make_state(
            f"s{number}",
            proven=draw(st.sampled_from([PROVEN, ()])),
            requested_at=at(asked),
            served_at=at(served),
            status=draw(st.sampled_from(StreamStatus)),
            read_until=draw(st.sampled_from([None, NOW])),
        )
        for mode in SyncMode:
            state = state.with_reading(mode, draw(READINGS))
        states.append(state)
    parked = [make_parked("s0", str(n), next_at=draw(st.integers(-5, 40))) for n in range(draw(st.integers(0, 2)))]
    return make_agenda(*states, parked=parked, streams={"read_item": draw(st.sampled_from([None, lambda *_: None]))})


@given(agendas(), st.integers(-20, 45))
def test_the_next_instant_is_the_next_instant(agenda, minute):
    """Where nothing is due, nothing is before the instant that is named, and then something is: no wait is missed, and
    nobody is woken for nothing."""
    now = at(minute)
    if agenda.next(now) is not None:
        return
    wake_at = agenda.next_at(now)
    steps = [now + timedelta(seconds=30) * step for step in range(240)]
    if wake_at is None:
        assert all(agenda.next(one) is None for one in steps)
    else:
        assert wake_at > now
        assert all(agenda.next(one) is None for one in steps if one < wake_at)
        assert agenda.next(wake_at) is not None


# --- what jobs want --------------------------------------------------------------------------------------------------


def test_what_jobs_want():
    """The latest of their instants, each for those that it concerns, and never beyond the beginning of the read."""
    jobs = [
        make_job(scheduled_at=at(1)),
        make_job(type=JobType.BACKFILL, scheduled_at=at(2)),
        make_job(type=JobType.WEBHOOK, target="a", scheduled_at=at(3)),
        make_job(type=JobType.WEBHOOK, target="z", scheduled_at=at(4)),
    ]
    assert (wanted_by(jobs, at(9)), discovered_by(jobs, at(9)), looked_for_at(jobs, {"a"}, at(9))) == (
        at(1),
        at(2),
        at(4),
    )
    assert (wanted_by(jobs, at(0)), looked_for_at(jobs, {"a"}, at(0))) == (at(0), at(0))
    assert (wanted_by([], NOW), discovered_by([], NOW), looked_for_at(jobs, {"a", "z"}, NOW)) == (None, None, None)


def test_a_new_stream_is_read_up_to_now():
    """Its first window begins with what is wanted, and has no bookmark: a baseline is taken."""
    state = make_state(read_until=None, bookmark=None)
    window = make_agenda(state).next(at(3)).window
    assert (window.low, window.high, window.bookmark, window.until) == (at(-60), at(3), None, None)
    window = make_agenda(make_state(proven=PROVEN), wanted_by=at(3)).next(at(3)).window
    assert (window.low, window.high, window.bookmark) == (at(0), at(3), {})
    assert window.emits(FAR)
