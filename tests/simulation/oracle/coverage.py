"""What the coverage claims, and whether what was promised arrived."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from connectors.adapters.memory import MemoryDatabase
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.signal import Signal
from tests.simulation.oracle.causes import of_a_claim
from tests.simulation.oracle.looks import LOOKBACK, Shown, working
from tests.simulation.ports.database import Database
from tests.simulation.ports.queue import TaskQueue
from tests.simulation.system import Changes, build
from tests.simulation.truth import Fact
from tests.simulation.world.account import Event

if TYPE_CHECKING:
    from tests.simulation.run import Run

LATE = 3600.0
"""Seconds that a stream of deliveries may lag behind while it counts as unbroken: vendors send again."""

DATED_EARLIER = 60.0
"""Seconds by which the date of what has just appeared may lie back without being odd."""

MOST_TASKS = 2_000
"""Of the undisturbed reader."""


def claims_nothing_false(run: "Run") -> None:
    """No interval covers an event that happened and has no signal, unless an open gap says so."""
    for name in run.accounts:
        facts = run.truth.facts(name)
        for connection in working(run, name):
            shown = Shown(run, connection)
            missing = [fact for fact in shown.missing(facts) if shown.is_promised(fact, name)]
            unsaid = [fact for fact in missing if shown.gap(fact) is None]
            claimed = [(fact, claim) for fact in unsaid if (claim := shown.claim(fact, grace=LATE)) is not None]
            for odd, (fact, claim) in {_seen(shown, one[0]): one for one in reversed(claimed)}.items():
                cause = of_a_claim(run, connection, fact, claim)
                text = f"{fact.event.kind} is claimed by {claim.path} and not there{odd}{cause}{_why(shown)}"
                run.schedule.report("false-claim", text, connection.provider)


def is_complete_or_says_so(run: "Run") -> None:
    """What the vendor shows to an undisturbed reader is here, or an open gap says that it may be missing."""
    for name in run.accounts:
        connections = working(run, name)
        if not connections:
            continue
        facts = run.truth.facts(name)
        memory = run.undisturbed[name] = read_undisturbed(run, name)
        seen = list(memory.signals.values())
        _is_all_read(run, name, facts, seen)
        accounts = {one.id: one.account.id for one in memory.connections.values()}
        shown_once = [_as_fact(one, accounts[one.connection_id], facts) for one in seen]
        for connection in connections:
            shown = Shown(run, connection)
            keys = {one.dedupe_key for one in shown.signals}
            missed = [fact for fact, one in zip(shown_once, seen, strict=True) if one.dedupe_key not in keys]
            unread = [fact for fact in missed if shown.concerns(fact)]
            missing = [fact for fact in [*shown.missing(facts), *unread] if shown.is_promised(fact, name)]
            unsaid = [fact for fact in missing if shown.gap(fact) is None]
            claims = [(fact, shown.claim(fact, grace=0.0)) for fact in unsaid]
            if run.wire.is_told_to_wait(run.accounts[name].mount):
                claims = [(fact, claim) for fact, claim in claims if claim is not None]  # the rest arrives later
            claims.sort(key=lambda one: one[1] is None)
            for odd, (fact, claim) in {_seen(shown, one[0]): one for one in reversed(claims)}.items():
                what = "silently-missing" if claim is None else "false-claim"
                by = "" if claim is None else f", claimed by {claim.path}"
                cause = "" if claim is None else of_a_claim(run, connection, fact, claim)
                text = f"{fact.event.kind} is not there at the end{by}{odd}{cause}{_why(shown)}"
                run.schedule.report(what, text, connection.provider)


def _as_fact(signal: Signal, account: str, facts: list[Fact]) -> Fact:
    """What the undisturbed reader saw, and since when the vendor has shown it, as far as the world says so."""
    known = (one for one in facts if one.event.kind == signal.kind and one.event.title in signal.title)
    fact = next(known, None)
    event = Event(
        kind=signal.kind,
        title=signal.title,
        at=signal.occurred_at,
        external_id=account,
        is_traceless=fact is not None and fact.event.is_traceless,
        note="" if fact is None else fact.event.note,
    )
    return Fact(event, 0.0 if fact is None else fact.since)


def _seen(shown: Shown, fact: Fact) -> str:
    """What is odd about it, and as what else it is there."""
    other = shown.other_kind(fact)
    return f"{_odd(shown.run, fact)}, there as {other}" if other is not None else _odd(shown.run, fact)


def _odd(run: "Run", fact: Fact) -> str:
    """What is odd about it and its date, for those who read the finding."""
    note = f", {fact.event.note}" if fact.event.note else ""
    late = fact.since - run.schedule.second_of(fact.event.at)
    if fact.since > 0 and late > DATED_EARLIER:
        return f"{note}, it appeared later than its date"
    return f"{note}, its date is to come" if run.schedule.second_of(fact.event.at) > run.schedule.now else note


def _why(shown: Shown) -> str:
    """What may have caused it, for those who read the finding."""
    jobs = [one for one in shown.run.database.memory.jobs.values() if one.connection_id == shown.connection.id]
    failed = sorted({f"{one.type} {one.status}: {one.error}" for one in jobs if one.status in {"failed", "cancelled"}})
    return f" ({'; '.join(failed)})" if failed else ""


def _is_all_read(run: "Run", name: str, facts: list[Fact], seen: list[Signal]) -> None:
    """The undisturbed reader shows everything that happened: else it is as blind as the reader that is judged by it."""
    slug = run.accounts[name].slug
    oldest = run.schedule.instant() - LOOKBACK
    titles = {kind: "\n".join(one.title for one in seen if one.kind == kind) for kind in {one.kind for one in seen}}
    unread = (
        fact for fact in facts if fact.event.at >= oldest and fact.event.title not in titles.get(fact.event.kind, "")
    )
    texts = (f"{fact.event.kind} is shown by the vendor and read by nobody{_odd(run, fact)}" for fact in unread)
    for text in dict.fromkeys(texts):
        run.schedule.report("reader-blind", text, slug)


def read_undisturbed(run: "Run", name: str) -> MemoryDatabase:
    """What is stored after a first read and a backfill by a service that knows nothing and that nothing disturbs."""
    account, schedule = run.accounts[name], run.schedule
    database = Database(schedule)
    system = build(run.around, changes=Changes(public_url=None), database=database)
    tenant = TenantId(UUID(int=77))
    started = system.connect.start_authorization(tenant, account.slug, scopes=account.scopes, options=account.options)
    answer = run.wire.exchange("GET", f"{started.authorize_url}&sandbox_user={account.user}", {})
    try:
        system.connect.complete_authorization(account.slug, dict(parse_qsl(urlsplit(answer.headers["location"]).query)))
    except ConflictError:
        return database.memory  # the vendor shows this user nothing any more
    queue = TaskQueue(schedule, database)
    for _ in range(MOST_TASKS):
        task = queue.take("reader")
        if task is None:
            due = queue.next_due()
            if due is None or all(job.is_finished for job in database.memory.jobs.values()):
                break
            schedule.now = max(schedule.now, due)
            continue
        system.tasks.handle_task(task.task)
        queue.finish(task)
    for job in database.memory.jobs.values():
        if job.status not in {"succeeded", "partial"}:  # what it could not read, nobody can
            schedule.report("reader-failed", f"{job.type} {job.status}: {job.error}", account.slug)
    return database.memory
