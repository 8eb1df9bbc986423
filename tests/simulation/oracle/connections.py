"""Connections: who ended them, and whether they tell the truth about themselves."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from connectors.domain.flows.reading.schedule import INTERVAL_SETTING
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.health import Health
from tests.simulation.people import LOST, Entry
from tests.simulation.system import build

if TYPE_CHECKING:
    from tests.simulation.run import Run

ENDINGS = ("revoke", "stop", "uninstall")
"""Words in the paths of calls that take something away at a vendor without being a DELETE."""


def end_only_when_told(run: "Run") -> None:
    """A connection that does not work any more was disconnected or withdrawn after its last consent."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is ConnectionStatus.ACTIVE:
                continue
            consents = [one for one in _of(run, name, connection, "connect") if one.is_ok and one.told]
            if not consents:
                continue  # the consent was never answered: nobody knows that it is connected
            last = max(one.began for one in consents)
            ends = [*_of(run, name, connection, "disconnect"), *run.people.deeds(name, "withdraw", *account.deadly)]
            ends += [one for one in run.people.diary if one.item["do"] == "act" and one.item["what"] in account.deadly]
            if account.slug == "slack":  # one install for all tenants
                ends += run.people.deeds(name, "disconnect")
            if not any(one.ended >= last for one in ends):
                text = f"{connection.status}: {connection.status_reason}"
                run.schedule.report("ended-by-us", text, account.slug)


def tell_their_health(run: "Run") -> None:
    """When everything works, connections are healthy; one whose consent is gone says so."""
    api = build(run.around)
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is not ConnectionStatus.ACTIVE:
                continue
            details = api.queries.inspect_connection(connection.tenant_id, connection.id)
            if _is_withdrawn(run, name):
                run.schedule.report(
                    "death-unseen", "the consent is gone, and the connection says it works", account.slug
                )
            elif details.health is Health.DEGRADED and not details.open_gaps and not _refuses(run, account.mount):
                text = f"{connection.last_error or 'a subscription does not work'}"
                run.schedule.report("degraded-for-ever", text, account.slug)


def _refuses(run: "Run", mount: str) -> bool:
    """Whether the vendor itself has refused something since everything works: the error may be its last word."""
    return any(
        one.mount == mount and one.status >= 400 and not one.was_refused and one.at > run.plan.ends_at
        for one in run.wire.log
    )


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


def keep_what_was_answered(run: "Run") -> None:
    """What a change was answered with is there afterwards, unless it was changed again."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            changes = [one for one in _of(run, name, connection, "interval", "erase") if one.told is not None]
            if not changes or not changes[-1].is_ok or changes[-1].item["do"] == "erase":
                continue
            last = changes[-1]
            unanswered = [one for one in _of(run, name, connection, "interval") if not one.is_ok]
            if last.told.id != connection.id or any(one.ended >= last.began for one in unanswered):
                continue
            wanted = last.item["minutes"] * 60
            if connection.metadata.get(INTERVAL_SETTING) != wanted:
                run.schedule.report("answer-undone", "the interval that was answered is not there", account.slug)


def _of(run: "Run", name: str, connection: Connection, *what: str) -> list[Entry]:
    """What was done to the account for that connection's tenant."""
    tenant = run.tenants.index(connection.tenant_id)
    return [one for one in run.people.deeds(name, *what) if one.item.get("tenant") == tenant]
