"""The inbox: stores a delivery, its signals and what follows from it, in the caller's transaction."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import attrs

from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.flows.webhooks.routing import Outcome, is_outdated
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.coverage import GapCause, GapClosedBy
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError
from connectors.domain.model.ids import UNROUTED, ConnectionId, SignalId, TenantId
from connectors.domain.model.signal import Origin, Signal
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import proof_task
from connectors.domain.model.webhook import DeliveryStatus, Lifecycle, Recorded, WebhookDelivery, WebhookEvent
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWork

PROOF_IS_LOST = timedelta(minutes=2)
"""If the task that asks for proof has not run by then, the schedule queues another one."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Inbox:
    """Stores deliveries."""

    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    jobs: SyncJobs
    ledger: Ledger
    scheduler: Scheduler
    telemetry: Telemetry

    def keep(self, uow: UnitOfWork, outcome: Outcome) -> Recorded:
        """Store the signals and the delivery and, unless it is a duplicate, what follows from it."""
        self._lock_changed(uow, outcome)
        added = self._record_signals(uow, outcome)
        row = attrs.evolve(outcome.row, signal_count=added)
        recorded = uow.deliveries.record(row)
        if recorded is Recorded.NEW:
            self._follow_up(uow, outcome)
            self._open_gaps(uow, outcome)
            if row.status is not DeliveryStatus.FAILED:
                self._close_missed(uow, row)
        elif row.status is DeliveryStatus.PROCESSED:
            self._settle_failed(uow, outcome, row)
        return recorded

    def settle(self, uow: UnitOfWork, row: WebhookDelivery, outcomes: Sequence[Outcome]) -> WebhookDelivery:
        """The stored delivery after a replay, with what these outcomes add. They may concern other tenants too."""
        added = 0
        for outcome in outcomes:
            if outcome.row.tenant_id != row.tenant_id:
                self.keep(uow, outcome)
                continue
            added += self._record_signals(uow, outcome)
            if row.status is not DeliveryStatus.PROCESSED:
                self._follow_up(uow, outcome)
        settled = attrs.evolve(
            outcomes[0].row,
            id=row.id,
            tenant_id=row.tenant_id,
            connection_id=outcomes[0].row.connection_id if row.tenant_id != UNROUTED else None,
            headers=row.headers,
            signal_count=row.signal_count + added,
        )
        uow.deliveries.settle(settled)
        for outcome in outcomes:
            if outcome.row.tenant_id == row.tenant_id:
                self._close_gaps(uow, attrs.evolve(outcome, row=settled))
        return settled

    def report(self, outcomes: Sequence[Outcome], recorded: Recorded) -> None:
        """Report a stored delivery to telemetry."""
        now = self.clock.now()
        for outcome in outcomes:
            self.telemetry.delivery_accepted(outcome.row.provider, outcome.row.status, recorded)
            if recorded is Recorded.NEW:
                for _, event in outcome.connections:
                    for draft in event.signals:
                        self.telemetry.signal_visible(outcome.row.provider, Origin.WEBHOOK, now - draft.occurred_at)

    @staticmethod
    def find_connection(uow: UnitOfWork, row: WebhookDelivery) -> Connection | None:
        """The delivery's connection, or None if it has none or it was erased."""
        if row.connection_id is None:
            return None
        try:
            return uow.connections.get(row.tenant_id, row.connection_id)
        except ConnectionNotFoundError:
            return None

    def _lock_changed(self, uow: UnitOfWork, outcome: Outcome) -> None:
        # A sync locks the connection and then writes signals. In the other order, the two could deadlock.
        for connection, event in outcome.connections:
            if event.lifecycle is not None or event.connection_metadata:
                uow.connections.get(connection.tenant_id, connection.id, lock=True)

    def _settle_failed(self, uow: UnitOfWork, outcome: Outcome, row: WebhookDelivery) -> None:
        """Settle a delivery that failed the first time and could be read when it was sent again."""
        present = uow.deliveries.find_by_delivery_id(row.tenant_id, row.provider, row.delivery_id, lock=True)
        if present is not None and present.status is DeliveryStatus.FAILED:
            uow.deliveries.settle(
                attrs.evolve(row, id=present.id, signal_count=present.signal_count + row.signal_count)
            )
            self._follow_up(uow, outcome)
            self._close_gaps(uow, attrs.evolve(outcome, row=attrs.evolve(row, id=present.id)))

    def _open_gaps(self, uow: UnitOfWork, outcome: Outcome) -> None:
        """Record that events may be missing until the unread delivery is replayed or a sync has read them."""
        row = outcome.row
        for connection in outcome.missed_by:
            self.ledger.open_gap(
                uow,
                connection,
                self.ledger.family_names(self.providers.get(row.provider), row.event),
                GapCause.DELIVERY_FAILED,
                "A webhook delivery could not be read.",
                from_at=row.received_at,
                to_at=row.received_at,
                reference=str(row.id),
            )

    def _close_gaps(self, uow: UnitOfWork, outcome: Outcome) -> None:
        """Close the gaps of a delivery for those that have got it now."""
        row = outcome.row
        owners = [connection.id for connection, _ in outcome.connections]
        if row.status is not DeliveryStatus.FAILED and row.connection_id is not None:
            owners.append(row.connection_id)
        for connection_id in dict.fromkeys(owners):
            self._close(uow, row.tenant_id, connection_id, GapCause.DELIVERY_FAILED, str(row.id))

    def _close_missed(self, uow: UnitOfWork, row: WebhookDelivery) -> None:
        """Close the gap of a delivery that the provider's log had listed as lost and that has now arrived."""
        webhooks = self.providers.get(row.provider).webhooks
        keeps_log = webhooks is not None and webhooks.subscriptions is not None and webhooks.subscriptions.missed
        if keeps_log and row.connection_id is not None:
            self._close(uow, row.tenant_id, row.connection_id, GapCause.DELIVERY_MISSED, row.delivery_id)

    def _close(
        self, uow: UnitOfWork, tenant_id: TenantId, connection_id: ConnectionId, cause: GapCause, reference: str
    ) -> None:
        for gap in uow.coverage.list_gaps(tenant_id, connection_id, is_open=True):
            if gap.cause is cause and gap.reference == reference:
                self.ledger.close(uow, gap, GapClosedBy.WEBHOOK)

    def _record_signals(self, uow: UnitOfWork, outcome: Outcome) -> int:
        signals = [
            Signal.from_draft(
                draft,
                connection,
                # Made now: after a replay the signals arrive now, and the feed is sorted by id.
                SignalId(self.entropy.uuid7(self.clock.now())),
                received_at=outcome.row.received_at,
                origin=Origin.WEBHOOK,
            )
            for connection, event in outcome.connections
            for draft in event.signals
        ]
        return len(uow.signals.record_all(signals)) if signals else 0

    def _follow_up(self, uow: UnitOfWork, outcome: Outcome) -> None:
        # Rows are locked in one order everywhere: connections before what is read of them.
        for connection, event in outcome.connections:
            self._change_connection(uow, connection, event)
        for connection, event in outcome.connections:
            if event.needs_sync:
                self._enqueue(uow, connection, event)

    def _enqueue(self, uow: UnitOfWork, connection: Connection, event: WebhookEvent) -> None:
        try:
            self.jobs.enqueue(uow, connection, JobType.WEBHOOK, target=event.sync_target)
        except ConflictError as error:
            # The connection needs its user first. What changes until then is read once it works again.
            log.info("sync_not_queued", extra={"connection_id": str(connection.id), "reason": error.message})

    def _change_connection(self, uow: UnitOfWork, connection: Connection, event: WebhookEvent) -> None:
        if event.lifecycle is None and not event.connection_metadata:
            return
        now = self.clock.now()
        present = uow.connections.get(connection.tenant_id, connection.id, lock=True)
        changed = attrs.evolve(present, metadata={**present.metadata, **event.connection_metadata}, updated_at=now)
        is_said_dead = event.lifecycle is Lifecycle.REVOKED and not is_outdated(event, present)
        if is_said_dead and present.status is not ConnectionStatus.REVOKED:
            # Believed only with proof: it may be late, and about a former consent.
            changed = attrs.evolve(changed, suspected_at=present.suspected_at or now)
            self.scheduler.plan_proof(uow, changed, PROOF_IS_LOST)
            uow.queue.put(proof_task(changed.tenant_id, changed.id))
            log.warning("connection_suspected", extra={"connection_id": str(connection.id), "event": event.event})
        uow.connections.save(changed)
