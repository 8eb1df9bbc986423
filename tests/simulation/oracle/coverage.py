"""What the coverage claims, and whether what was promised arrived."""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from connectors.adapters.memory import MemoryDatabase
from connectors.domain.flows.connections.connect import ConnectSettings
from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.signal import Signal
from tests.simulation.oracle.looks import Shown, working
from tests.simulation.ports.database import Database
from tests.simulation.ports.queue import TaskQueue
from tests.simulation.system import Changes, build
from tests.simulation.truth import Fact
from tests.simulation.world.account import Event

if TYPE_CHECKING:
    from tests.simulation.run import Run

LATE = 3600.0
"""Seconds that a stream of deliveries may lag behind while it counts as unbroken: vendors send again."""

LOOKBACK = ConnectSettings().backfill or timedelta()

MOST_TASKS = 2_000
"""Of the undisturbed reader."""


def claims_nothing_false(run: "Run") -> None:
    """No interval covers an event that happened and has no signal, unless an open gap says so."""
    for name in run.accounts:
        facts = run.truth.facts(name)
        for connection in working(run, name):
            shown = Shown(run, connection)
            told: set[str] = set()
            for fact in shown.missing(facts):
                claim = shown.claim(fact, grace=LATE)
                if claim is not None and shown.gap(fact) is None and fact.event.note not in told:
                    text = f"{_name(fact)} is claimed by {claim.path} and not there"
                    run.schedule.report("false-claim", f"{text}{_why(shown)}", connection.provider)
                    told.add(fact.event.note)


def is_complete_or_says_so(run: "Run") -> None:
    """What the vendor shows to an undisturbed reader is here, or an open gap says that it may be missing."""
    for name in run.accounts:
        connections = working(run, name)
        if not connections:
            continue
        facts = run.truth.facts(name)
        memory = _read_undisturbed(run, name)
        seen = list(memory.signals.values())
        _is_all_read(run, name, facts, seen)
        accounts = {one.id: one.account.id for one in memory.connections.values()}
        shown_once = [
            Fact(Event(kind=one.kind, title=one.title, at=one.occurred_at, external_id=account), 0.0)
            for one, account in zip(seen, (accounts[one.connection_id] for one in seen), strict=True)
        ]
        for connection in connections:
            shown = Shown(run, connection)
            keys = {one.dedupe_key for one in shown.signals}
            missed = [fact for fact, one in zip(shown_once, seen, strict=True) if one.dedupe_key not in keys]
            unread = [fact for fact in missed if shown.concerns(fact) and not _is_one_of(facts, fact)]
            missing = [fact for fact in [*shown.missing(facts), *unread] if _is_promised(run, shown, fact)]
            unsaid = [fact for fact in missing if shown.gap(fact) is None]
            for note in dict.fromkeys(fact.event.note for fact in unsaid):
                _tell_missing(run, shown, [fact for fact in unsaid if fact.event.note == note])


def _tell_missing(run: "Run", shown: Shown, unsaid: list[Fact]) -> None:
    """Report facts that miss for the same reason, as one."""
    fact = unsaid[0]
    claim = next((one for one in (shown.claim(fact, grace=0.0) for fact in unsaid) if one is not None), None)
    what = "silently-missing" if claim is None else "false-claim"
    by = "" if claim is None else f", claimed by {claim.path}"
    run.schedule.report(what, f"{_name(fact)} is not there at the end{by}{_why(shown)}", shown.connection.provider)


def _is_one_of(facts: list[Fact], shown_once: Fact) -> bool:
    """Whether the truth has what the undisturbed reader has found."""
    kind, title = shown_once.event.kind, shown_once.event.title
    return any(fact.event.kind == kind and fact.event.title in title for fact in facts)


def _name(fact: Fact) -> str:
    """The kind of event, and what is odd about it."""
    return fact.event.kind + (f" ({fact.event.note})" if fact.event.note else "")


def _is_promised(run: "Run", shown: Shown, fact: Fact) -> bool:
    """What happened since the connection, or within the first backfill's reach before it."""
    created_at = shown.connection.created_at
    return fact.event.at >= created_at - LOOKBACK or fact.since >= run.schedule.second_of(created_at)


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
    for fact in facts:
        if fact.event.at >= oldest and fact.event.title not in titles.get(fact.event.kind, ""):
            run.schedule.report("reader-blind", f"{_name(fact)} is shown by the vendor and read by nobody", slug)
            return


def _read_undisturbed(run: "Run", name: str) -> MemoryDatabase:
    """What is stored after a first read and a backfill by a service that knows nothing and that nothing disturbs."""
    account, schedule = run.accounts[name], run.schedule
    database = Database(schedule)
    system = build(run.around, changes=Changes(public_url=None), database=database)
    tenant = TenantId(UUID(int=77))
    started = system.connect.start_authorization(tenant, account.slug, scopes=account.scopes, options=account.options)
    answer = run.wire.exchange("GET", f"{started.authorize_url}&sandbox_user={account.user}", {})
    try:
        system.connect.complete_authorization(account.slug, dict(parse_qsl(urlsplit(answer.headers["location"]).query)))
    except AccessLostError:
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
        if job.status != "succeeded":
            schedule.report("reader-failed", f"{job.type} {job.status}: {job.error}", account.slug)
    return database.memory
