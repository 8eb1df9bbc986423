"""Each invariant of the oracle sees what breaks it: a run without a fault, broken by hand."""

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import SignalId
from connectors.domain.model.stream_state import Reading, StreamStatus
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import DeliveryStatus
from tests.simulation.oracle import (
    AT_THE_END,
    answers,
    connections,
    coverage,
    deliveries,
    jobs,
    reading,
    signals,
    vendors,
)
from tests.simulation.people import OK, Entry
from tests.simulation.plan import Plan, PlannedAccount
from tests.simulation.ports.wire import Exchange
from tests.simulation.run import Run
from tests.simulation.schedule import EPOCH

PLAN = Plan(
    seed=1,
    profile="calm",
    accounts=[PlannedAccount("n0", "DriveAccount", 3)],
    items=[
        {"at": 100.0, "do": "connect", "account": "n0", "tenant": 0},
        {"at": 400.0, "do": "interval", "account": "n0", "tenant": 0, "minutes": 5},
        {"at": 500.0, "do": "backfill", "account": "n0", "tenant": 0, "days": 2},
        *({"at": at, "do": "act", "account": "n0", "what": "create", "dice": 1} for at in (900.0, 2000.0, 3000.0)),
    ],
    ends_at=3300.0,
    settles_for=1500.0,
)


@pytest.fixture
def run(monkeypatch):
    """A run in which nothing is wrong, not yet judged: the undisturbed reader leaves tokens of its own behind."""
    monkeypatch.setattr("tests.simulation.run.judge", lambda _run: None)
    run = Run(PLAN)
    assert run.play() == []
    return run


def put(table, row):
    """Store a row in place of the one with its id."""
    table.put((row.tenant_id, row.id), row)


def connection_of(run):
    (connection,) = run.connections("n0")
    return connection


def change_connection(**changes):
    def sabotage(run):
        put(run.database.memory.connections, attrs.evolve(connection_of(run), **changes))

    return sabotage


def change_job(job_type, **changes):
    def sabotage(run):
        job = next(one for one in run.database.memory.jobs.values() if one.type is job_type)
        put(run.database.memory.jobs, attrs.evolve(job, **changes))

    return sabotage


def flood(number, **changes):
    def sabotage(run):
        one = Exchange(at=4000.0, by="worker-1/0", method="GET", mount="google", path="/google/items", status=200)
        run.wire.log += [attrs.evolve(one, **changes)] * number

    return sabotage


def forget_row(table):
    def sabotage(run):
        rows = getattr(run.database.memory, table)
        key, _ = rows.items()[-1]
        rows.remove(key)

    return sabotage


def forget_new_signal(run):
    """The last file's signal, long after it happened."""
    run.schedule.now += 9000.0
    rows = run.database.memory.signals
    key, _ = max(rows.items(), key=lambda item: item[1].occurred_at)
    rows.remove(key)


def double_signal(run):
    row = run.database.memory.signals.values()[-1]
    late = row.occurred_at + timedelta(seconds=1)
    double = attrs.evolve(row, id=SignalId(connection_of(run).id), dedupe_key="other", occurred_at=late)
    put(run.database.memory.signals, double)


def enter(run, do, seconds=0.0, told=None):
    item = {"at": 1.0, "do": do, "account": "n0", "tenant": 0}
    run.people.diary.append(Entry(item=item, began=4000.0, ended=4000.0 + seconds, outcome=OK, told=told))


def change_streams(run, **changes):
    for row in run.database.memory.streams.values():
        if not row.is_discovery:
            kept = attrs.evolve(row, **changes)
            run.database.memory.streams.put((row.tenant_id, row.connection_id, row.key), kept)


def block_for_ever(run):
    failing = Reading(failures=3, reason="wrong", next_at=EPOCH + timedelta(days=400_000))
    change_streams(run, status=StreamStatus.BLOCKED, reason="wrong", incremental=failing)


def forget_grant(run):
    change_connection(grant_id=None)(run)


def withdraw(run):
    run.accounts["n0"].withdraw()


def postpone_schedule(run):
    rows = run.database.memory.schedules
    for key, row in rows.items():
        rows.put(key, attrs.evolve(row, next_at=row.next_at - timedelta(days=1)))


def fail_delivery(run):
    row = run.database.memory.deliveries.values()[-1]
    put(run.database.memory.deliveries, attrs.evolve(row, status=DeliveryStatus.FAILED, error="unreadable"))


def not_given(run):
    for core in run.cores:
        core.given.clear()


def grow(run):
    row = run.database.memory.schedules.values()[0]
    for number in range(jobs.MOST_ROWS["schedules"]):
        run.database.memory.schedules.put((row.tenant_id, row.subject_id, f"kind {number}"), row)


FAILING = {"status": JobStatus.FAILED, "error": "wrong", "updated_at": EPOCH + timedelta(days=1)}

BROKEN: list[tuple[str, Callable[[Run], None], Callable[[Run], None]]] = [
    ("busy", flood(121), vendors.is_polite),
    ("busy", flood(61, was_refused=True, path="/google/1"), vendors.is_polite),
    ("token-left", change_connection(status=ConnectionStatus.REVOKED), vendors.leaves_nothing_behind),
    ("hook-left", change_connection(status=ConnectionStatus.REVOKED), vendors.leaves_nothing_behind),
    (
        "token-left",
        change_connection(status=ConnectionStatus.REVOKED, end_error="user: cannot be unsubscribed"),
        vendors.leaves_nothing_behind,
    ),
    ("hook-extra", forget_row("subscriptions"), vendors.leaves_nothing_behind),
    ("neighbour-harmed", forget_new_signal, vendors.leaves_neighbours_unharmed),
    (
        "ended-by-us",
        change_connection(status=ConnectionStatus.REAUTHORIZATION_REQUIRED),
        connections.end_only_when_told,
    ),
    ("degraded-for-ever", change_connection(sync_error="wrong"), connections.tell_their_health),
    ("death-unseen", withdraw, connections.tell_their_health),
    ("failure-unsaid", change_job(JobType.INCREMENTAL, **FAILING), connections.tell_what_fails),
    ("answer-undone", forget_row("connections"), answers.keep_what_was_answered),
    ("answer-undone", change_connection(metadata={}), answers.keep_what_was_answered),
    ("not-erased", lambda run: enter(run, "erase"), answers.erase_everything),
    ("answered-late", lambda run: enter(run, "sync", 30.0), answers.are_given_soon),
    ("delivery-lost", forget_row("deliveries"), deliveries.are_accounted_for),
    ("delivery-failed", fail_delivery, deliveries.are_accounted_for),
    (
        "job-stuck",
        change_job(JobType.BACKFILL, status=JobStatus.RUNNING, finished_at=None),
        jobs.end,
    ),
    ("job-spins", change_job(JobType.BACKFILL, attempts=101), jobs.end),
    ("left-over", forget_grant, jobs.leave_little_behind),
    ("left-over", postpone_schedule, jobs.leave_little_behind),
    ("growth", grow, jobs.leave_little_behind),
    ("twice", double_signal, signals.are_there_once),
    ("feed-missed", not_given, signals.are_given_by_the_feed),
    ("false-claim", forget_new_signal, coverage.claims_nothing_false),
    ("false-claim", forget_new_signal, coverage.is_complete_or_says_so),
    ("not-recovered", lambda run: change_streams(run, read_until=EPOCH), reading.recovers),
    ("failure-hidden", lambda run: change_streams(run, status=StreamStatus.BLOCKED), reading.says_what_it_cannot_read),
    ("failure-hidden", block_for_ever, reading.says_what_it_cannot_read),
    ("read-back", lambda run: change_streams(run, read_until=EPOCH), lambda run: run.auditor.look()),
    ("read-back", lambda run: change_streams(run, proven=()), lambda run: run.auditor.look()),
    ("signal-gone", forget_new_signal, lambda run: run.auditor.look()),
]


@pytest.mark.parametrize(("invariant", "sabotage", "check"), BROKEN, ids=[f"{i}-{b[0]}" for i, b in enumerate(BROKEN)])
def test_an_invariant_sees_what_breaks_it(run, invariant, sabotage, check):
    """Nothing is found before, and that afterwards."""
    check(run)
    assert run.schedule.findings == []
    sabotage(run)
    check(run)
    assert invariant in {one.invariant for one in run.schedule.findings}


def test_an_error_explains_what_it_names(run):
    """A connection that says that its tokens live on is believed, for one set of tokens."""
    ended = {"status": ConnectionStatus.REVOKED, "end_error": "revocation: no connection; user: cannot be unsubscribed"}
    change_connection(**ended)(run)
    vendors.leaves_nothing_behind(run)
    assert run.schedule.findings == []


def test_what_was_answered_may_be_changed_again(run):
    """A later answer, or a deed that was not answered, has the last word."""
    enter(run, "interval")
    change_connection(metadata={})(run)
    answers.keep_what_was_answered(run)
    assert run.schedule.findings == []


def test_every_invariant_is_broken_here():
    """None of those that are judged at the end is missing above, but those with tests of their own in other files."""
    elsewhere = {
        vendors.reuses_no_token,
        connections.finish_what_they_began,
        deliveries.are_there_once,
    }
    assert set(AT_THE_END.values()) - {check for _, _, check in BROKEN} - elsewhere == set()
