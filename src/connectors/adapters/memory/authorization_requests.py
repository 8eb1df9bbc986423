"""Pending authorizations in memory."""

from datetime import datetime

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.oauth import AuthorizationRequest


class MemoryAuthorizationRequestStore:
    """`AuthorizationRequestStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.authorization_requests

    def issue(self, request: AuthorizationRequest) -> None:
        """See `AuthorizationRequestStore.issue`."""
        self._database.require_tenant(request.tenant_id)
        if self._rows.get((request.tenant_id, request.state_hash)) is not None:
            raise ConflictError("This state was issued before.")
        self._rows.put((request.tenant_id, request.state_hash), as_stored(request))

    def consume(self, state_hash: bytes, *, now: datetime) -> AuthorizationRequest | None:
        """See `AuthorizationRequestStore.consume`."""
        for row in self._rows.find("state", state_hash):
            if row.expires_at > now:
                return self._rows.remove((row.tenant_id, row.state_hash))
        return None

    def sweep(self, *, now: datetime) -> int:
        """See `AuthorizationRequestStore.sweep`."""
        expired = [row for row in self._rows.values() if row.expires_at <= now]
        for row in expired:
            self._rows.remove((row.tenant_id, row.state_hash))
        return len(expired)
