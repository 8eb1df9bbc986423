"""Ends connections: unsubscribes them, revokes their tokens at the provider, destroys their secrets."""

import logging

import attrs

from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.flows.provider_access.session import ProviderAccess, ProviderSession
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import (
    ProviderFailedError,
    ProviderNotConfiguredError,
    ProviderNotSupportedError,
    ReauthorizationRequiredError,
    error_text,
    is_bug,
)
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.oauth import Grant, ProviderApp, TokenSet
from connectors.domain.providers.contract import Provider, RevocationScope
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class DisconnectFlow:
    """Ends connections."""

    unit_of_work: UnitOfWorkFactory
    converser: Converser
    access: ProviderAccess
    keeper: TokenKeeper
    subscriber: Subscriber
    clock: Clock
    providers: ProviderRegistry
    jobs: SyncJobs
    ledger: Ledger

    def end_connection(self, tenant_id: TenantId, connection_id: ConnectionId) -> Connection:
        """End the connection: unsubscribe, revoke at the provider, destroy the secrets. Its signals stay.

        What the provider refuses is recorded in `end_error`; the secrets are destroyed anyway. Where the provider is no
        longer installed or configured, nothing can be revoked there, and `end_error` says so. Ending it again is
        harmless.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
        if connection.grant_id is None and connection.status is ConnectionStatus.REVOKED:
            return connection
        errors: tuple[str, ...] = ()
        try:
            session = self.access.open(connection)
        except (ProviderNotSupportedError, ProviderNotConfiguredError) as error:
            errors = (f"{error.message} Nothing could be unsubscribed or revoked there.",)
        except ReauthorizationRequiredError:
            pass  # without tokens the provider cannot be called; what we hold is destroyed anyway
        else:
            errors = self.subscriber.unsubscribe_all(session) + self._revoke_grant(session)
        self.subscriber.forget(tenant_id, connection_id)
        now = self.clock.now()
        with self.unit_of_work() as uow:
            self._lock_grant(uow, tenant_id, connection_id)
            present = uow.connections.get(tenant_id, connection_id, lock=True)
            grant_id = present.grant_id
            ended = attrs.evolve(
                present.moved_to(ConnectionStatus.REVOKED, at=now, reason="disconnected here"),
                grant_id=None,
                expires_at=None,
                sync_error=None,
                webhook_error=None,
                end_error="; ".join(errors) or None,
                updated_at=now,
            )
            ended = uow.connections.save(ended)
            self.jobs.cancel_all(uow, ended)
            uow.schedules.cancel(tenant_id, connection_id)
            self.ledger.note_stream_ended(uow, ended)
            if grant_id is not None and not uow.connections.list_by_grant(tenant_id, grant_id):
                uow.grants.delete(tenant_id, grant_id)
        log.info("disconnected", extra={"tenant_id": str(tenant_id), "connection_id": str(connection_id)})
        return ended

    def _lock_grant(self, uow: UnitOfWork, tenant_id: TenantId, connection_id: ConnectionId) -> None:
        # Locks are taken in one order: first the grant, then its connections. A refresh does the same.
        grant_id = uow.connections.get(tenant_id, connection_id).grant_id
        grant = None if grant_id is None else uow.grants.get(tenant_id, grant_id)
        if grant is not None:
            uow.grants.find_by_key(tenant_id, grant.provider, grant.grant_key, lock=True)

    def _revoke_grant(self, session: ProviderSession) -> tuple[str, ...]:
        """Revoke the grant at the provider unless another connection still uses it; the errors, in words."""
        provider, connection = session.provider, session.connection
        if provider.oauth.revoke is None or connection.grant_id is None:
            return ()
        with self.unit_of_work() as uow:
            grant = uow.grants.get(connection.tenant_id, connection.grant_id)
            others = [
                one
                for one in uow.connections.list_by_grant(connection.tenant_id, connection.grant_id)
                if one.id != connection.id
            ]
            shared = grant is not None and uow.grants.count_by_key(grant.grant_key) > 1
        if grant is None or others or (shared and provider.oauth.revocation_scope is RevocationScope.ACCOUNT):
            return ()
        try:
            token_set = self._usable_tokens(grant)
            conversation = provider.oauth.revoke(session.app, token_set)
            self.converser.run(provider, session.app, conversation, FixedTokens(token_set))
        except Exception as error:  # a bug of the package must not keep a connection from ending
            log.warning(
                "revoke_failed", extra={"provider": provider.slug, "reason": error_text(error)}, exc_info=is_bug(error)
            )
            return (f"revocation: {error_text(error)}",)
        return ()

    def _usable_tokens(self, grant: Grant) -> TokenSet:
        """The grant's tokens, fresh if possible: vendors require a valid token even for a revocation."""
        try:
            return self.keeper.fresh_tokens(grant.tenant_id, grant.id)
        except ProviderFailedError:
            return self.keeper.open(grant)

    def revoke(self, provider: Provider, app: ProviderApp, token_set: TokenSet) -> None:
        """Revoke tokens that no connection will use. A vendor's refusal is only logged.

        Where a revocation would end all that the user has granted us, nothing is revoked: other connections may depend
        on it.
        """
        if provider.oauth.revoke is None or provider.oauth.revocation_scope is not RevocationScope.GRANT:
            return
        try:
            self.converser.run(provider, app, provider.oauth.revoke(app, token_set), FixedTokens(token_set))
        except Exception as error:  # the caller raises why the tokens are not used
            log.warning(
                "revoke_failed", extra={"provider": provider.slug, "reason": error_text(error)}, exc_info=is_bug(error)
            )
