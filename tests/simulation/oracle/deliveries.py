"""Webhooks that were accepted."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from connectors.domain.flows.webhooks.routing import NO_CONNECTION
from connectors.domain.model.webhook import DeliveryStatus, WebhookDelivery
from tests.simulation.people import LOST

if TYPE_CHECKING:
    from tests.simulation.run import Run

HANDSHAKES = frozenset({("zoho", "announcement"), ("slack", "url_verification")})
"""Of these nothing is kept: they prove that the URL is ours, and tell of no event."""

CLOCKS_DIFFER = timedelta(minutes=10)

IDENTITY = ("x-goog-channel-id", "x-goog-message-number")
"""Headers that tell deliveries without a body apart."""


def are_accounted_for(run: "Run") -> None:
    """What was answered with success is in the inbox; what cannot be read fails there, with a gap."""
    rows = run.database.memory.deliveries.values()
    kept = {_identity(row.headers, row.body) for row in rows}
    erased = [one.ended for one in run.people.diary if one.item["do"] == "erase"]
    for outgoing in run.sandbox.deliveries.log:
        if (outgoing.provider, outgoing.event) in HANDSHAKES:
            continue
        for attempt in outgoing.attempts:
            second = run.schedule.second_of(attempt.at)
            is_kept = _identity(attempt.sent_headers, attempt.sent_body) in kept
            if attempt.is_success and not is_kept and not any(ended >= second for ended in erased):
                text = f"{outgoing.event} was accepted and is not in the inbox"
                run.schedule.report("delivery-lost", text, outgoing.provider)
    for row in rows:
        if row.status is DeliveryStatus.FAILED and not _is_for_an_ended_connection(run, row):
            run.schedule.report("delivery-failed", f"{row.event}: {row.error}", row.provider)


def _is_for_an_ended_connection(run: "Run", row: WebhookDelivery) -> bool:
    """Whether it waits for a new consent: who set a hook up by hand may leave it after a disconnection."""
    ended = [one for one in run.people.diary if one.item["do"] == "disconnect" and (one.is_ok or one.outcome == LOST)]
    until = row.received_at + CLOCKS_DIFFER
    return (
        row.error == NO_CONNECTION
        and row.connection_id is not None
        and any(
            run.tenants[one.item["tenant"]] == row.tenant_id and run.schedule.instant_of(one.began) <= until
            for one in ended
        )
    )


def are_there_once(run: "Run") -> None:
    """A delivery that the vendor sent twice is one row."""
    rows = run.database.memory.deliveries.values()
    for (_, provider, _id), number in Counter((one.tenant_id, one.provider, one.delivery_id) for one in rows).items():
        if number > 1:
            run.schedule.report("twice", f"a delivery is there {number} times", provider)
            return


def _identity(headers: Mapping[str, str], body: bytes) -> tuple[str | None, ...] | bytes:
    """What makes a delivery the same one if it is sent again."""
    lower = {name.lower(): value for name, value in headers.items()}
    return body or tuple(lower.get(name) for name in IDENTITY)
