"""Ends connections: records at once what has to go at the provider, and tries to end it."""

import logging
from uuid import UUID

import attrs

from connectors.domain.flows.endings.endings import Endings
from connectors.domain.flows.endings.records import begin_ending_connection, lock_with_grant
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.model.connection import Connection, ConnectionStatus, ReasonCode
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)

REASONS = {
    ReasonCode.USER_DISCONNECTED: "disconnected here",
    ReasonCode.WITHDRAWN_AT_PROVIDER: "withdrawn at the provider",
    ReasonCode.TENANT_ERASED: "its tenant was erased",
}


@attrs.frozen(kw_only=True)
class DisconnectFlow:
    """Ends connections."""

    unit_of_work: UnitOfWorkFactory
    endings: Endings
    clock: Clock
    jobs: SyncJobs
    ledger: Ledger

    def end_connection(
        self, tenant_id: TenantId, connection_id: ConnectionId, *, code: ReasonCode = ReasonCode.USER_DISCONNECTED
    ) -> Connection:
        """End the connection: unsubscribe, revoke at the provider, destroy the secrets. Its signals stay.

        What has to go at the provider is on record before anything is asked of it, and is tried at once. What it
        refuses for now is tried again in the background for a day, and `end_error` says why. Ending it again is
        harmless.

        Args:
            tenant_id: whose connection.
            connection_id: which.
            code: why.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            TenantNotFoundError: it is being erased.
        """
        while True:
            with self.unit_of_work() as uow:
                connection = uow.connections.get(tenant_id, connection_id)
                if code is not ReasonCode.TENANT_ERASED:
                    uow.tenants.get(tenant_id)  # raises if it is being erased
                if connection.status is ConnectionStatus.REVOKED:
                    return connection
                present = lock_with_grant(uow, tenant_id, connection)
                begun = None if present is None else self.begin(uow, present, code)
            if begun is not None:
                break
        self.endings.try_now(tenant_id, begun)
        log.info("disconnected", extra={"tenant_id": str(tenant_id), "connection_id": str(connection_id)})
        with self.unit_of_work() as uow:
            return uow.connections.get(tenant_id, connection_id)

    def begin(self, uow: UnitOfWork, connection: Connection, code: ReasonCode) -> tuple[UUID, ...]:
        """Record that the connection has ended; what of it has to be ended at the provider now.

        The caller has locked the grant and the connection.
        """
        now = self.clock.now()
        if connection.status is ConnectionStatus.REVOKED:
            return ()
        ended = uow.connections.save(
            attrs.evolve(
                connection.moved_to(ConnectionStatus.REVOKED, at=now, reason=REASONS[code], code=code),
                expires_at=None,
                suspected_at=None,
                sync_error=None,
                webhook_error=None,
                end_error=None,
                updated_at=now,
            )
        )
        begun = begin_ending_connection(uow, ended, now)
        self.jobs.cancel_all(uow, ended)
        uow.schedules.cancel(ended.tenant_id, ended.id)
        # No more events arrive, and those after a new consent prove nothing about the time before it.
        self.ledger.note_stream_ended(uow, ended)
        return begun
