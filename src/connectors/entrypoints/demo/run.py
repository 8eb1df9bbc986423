"""The demonstration: connect every provider, let things happen there, read the resulting signals."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import attrs

from connectors.entrypoints.demo.core import Core, Json
from connectors.entrypoints.demo.scenes import Scene
from connectors.entrypoints.demo.stage import Stage
from connectors_sandbox.delivery import Attempt, Outgoing

DUPLICATES = 3
"""Deliveries that each vendor sends twice: enough to show that nothing is doubled."""

FORGED = "forged-"
"""Prefix of the ids of deliveries whose signature is not the vendor's."""


@attrs.frozen(kw_only=True)
class Result:
    """The outcome of the demonstration."""

    tenant_id: str
    connections: Sequence[Json]
    deliveries: Json
    """How many were accepted, how many were duplicates, and how many had a bad signature."""
    signals: Sequence[Json]

    def summary(self) -> dict[str, Any]:
        """The result as one JSON object."""
        return {
            "tenant_id": self.tenant_id,
            "connections": list(self.connections),
            "deliveries": self.deliveries,
            "signals_by_provider": _count(self.signals, "provider"),
            "signals_by_kind": _count(self.signals, "kind"),
        }


def play(stage: Stage, scenes: Sequence[Scene]) -> Result:
    """The outcome of all scenes, played for a new tenant."""
    core = Core(stage, str(uuid4()))
    sandbox = stage.sandbox.sandbox
    attempts: list[Attempt] = []
    for scene in scenes:
        connection = core.connect(scene.slug, scene.options)
        scene.finish(sandbox, core.webhook_url(connection))
        sandbox.deliver_pending()
        stage.read(core.tenant_id, connection["id"])  # the baseline: what exists already gives no signals
        scene.play(sandbox)
        sent = sandbox.deliver_pending()
        for outgoing in [one for one in sent if one.provider == sent[-1].provider][-DUPLICATES:]:
            sandbox.deliveries.redeliver(outgoing)
        sent += sandbox.deliver_pending()
        if sent:
            sandbox.deliveries.send_now(_forged(sent[-1]))
        attempts += [outgoing.attempts[-1] for outgoing in sent]
        stage.read(core.tenant_id, connection["id"])
    inbox = core.deliveries()
    rejected = [one for one in sandbox.deliveries.log if one.id.startswith(FORGED) and not one.attempts[-1].is_success]
    received = sum(attempt.is_success for attempt in attempts)
    return Result(
        tenant_id=core.tenant_id,
        connections=core.connections(),
        deliveries={"accepted": len(inbox), "duplicate": received - len(inbox), "rejected": len(rejected)},
        signals=core.signals(),
    )


def _forged(outgoing: Outgoing) -> Outgoing:
    """A copy of a delivery with a signature that is not the vendor's."""
    attempt = outgoing.attempts[-1]
    return Outgoing(
        provider=outgoing.provider,
        url=outgoing.url,
        event=outgoing.event,
        body=attempt.sent_body,
        headers={name: _spoiled(name, value) for name, value in attempt.sent_headers.items()},
        id=f"{FORGED}{outgoing.id}",
    )


def _spoiled(name: str, value: str) -> str:
    is_proof = any(word in name.lower() for word in ("signature", "token", "authorization"))
    return value[:-8] + value[-8:].swapcase()[::-1] + "0" if is_proof else value


def _count(signals: Sequence[Json], member: str) -> dict[str, int]:
    return dict(sorted(Counter(signal[member] for signal in signals).items()))
