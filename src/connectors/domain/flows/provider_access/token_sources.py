"""Where conversations get their tokens from: a connection's present grant, or a certain one."""

from collections.abc import Callable
from typing import TypeVar

import attrs

from connectors.domain.flows.provider_access.tokens import TokenKeeper, grant_gone, is_same_access_token
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ReauthorizationRequiredError
from connectors.domain.model.ids import ConnectionId, GrantId, TenantId
from connectors.domain.model.oauth import TokenSet

T = TypeVar("T")


@attrs.frozen
class ConnectionTokens:
    """A conversation's tokens: those of the connection's present grant, which a new consent may change meanwhile."""

    keeper: TokenKeeper
    tenant_id: TenantId
    connection_id: ConnectionId

    def current(self) -> TokenSet:
        """The grant's token set, fresh."""
        return self._of_present_grant(lambda tokens: tokens.current())

    def refreshed(self, stale: TokenSet) -> TokenSet | None:
        """A newer token set than `stale`: the stored one if it is another, else refreshed now; None if it cannot be."""
        return self._of_present_grant(lambda tokens: tokens.refreshed(stale))

    def mark_dead(self, refused: TokenSet, reason: str) -> bool:
        """See `TokenKeeper.mark_dead`."""
        return self._present().mark_dead(refused, reason)

    def _of_present_grant(self, ask: "Callable[[GrantTokens], T]") -> T:
        tokens = self._present()
        try:
            return ask(tokens)
        except ReauthorizationRequiredError:
            present = self._present()
            if present.grant_id == tokens.grant_id:
                raise
            return ask(present)  # the user has consented again meanwhile

    def _present(self) -> "GrantTokens":
        with self.keeper.unit_of_work() as uow:
            connection = uow.connections.get(self.tenant_id, self.connection_id)
        if connection.grant_id is None or connection.status is ConnectionStatus.REVOKED:
            raise grant_gone()
        return GrantTokens(self.keeper, self.tenant_id, connection.grant_id)


@attrs.frozen
class GrantTokens:
    """A conversation's tokens, from a stored grant."""

    keeper: TokenKeeper
    tenant_id: TenantId
    grant_id: GrantId

    def current(self) -> TokenSet:
        """The grant's token set, fresh."""
        return self.keeper.fresh_tokens(self.tenant_id, self.grant_id)

    def refreshed(self, stale: TokenSet) -> TokenSet | None:
        """A newer token set than `stale`: the stored one if it is another, else refreshed now; None if it cannot be."""
        stored = self._stored()
        # Companions that have expired are refreshed before the set's own pair.
        for _ in (None, *stored[1].companions):
            version, token_set = stored
            if not is_same_access_token(token_set, stale):
                break
            if token_set.refresh_token is None:
                return None
            self.keeper.refresh(self.tenant_id, self.grant_id, seen_version=version)
            stored = self._stored()
        return stored[1]

    def _stored(self) -> tuple[int, TokenSet]:
        with self.keeper.unit_of_work() as uow:
            grant = uow.grants.get(self.tenant_id, self.grant_id)
        if grant is None:
            raise grant_gone()
        return grant.version, self.keeper.open(grant)

    def mark_dead(self, refused: TokenSet, reason: str) -> bool:
        """See `TokenKeeper.mark_dead`."""
        return self.keeper.mark_dead(self.tenant_id, self.grant_id, refused, reason)
