"""Connections: who ended them, and whether they tell the truth about themselves."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import SubscriptionStatus
from tests.simulation.oracle.looks import deaths, erasures, forgotten_tokens, is_told, mortal_consents, working
from tests.simulation.people import LOST, Entry
from tests.simulation.system import build

if TYPE_CHECKING:
    from tests.simulation.run import Run

LONGEST_UNREAD = timedelta(minutes=90)
"""Half as long again as the longest interval that a run sets."""

SOON = timedelta(hours=1)
"""About as long as faults last before everything works."""

ENDINGS = ("revoke", "stop", "uninstall")
"""Words in the paths of calls that take something away at a vendor without being a DELETE."""


def end_only_when_told(run: "Run") -> None:
    """A connection that does not work any more was disconnected or withdrawn after its last consent."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is ConnectionStatus.ACTIVE:
                continue
            consents = [one for one in _of(run, name, connection, "connect") if one.is_ok and is_told(one, connection)]
            if not consents:
                continue  # no answer ever named it: nobody knows that it is connected
            last = max(one.began for one in consents)
            ends = [*_of(run, name, connection, "disconnect"), *deaths(run, name)]
            ends += erasures(run, run.tenants.index(connection.tenant_id))
            if account.slug == "slack":  # one install for all tenants
                ends += run.people.deeds(name, "disconnect")
            is_lost = account.refreshes_once and any(one.at >= last for one in forgotten_tokens(run, account.mount))
            is_lost = is_lost or _has_no_refresh_token(run, name, consents, ends)
            if not is_lost and not any(one.ended >= last for one in ends):
                text = f"{connection.status}: {connection.status_reason}"
                text += " (its tokens had to make room for others of their user)" * run.holdings.made_room(connection)
                run.schedule.report("ended-by-us", text, account.slug)


def _has_no_refresh_token(run: "Run", name: str, consents: list[Entry], ends: list[Entry]) -> bool:
    """Whether the vendor gave none with the last of these consents, and none of an earlier one could be kept."""
    *earlier, last = sorted(consents, key=lambda one: one.began)
    since = max((one.ended for one in ends if one.ended < last.began), default=0.0)
    return last in mortal_consents(run, name) and all(one.began < since for one in earlier)


def tell_their_health(run: "Run") -> None:
    """When everything works, connections are healthy; one whose consent is gone says so."""
    api = build(run.around)
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is not ConnectionStatus.ACTIVE:
                continue
            details = api.queries.inspect_connection(connection.tenant_id, connection.id)
            is_own = connection in working(run, name)
            is_waiting = details.health is not Health.HEALTHY and run.wire.is_told_to_wait(account.mount)
            if (
                is_own
                and not is_waiting
                and (_is_withdrawn(run, name) or (account.shows_tokens and not account.tokens()))
            ):
                run.schedule.report(
                    "death-unseen", "the consent is gone, and the connection says it works", account.slug
                )
            elif (
                details.health is Health.DEGRADED
                and (connection.last_error is not None or not details.open_gaps)
                and not _has_reason(run, account.mount)
                and not _is_refused_to_all(run, name, connection)
                and not _is_tried_again(run, connection)
            ):
                text = f"{connection.last_error or 'a subscription does not work'}"
                run.schedule.report("degraded-for-ever", text, account.slug)


def tell_what_fails(run: "Run") -> None:
    """A connection that says it is healthy was read lately, and its last read has not failed."""
    now = run.schedule.instant()
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if health_of(connection) is not Health.HEALTHY:
                continue
            read_at = connection.last_synced_at or connection.created_at
            reads = [
                job
                for job in run.database.memory.jobs.find("connection", (connection.tenant_id, connection.id))
                if job.type is JobType.INCREMENTAL and job.updated_at > read_at
            ]
            if any(job.error and job.status is JobStatus.FAILED for job in reads):
                run.schedule.report("failure-unsaid", "a read failed, and the connection is healthy", account.slug)
            elif now - max(read_at, _last_planned(run, name)) > LONGEST_UNREAD:
                minutes = LONGEST_UNREAD.total_seconds() / 60
                text = f"nothing was read for {minutes:.0f} minutes, and the connection is healthy"
                waits = sorted({f"{job.status}: {job.error}" for job in reads if job.error})
                run.schedule.report("failure-unsaid", f"{text} ({'; '.join(waits)})", account.slug)


def _last_planned(run: "Run", name: str) -> datetime:
    """When people last did what plans the next read again, an interval from then."""
    deeds = run.people.deeds(name, "connect", "interval")
    return run.schedule.instant_of(max((one.ended for one in deeds), default=0.0))


def _is_refused_to_all(run: "Run", name: str, connection: Connection) -> bool:
    """Whether what it cannot read cannot be read by an undisturbed reader either, and nothing else is wrong."""
    aside = {StreamStatus.BLOCKED, StreamStatus.UNREADABLE}
    rows = run.database.memory.streams.find("connection", (connection.tenant_id, connection.id))
    ours = {row.key for row in rows if row.status in aside}
    reasons = [row.reason for row in rows if row.status in aside and row.reason]
    if connection.webhook_error is not None and not any(one in connection.webhook_error for one in reasons):
        return False
    parked = run.database.memory.parked.find("connection", (connection.tenant_id, connection.id))
    waiting = [one.next_at > run.schedule.instant() for one in parked if one.closed_at is None]
    if not ours and waiting and all(waiting):
        return True  # single things, asked for again later and later: their turn has not come since
    if connection not in working(run, name):
        return bool(ours)  # another user's: nobody knows what that one may read
    if not ours:
        return False
    theirs = {row.key for row in run.undisturbed[name].streams.values() if row.status is StreamStatus.READY}
    return ours.isdisjoint(theirs)


def _is_tried_again(run: "Run", connection: Connection) -> bool:
    """Whether its hooks failed while things went wrong, were not asked for since, and soon are."""
    memory, now = run.database.memory, run.schedule.instant()
    healed_at = run.schedule.instant_of(run.plan.ends_at)
    hooks = [one for one in memory.subscriptions.values() if one.connection_id == connection.id]
    failed = [one for one in hooks if one.status is SubscriptionStatus.FAILED]
    is_planned = any(
        entry.kind is TaskKind.MAINTAIN and entry.subject_id == connection.id and entry.next_at <= now + SOON
        for entry in memory.schedules.values()
    )
    return is_planned and bool(failed) and all(one.updated_at < healed_at for one in failed)


def _has_reason(run: "Run", mount: str) -> bool:
    return run.wire.is_told_to_wait(mount) or _refuses(run, mount)


def _refuses(run: "Run", mount: str) -> bool:
    """Whether the vendor itself, now that everything works, refuses something that it did not grant later."""
    last_word = {
        (one.method, one.path): one.status
        for one in run.wire.log
        if one.mount == mount and not one.was_refused and one.at > run.plan.ends_at
    }
    return any(status >= HTTPStatus.BAD_REQUEST for status in last_word.values())


def _is_withdrawn(run: "Run", name: str) -> bool:
    """Whether the last thing that happened to the consent is that it was withdrawn."""
    withdrawals = run.people.deeds(name, "withdraw")
    consents = run.people.deeds(name, "connect")
    if not withdrawals:
        return False
    return max(one.ended for one in withdrawals) > max((one.ended for one in consents), default=0.0)


def finish_what_they_began(run: "Run") -> None:
    """A disconnection that has taken something away at the vendor is finished, even if its process has died."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is ConnectionStatus.REVOKED:
                continue
            for entry in _of(run, name, connection, "disconnect"):
                later = [one for one in _of(run, name, connection, "connect") if one.ended > entry.began]
                if entry.outcome == LOST and not later and _took_something_away(run, account.mount, entry):
                    text = "a disconnection that had begun at the vendor is forgotten"
                    run.schedule.report("half-ended", text, account.slug)


def _took_something_away(run: "Run", mount: str, entry: Entry) -> bool:
    return any(
        one.by == "api:disconnect"
        and one.mount == mount
        and (one.method == "DELETE" or any(word in one.path for word in ENDINGS))
        and HTTPStatus.OK <= one.status < HTTPStatus.MULTIPLE_CHOICES
        and entry.began <= one.at <= entry.ended
        for one in run.wire.log
    )


def _of(run: "Run", name: str, connection: Connection, *what: str) -> list[Entry]:
    """What was done to the account for that connection's tenant."""
    tenant = run.tenants.index(connection.tenant_id)
    return [one for one in run.people.deeds(name, *what) if one.item.get("tenant") == tenant]
