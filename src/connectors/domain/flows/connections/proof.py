"""Asks providers whether connections still work that are said, or were found, to be dead."""

import logging
from datetime import timedelta

import attrs

from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.endings.records import lock_with_grant
from connectors.domain.flows.provider_access.conversations import NOT_ABOUT_THE_TOKEN, FixedTokens
from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.model.connection import Connection, ConnectionStatus, ReasonCode
from connectors.domain.model.errors import ConnectorsError, InfrastructureError, ReauthorizationRequiredError
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.tasks import TaskKind
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory

SHORTEST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
"""Before the provider is asked again. Between the two, each pause is as long as all before together."""

GIVE_UP_AFTER = timedelta(days=1)
"""A dead token is not asked for any longer: a vendor that refused it by mistake has noticed by then."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ConnectionProof:
    """Proves that connections have ended, or work."""

    unit_of_work: UnitOfWorkFactory
    access: ProviderAccess
    keeper: TokenKeeper
    scheduler: Scheduler
    disconnect: DisconnectFlow
    clock: Clock

    def prove(self, tenant_id: TenantId, connection_id: ConnectionId) -> None:
        """Ask the provider whether the connection still works, and record the answer.

        A connection that the provider is said to have ended is ended here too if its tokens are dead, even after a
        refresh. One whose token was refused is active again if the token works after all. Without an answer nothing is
        believed, and the provider is asked again, ever more rarely.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            if not _is_in_doubt(connection):
                uow.schedules.cancel(tenant_id, connection_id, TaskKind.PROVE)
                return
        try:
            works = self._works(connection)
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            log.warning("proof_postponed", extra={"connection_id": str(connection_id), "reason": error.message})
            works = None
        if works:
            self._keep(connection)
        elif works is False and connection.suspected_at is not None:
            self._end(connection)
        else:
            self._ask_again(connection)

    def _works(self, connection: Connection) -> bool:
        """Whether its tokens work. Raises where the provider cannot say."""
        try:
            session = self.access.open(connection, in_background=True)
            if connection.suspected_at is None:
                # As they are: a refresh would say that all is well, and not that the provider accepts what it gave.
                session = attrs.evolve(session, tokens=FixedTokens(self._stored_tokens(connection)))
            session.run(session.provider.oauth.identify(session.app, session.tokens.current()))
        except NOT_ABOUT_THE_TOKEN:
            return True
        except ReauthorizationRequiredError:
            return False
        return True

    def _stored_tokens(self, connection: Connection) -> TokenSet:
        with self.unit_of_work() as uow:
            grant = None if connection.grant_id is None else uow.grants.get(connection.tenant_id, connection.grant_id)
        if grant is None:
            raise ReauthorizationRequiredError("The connection's tokens are gone.")
        return self.keeper.open(grant)

    def _keep(self, known: Connection) -> None:
        with self.unit_of_work() as uow:
            grant = None if known.grant_id is None else uow.grants.get(known.tenant_id, known.grant_id)
        if grant is not None:
            self.keeper.record_working(grant)
        with self.unit_of_work() as uow:
            present = uow.connections.get(known.tenant_id, known.id, lock=True)
            if present.suspected_at == known.suspected_at:
                uow.connections.save(attrs.evolve(present, suspected_at=None, updated_at=self.clock.now()))
                uow.schedules.cancel(present.tenant_id, present.id, TaskKind.PROVE)
        log.info("connection_proven", extra={"connection_id": str(known.id)})

    def _end(self, known: Connection) -> None:
        """End the connection as the provider did."""
        with self.unit_of_work() as uow:
            present = lock_with_grant(uow, known.tenant_id, known)
            if present is None or present.consented_at != known.consented_at:
                return  # the user has connected again while we asked
            begun = self.disconnect.begin(uow, present, ReasonCode.WITHDRAWN_AT_PROVIDER)
        log.warning("connection_revoked", extra={"connection_id": str(known.id), "reason": "withdrawn at the provider"})
        self.disconnect.endings.try_now(known.tenant_id, begun)

    def _ask_again(self, connection: Connection) -> None:
        since = connection.suspected_at or connection.updated_at
        waited = self.clock.now() - since
        with self.unit_of_work() as uow:
            if connection.suspected_at is None and waited > GIVE_UP_AFTER:
                uow.schedules.cancel(connection.tenant_id, connection.id, TaskKind.PROVE)
            else:
                self.scheduler.plan_proof(uow, connection, min(max(waited, SHORTEST_PAUSE), LONGEST_PAUSE))


def _is_in_doubt(connection: Connection) -> bool:
    """Whether it is said to have ended, or its access token was refused, which may be the vendor's mistake."""
    if connection.status is ConnectionStatus.REVOKED:
        return False
    is_refused = connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    return connection.suspected_at is not None or (is_refused and connection.reason_code is ReasonCode.TOKEN_DEAD)
