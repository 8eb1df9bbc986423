"""The vendors' senders: deliveries late, twice, out of order, and to a service that is down."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from connectors.entrypoints.library import Connectors
from connectors.entrypoints.webhook_endpoint import WebhookAnswer, answer_webhook
from connectors_sandbox.delivery import Attempt, Disorder, Outgoing
from tests.simulation.processes import ConnectionLostError
from tests.simulation.system import PUBLIC_URL

if TYPE_CHECKING:
    from tests.simulation.run import Run

TRAVEL = (0.05, 0.05, 0.2, 0.2, 1.0, 1.0, 5.0)
"""Seconds that a delivery may take."""


@attrs.define(eq=False)
class Mail:
    """Sends what the vendors have queued."""

    run: "Run"
    seed: int
    late: float = 0.0
    """For the time being, deliveries may take up to so many seconds more."""
    deaf: float = 0.0
    """For the time being, this share of the service's answers is lost."""
    _random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(f"mail {self.seed}")

    def heal(self) -> None:
        """From now on, everything is delivered once and soon."""
        self.late = self.deaf = 0.0
        self.run.sandbox.deliveries.disorder = Disorder()

    def work(self) -> None:
        """Send whatever is due, for ever."""
        schedule, deliveries = self.run.schedule, self.run.sandbox.deliveries
        while True:
            due_at = deliveries.next_due_at()
            until = None if due_at is None else max(schedule.second_of(due_at), schedule.now)
            schedule.wait(deliveries.has_due, "deliveries", until=until)
            for outgoing in deliveries.take_due():
                travel = self._random.choice(TRAVEL) + self._random.random() * self.late
                schedule.spawn("sender", self._sender(outgoing), at=schedule.now + travel)
            schedule.sleep(0.01, "deliver")

    def _sender(self, outgoing: Outgoing) -> Callable[[], None]:
        def send() -> None:
            self.run.sandbox.deliveries.attempt(outgoing)

        return send

    def send(self, outgoing: Outgoing, prepared: Attempt, _timeout: float) -> Attempt:
        """One attempt: the service's answer, or none."""
        run = self.run
        path = urlsplit(outgoing.url).path
        try:
            answer = run.processes.call("api:webhook", lambda api: self._receive(api, path, prepared))
        except ConnectionLostError:
            run.schedule.note("delivered", outgoing.provider, "to nobody")
            return attrs.evolve(prepared, error="ConnectionError")
        except Exception as error:  # noqa: BLE001 - reported
            run.schedule.report(
                "webhook-crash", f"{outgoing.event}: {type(error).__name__}: {error}", outgoing.provider
            )
            return attrs.evolve(prepared, status=500)
        run.schedule.note("delivered", outgoing.provider, answer.status)
        if self.deaf and self._random.random() < self.deaf:
            return attrs.evolve(prepared, error="Timeout")
        return attrs.evolve(prepared, status=answer.status, body=answer.body)

    @staticmethod
    def _receive(api: Connectors, path: str, prepared: Attempt) -> WebhookAnswer:
        # A service that has moved, or believes that it has no address, still answers at its old one.
        url = f"{api.public_url or PUBLIC_URL}{path}"
        return answer_webhook(api, method="POST", url=url, headers=prepared.sent_headers, body=prepared.sent_body)
