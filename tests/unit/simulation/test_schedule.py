"""The schedule of the simulation: time, waits, death, traps, stalls, the trace."""

from itertools import pairwise

import pytest

from tests.simulation.schedule import EPOCH, STALLS, Schedule, StuckError, Trap


def seen(schedule):
    """A list, and a function that notes who is there when."""
    notes = []
    return notes, lambda what: notes.append((round(schedule.now, 6), what))


def test_time_jumps_to_the_next_wake_up():
    """Who sleeps goes on exactly then, and nobody waits in true time."""
    schedule = Schedule(1)
    notes, note = seen(schedule)

    def work():
        schedule.sleep(3600.0)
        note("up")

    schedule.spawn("one", work)
    schedule.spawn("two", lambda: note("late"), at=7200.0)
    schedule.run(10_000.0)
    assert notes == [(3600.0, "up"), (7200.0, "late")]
    assert schedule.now == 10_000.0
    assert (schedule.instant() - EPOCH).total_seconds() == 10_000.0


def test_a_run_ends_where_it_is_told_to():
    """Who sleeps beyond the end is not woken before the next run."""
    schedule = Schedule(1)
    notes, note = seen(schedule)
    schedule.spawn("one", lambda: note("late"), at=100.0)
    schedule.run(99.0)
    assert notes == []
    schedule.run(100.0)
    assert notes == [(100.0, "late")]


def test_a_wait_ends_with_its_condition_or_its_time():
    """Whichever comes first; a wake-up that was overtaken by another counts no more."""
    schedule = Schedule(1)
    notes, note = seen(schedule)
    flags = set()

    def wait(name, until):
        schedule.wait(lambda: name in flags, name, until=until)
        note(name)
        schedule.sleep(100.0)
        note(f"{name} slept")

    def raise_flag():
        schedule.sleep(5.0)
        flags.add("flag")

    schedule.spawn("flag", lambda: wait("flag", 50.0))
    schedule.spawn("time", lambda: wait("time", 20.0))
    schedule.spawn("other", raise_flag)
    schedule.run(1000.0)
    assert notes == [(5.0, "flag"), (20.0, "time"), (105.0, "flag slept"), (120.0, "time slept")]


def test_a_killed_process_acts_no_more():
    """Neither its `except` nor its `finally` blocks reach a port; other processes live on."""
    schedule = Schedule(1)
    notes, note = seen(schedule)

    def work(name):
        try:
            schedule.sleep(10.0)
            note(name)
        except Exception:  # noqa: BLE001 - as the product does; a death is none
            note(f"{name} rescued")
        finally:
            schedule.point("cleans up")
            note(f"{name} cleaned up")

    for process in ("a.1", "a.1", "b.1"):
        schedule.spawn(process, lambda process=process: work(process), process=process)
    schedule.spawn("killer", lambda: schedule.kill_process("a.1"), at=5.0)
    schedule.run(60.0)
    assert notes == [(10.0, "b.1"), (10.0, "b.1 cleaned up")]
    assert schedule.findings == []


def test_an_actor_may_kill_its_own_process():
    """It dies at the switch point at which the trap springs."""
    schedule = Schedule(1)
    notes, note = seen(schedule)

    def work():
        for number in range(5):
            schedule.point(f"step {number}")
            note(number)

    schedule.arm(Trap(lambda _, label: label.startswith("step"), 3, lambda me, _: schedule.kill_process(me.process)))
    schedule.spawn("one", work, process="a.1")
    schedule.run(1.0)
    assert [what for _, what in notes] == [0, 1]
    assert schedule.traps == []


def test_who_has_not_begun_dies_unseen():
    """A death, and the end of a run, reach those who wait for their first step."""
    schedule = Schedule(1)
    notes, note = seen(schedule)
    schedule.spawn("one", lambda: note("never"), process="a.1", at=50.0)
    schedule.spawn("two", lambda: note("never"), at=500.0)
    schedule.spawn("killer", lambda: schedule.kill_process("a.1"), at=5.0)
    schedule.run(100.0)
    schedule.end()
    assert notes == []


def test_the_end_unwinds_everybody():
    """Whoever hangs is ended where it stands."""
    schedule = Schedule(1)
    ended = []

    def work():
        try:
            schedule.wait(lambda: False, "for ever")
        finally:
            ended.append(True)

    schedule.spawn("one", work)
    schedule.run(10.0)
    schedule.end()
    assert ended == [True]


def test_an_error_of_an_actor_is_a_finding():
    """What an actor lets out is reported, and the others go on."""
    schedule = Schedule(1)
    schedule.spawn("one", lambda: 1 / 0)
    schedule.run(1.0)
    assert [one.invariant for one in schedule.findings] == ["actor-crashed"]


def test_a_run_that_never_rests_is_stuck():
    """An endless loop ends the run."""
    schedule = Schedule(1, max_steps=50)

    def work():
        while True:
            schedule.point("spins")

    schedule.spawn("one", work)
    with pytest.raises(StuckError):
        schedule.run(1.0)
    schedule.end()


def play(seed, **options):
    """Three actors with ten steps each; who was there in which order, and when each was done."""
    schedule = Schedule(seed, **options)
    notes, note = seen(schedule)

    def work(name):
        for _ in range(10):
            schedule.point(name)
            note(name)

    for name in ("a.1", "b.1", "c.1"):
        schedule.spawn(name, lambda name=name: work(name), process=name)
    schedule.run(10_000.0)
    return schedule.trace_hash, notes


def test_one_seed_is_one_order():
    """The same seed gives the same trace, another seed another one."""
    assert play(1) == play(1)
    assert play(1)[0] != play(2)[0]


def test_stalls_take_time():
    """Without them steps take none; with them each takes one of the known times."""
    assert {at for at, _ in play(1)[1]} == {0.0}
    _, notes = play(1, stalls=1.0)
    own = [at for at, name in notes if name == "a.1"]
    assert {round(after - before, 6) for before, after in pairwise(own)} <= set(STALLS)


def test_a_slow_machine_slows_its_process_only():
    """Its steps take time, in each of its lives; the others' take none."""
    _, notes = play(1, slow={"b": 0.5})
    done = {name: at for at, name in notes}
    assert done["a.1"] == done["c.1"] == 0.0
    assert 0.5 < done["b.1"] <= 5.0
