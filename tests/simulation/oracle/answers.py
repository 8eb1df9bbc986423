"""What an answer said stays, until somebody changes it."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connectors.domain.flows.reading.schedule import INTERVAL_SETTING
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import TenantId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.sync import JobStatus
from tests.simulation.oracle.looks import deeds_of, erasures
from tests.simulation.people import Entry

if TYPE_CHECKING:
    from tests.simulation.run import Run

ANSWERED_WITHIN = 5.0
"""Seconds within which the API answers what it need not ask a vendor for."""

UNHINDERED = frozenset({"calm", "vendors"})
"""Profiles in which neither the database nor a machine is slow, and no process dies."""

NEEDED_TO_END = frozenset({"tenants", "connections", "grants", "subscriptions", "schedules", "tasks"})
"""Tables with what ends hooks and tokens of an erased tenant."""

OWN_DEEDS = frozenset({"interval", "cancel", "sync", "backfill"})
"""What the API answers by itself."""


def keep_what_was_answered(run: "Run") -> None:
    """What a deed was answered with is there afterwards, unless it was changed again."""
    for entry in run.people.diary:
        if entry.is_ok and entry.told is not None and entry.item["do"] in KEPT and not _is_erased(run, entry):
            undone = KEPT[entry.item["do"]](run, entry)
            if undone is not None:
                run.schedule.report("answer-undone", undone, run.accounts[entry.item["account"]].slug)


def repeat_what_was_answered(run: "Run") -> None:
    """A callback that comes once more is answered with the connections of the first."""
    for one in run.people.repeats:
        if {each.id for each in one.again} != {each.id for each in one.first}:
            text = f"a repeated callback is answered otherwise: {one.problem or 'with other connections'}"
            run.schedule.report("another-answer", text, run.accounts[one.item["account"]].slug)


def _is_erased(run: "Run", entry: Entry) -> bool:
    return any(one.ended >= entry.began for one in erasures(run, entry.item["tenant"]))


def _connect(run: "Run", entry: Entry) -> str | None:
    rows = run.database.memory.connections
    is_there = all(rows.get((one.tenant_id, one.id)) is not None for one in entry.told)
    return None if is_there else "the connection that was answered is not there"


def _disconnect(run: "Run", entry: Entry) -> str | None:
    again = [one for one in deeds_of(run, entry, "connect") if one.ended >= entry.began]
    present = run.database.memory.connections.get((entry.told.tenant_id, entry.told.id))
    if again or (present is not None and present.status is ConnectionStatus.REVOKED):
        return None
    return "the connection that was ended is not ended"


def _job(run: "Run", entry: Entry) -> str | None:
    is_there = run.database.memory.jobs.get((entry.told.tenant_id, entry.told.id)) is not None
    return None if is_there else "the job that was answered is not there"


def _backfill(run: "Run", entry: Entry) -> str | None:
    job = run.database.memory.jobs.get((entry.told.tenant_id, entry.told.id))
    wanted = run.schedule.instant_of(entry.ended) - timedelta(days=entry.item["days"])
    # Clocks differ by minutes.
    if job is not None and job.since is not None and job.since > wanted + timedelta(minutes=10):
        return "the backfill that was answered reads less than was asked for"
    return _job(run, entry)


def _cancel(run: "Run", entry: Entry) -> str | None:
    jobs = [run.database.memory.jobs.get((one.tenant_id, one.id)) for one in entry.told]
    is_kept = all(one is not None and one.status is JobStatus.CANCELLED for one in jobs)
    return None if is_kept else "the job that was cancelled is not cancelled"


def _interval(run: "Run", entry: Entry) -> str | None:
    # Whoever sets it at the same time, or later and is not answered, may have had the last word.
    others = [one for one in deeds_of(run, entry, "interval") if one is not entry and one.ended >= entry.began]
    present = run.database.memory.connections.get((entry.told.tenant_id, entry.told.id))
    if others or (present is not None and present.metadata.get(INTERVAL_SETTING) == entry.item["minutes"] * 60):
        return None
    return "the interval that was answered is not there"


KEPT: dict[str, Any] = {
    "connect": _connect,
    "disconnect": _disconnect,
    "sync": _job,
    "backfill": _backfill,
    "cancel": _cancel,
    "interval": _interval,
}
"""By deed: what is undone of its answer, in words."""


def erase_everything(run: "Run") -> None:
    """A tenant whose erasure was answered has no row in any table, unless somebody connected for it again.

    While something of it has to go at a vendor, what that needs is kept.
    """
    for number, tenant_id in enumerate(run.tenants):
        done = [one for one in erasures(run, number) if one.is_ok]
        again = [one for one in run.people.diary if one.item["do"] == "connect" and one.item["tenant"] == number]
        if not done or any(one.ended >= min(entry.began for entry in done) for one in again):
            continue
        kept = NEEDED_TO_END if _is_ending(run, tenant_id) else frozenset()
        for name, table in vars(run.database.memory).items():
            if name in kept:
                continue
            if hasattr(table, "remove_tenant") and any(key[0] == tenant_id for key, _ in table.items()):
                run.schedule.report("not-erased", f"the tenant was erased, and {name} has rows of it")


def _is_ending(run: "Run", tenant_id: TenantId) -> bool:
    memory = run.database.memory
    grants = [row.grant for row in memory.grants.values() if row.grant.tenant_id == tenant_id]
    return any(one.state in {GrantState.NEW, GrantState.ENDING} for one in grants) or any(
        one.tenant_id == tenant_id and one.is_ending for one in memory.subscriptions.values()
    )


def are_given_soon(run: "Run") -> None:
    """However slow a vendor is, the API answers soon what it can answer by itself."""
    if run.plan.profile not in UNHINDERED:
        return
    for entry in run.people.diary:
        if entry.item["do"] in OWN_DEEDS and entry.ended - entry.began > ANSWERED_WITHIN:
            slug = run.accounts[entry.item["account"]].slug
            run.schedule.report("answered-late", f"{entry.item['do']}: after more than {ANSWERED_WITHIN:.0f} s", slug)
