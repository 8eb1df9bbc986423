"""Each invariant of the oracle sees what breaks it: a run without a fault, broken by hand."""

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from connectors.domain.model import ending
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import SignalId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.stream_state import Reading, StreamStatus
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import DeliveryStatus, SubscriptionStatus
from connectors_sandbox.families import Ending
from tests.simulation.oracle import (
    AT_THE_END,
    answers,
    connections,
    cost,
    coverage,
    deliveries,
    holdings,
    jobs,
    reading,
    signals,
    vendors,
)
from tests.simulation.people import OK, Entry, Repeat
from tests.simulation.plan import Plan, PlannedAccount
from tests.simulation.ports.wire import Exchange
from tests.simulation.run import Run
from tests.simulation.schedule import EPOCH, Actor

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


def ask_for_what_fails(run):
    """A hundred times within one time slice."""
    turn = run.cost.turns[-1]
    one = Exchange(
        at=4000.0, by=turn.actor, method="GET", mount="google", path="/google/items", status=500, failing="x"
    )
    run.wire.log[turn.first : turn.first] = [one] * 100
    turn.end = turn.first + 100


def store_one_by_one(run):
    next(one for one in run.cost.turns if one.is_quiet and one.end is not None).stores += 10


def ask_twice(run):
    turn = next(one for one in run.cost.turns if one.is_quiet and one.end is not None)
    one = Exchange(at=4000.0, by=turn.actor, method="GET", mount="google", path="/google/changes", status=200)
    run.wire.log[turn.first : turn.first] = [one] * 10
    turn.end += 10


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


def change_grant(**changes):
    def sabotage(run):
        rows = run.database.memory.grants
        for key, row in rows.items():
            rows.put(key, attrs.evolve(row, grant=attrs.evolve(row.grant, **changes)))

    return sabotage


def change_subscriptions(**changes):
    def sabotage(run):
        for row in run.database.memory.subscriptions.values():
            put(run.database.memory.subscriptions, attrs.evolve(row, **changes))

    return sabotage


def forget_grant(run):
    change_connection(grant_id=None)(run)


def leave_ending(change, **changes):
    """Nobody has ended it for a day."""

    def sabotage(run):
        change(ending=ending.Ending(since=run.schedule.instant()), **changes)(run)
        run.schedule.now += 86400

    return sabotage


def withdraw(run):
    run.accounts["n0"].withdraw()


def as_the_service(run):
    return run.schedule.acting_as(Actor(number=99, name="worker-1/0", process="worker-1"))


def revoke_what_is_stored(run):
    """A call of the service that nobody asked for."""
    families = run.sandbox.google.families
    with as_the_service(run):
        for family in families.live():
            families.end(family, Ending.REVOKED)


def remove_hooks(run):
    hooks = run.sandbox.live_hooks("google")
    run.sandbox.google.drop_subscriptions(run.accounts["n0"].user)
    with as_the_service(run):
        run.wire.hooks_removed("google", hooks)


def refuse_the_repeat(run):
    item = {"at": 1.0, "do": "connect", "account": "n0", "tenant": 0}
    run.people.repeats.append(Repeat(item=item, first=(connection_of(run),), again=(), problem="used up"))


def crowd_out(run):
    """A hundred consents that nobody stores, until the account has no room for the connection's."""
    families = run.sandbox.google.families
    (working,) = [one for one in families.live() if holdings._is_stored(run, one)]
    for number in range(families.rules.most):
        run.schedule.now += 2.0
        family = families.begin(working.client_id, working.user, ())
        families.give(family, f"access {number}", f"refresh {number}", None)


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
    ("busy", ask_for_what_fails, vendors.asks_less_what_fails),
    ("costly", store_one_by_one, cost.is_small_when_quiet),
    ("costly", ask_twice, cost.is_small_when_quiet),
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
    ("killed-by-us", revoke_what_is_stored, holdings.kill_no_working_grant),
    ("hook-killed", remove_hooks, holdings.kill_no_hook_in_use),
    ("hook-of-ended", change_connection(status=ConnectionStatus.REVOKED), holdings.end_hooks_with_connections),
    (
        "given-up-alive",
        change_connection(status=ConnectionStatus.REAUTHORIZATION_REQUIRED),
        holdings.give_up_nothing_alive,
    ),
    ("another-answer", refuse_the_repeat, answers.repeat_what_was_answered),
    ("crowded-out", crowd_out, holdings.kill_no_working_grant),
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
    ("left-over", forget_grant, holdings.end_what_has_to_go),
    ("secret-kept", change_grant(state=GrantState.LEFT), holdings.end_what_has_to_go),
    ("secret-kept", change_subscriptions(status=SubscriptionStatus.ENDED), holdings.end_what_has_to_go),
    ("unended", leave_ending(change_grant, state=GrantState.ENDING), holdings.end_what_has_to_go),
    ("unended", leave_ending(change_subscriptions, status=SubscriptionStatus.ENDING), holdings.end_what_has_to_go),
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


def test_what_was_to_end_may_be_revoked(run):
    """Somebody asked for the connection's end: that its tokens are revoked is no finding, however it ended here."""
    revoke_what_is_stored(run)
    enter(run, "disconnect")
    holdings.kill_no_working_grant(run)
    assert run.schedule.findings == []


def test_what_the_vendor_ends_is_not_ours(run):
    """A user withdraws and the vendor drops a channel: no call of ours did that."""
    run.sandbox.google.drop_subscriptions(run.accounts["n0"].user)
    withdraw(run)
    holdings.kill_no_working_grant(run)
    holdings.kill_no_hook_in_use(run)
    assert run.schedule.findings == []


def test_what_is_left_is_said(run):
    """Tokens and a hook that we say are left may live on, one for each that we name."""
    change_connection(status=ConnectionStatus.REVOKED)(run)
    change_grant(state=GrantState.LEFT)(run)
    change_subscriptions(status=SubscriptionStatus.LEFT)(run)
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


JIRA = Plan(
    seed=1,
    profile="calm",
    accounts=[PlannedAccount("n0", "JiraAccount", 30)],
    items=[
        {"at": 100.0, "do": "connect", "account": "n0", "tenant": 0},
        *({"at": at, "do": "act", "account": "n0", "what": "create", "dice": 1} for at in (900.0, 2000.0)),
    ],
    ends_at=3300.0,
    settles_for=1500.0,
)


def test_a_row_that_was_not_shown_is_missed_at_the_next_commit(monkeypatch):
    """If answers are not heard, each position and each proof that follows from them passes rows."""
    monkeypatch.setattr("tests.simulation.run.judge", lambda _run: None)
    assert Run(JIRA).play() == []
    deaf = Run(JIRA)
    deaf.wire.hear = lambda *_: None
    assert {one.invariant for one in deaf.play()} == {"row-passed"}
