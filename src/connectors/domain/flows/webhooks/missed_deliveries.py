"""Deliveries that never arrived according to the vendor's own log: recorded as gaps, then requested again."""

import logging
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.session import ProviderSession
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import GapCause, GapClosedBy
from connectors.domain.model.errors import ProviderFailedError, RateLimitedError
from connectors.domain.model.webhook import DeliveryStatus, Subscription
from connectors.domain.providers.contract import MissedDelivery, Subscriptions
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

AUDIT_OVERLAP = timedelta(hours=1)
"""How far back before the last audit the vendor's log is read again: a delivery may have been in flight then."""

IN_FLIGHT = timedelta(minutes=1)
"""Younger deliveries do not count as missed: the vendor may still be sending them."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class MissedDeliveries:
    """Finds missed deliveries and requests them again."""

    unit_of_work: UnitOfWorkFactory
    ledger: Ledger

    def recover(
        self,
        session: ProviderSession,
        subscriptions: Subscriptions,
        subscription: Subscription,
        *,
        last_audit_at: datetime,
        now: datetime,
    ) -> None:
        """Record a gap for each missed delivery, then ask the vendor to send them again.

        Raises:
            ProviderFailedError: the vendor did not show its log, or limits us. The gaps recorded so far stay.
            InfrastructureError: our database failed.
        """
        if subscriptions.missed is None:
            return
        since = last_audit_at - AUDIT_OVERLAP
        found = session.run(subscriptions.missed(session.app, session.connection, subscription, since))
        old_enough = [delivery for delivery in found if delivery.at <= now - IN_FLIGHT]
        # Record all of them first: the vendor may refuse the first redelivery.
        lost = [delivery for delivery in old_enough if self._record_gap(session, delivery)]
        if subscriptions.redeliver is None:
            return
        for delivery in lost:
            try:
                session.run(subscriptions.redeliver(session.app, session.connection, subscription, delivery))
            except RateLimitedError:
                raise
            except ProviderFailedError as error:
                log.warning("redelivery_failed", extra={"reason": error.message})

    def close_recovered(self, uow: UnitOfWork, connection: Connection) -> None:
        """Close the gaps of deliveries that have arrived since."""
        for gap in uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=True):
            if gap.cause is GapCause.DELIVERY_MISSED and _has_arrived(uow, connection, gap.reference):
                self.ledger.close(uow, gap, GapClosedBy.WEBHOOK)

    def _record_gap(self, session: ProviderSession, delivery: MissedDelivery) -> bool:
        """Record the delivery's gap if it is really missing; whether it is."""
        with self.unit_of_work() as uow:
            if _has_arrived(uow, session.connection, delivery.delivery_id):
                return False
            self.ledger.open_gap(
                uow,
                session.connection,
                self.ledger.family_names(session.provider, delivery.event),
                GapCause.DELIVERY_MISSED,
                "The provider could not deliver an event.",
                from_at=delivery.at,
                to_at=delivery.at,
                reference=delivery.delivery_id,
            )
            return True


def _has_arrived(uow: UnitOfWork, connection: Connection, delivery_id: str) -> bool:
    row = uow.deliveries.find_by_delivery_id(connection.tenant_id, connection.provider, delivery_id)
    return row is not None and row.status is not DeliveryStatus.FAILED
