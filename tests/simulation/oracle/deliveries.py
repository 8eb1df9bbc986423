"""Webhooks that were accepted."""

from typing import TYPE_CHECKING

from connectors.domain.model.webhook import DeliveryStatus

if TYPE_CHECKING:
    from tests.simulation.run import Run

HANDSHAKES = frozenset({"announcement", "url_verification"})
"""Of these nothing is kept, on purpose."""


def are_accounted_for(run: "Run") -> None:
    """What was answered with success is in the inbox; what cannot be read fails there, with a gap."""
    rows = run.database.memory.deliveries.values()
    bodies = {row.body for row in rows}
    is_erased = any(entry.item["do"] == "erase" for entry in run.people.diary)
    for outgoing in run.sandbox.deliveries.log:
        for attempt in outgoing.attempts:
            is_kept = not attempt.sent_body or attempt.sent_body in bodies or outgoing.event in HANDSHAKES
            if attempt.is_success and not is_kept and not is_erased:
                run.schedule.report(
                    "delivery-lost", f"{outgoing.event} was accepted and is not in the inbox", outgoing.provider
                )
    for row in rows:
        if row.status is DeliveryStatus.FAILED:
            run.schedule.report("delivery-failed", f"{row.event}: {row.error}", row.provider)
