"""Authorization requests in memory."""

from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.ids import GrantId
from connectors.domain.model.oauth import AuthorizationOutcome, AuthorizationRequest


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
        self._put(request)

    def find(self, state_hash: bytes, *, now: datetime) -> AuthorizationRequest | None:
        """See `AuthorizationRequestStore.find`."""
        return next((row for row in self._rows.find("state", state_hash) if row.expires_at > now), None)

    def take(
        self, request: AuthorizationRequest, *, code_hash: bytes | None, now: datetime, until: datetime
    ) -> AuthorizationRequest | None:
        """See `AuthorizationRequestStore.take`."""
        row = self._rows.get((request.tenant_id, request.state_hash))
        if row is None or row.expires_at <= now or row.outcome is not None:
            return None
        if row.leased_until is not None and row.leased_until > now:
            return None
        if row.code_hash is not None and row.code_hash != code_hash:
            return None
        return self._put(
            attrs.evolve(
                row,
                taken_at=now,
                leased_until=until,
                code_hash=code_hash,
                expires_at=max(row.expires_at, until),
            )
        )

    def note_grant(self, request: AuthorizationRequest, grant_id: GrantId) -> bool:
        """See `AuthorizationRequestStore.note_grant`."""
        row = self._held(request)
        if row is None:
            return False
        self._put(attrs.evolve(row, grant_id=grant_id))
        return True

    def release(self, request: AuthorizationRequest) -> None:
        """See `AuthorizationRequestStore.release`."""
        row = self._held(request)
        if row is not None:
            self._put(attrs.evolve(row, leased_until=None))

    def finish(self, request: AuthorizationRequest, outcome: AuthorizationOutcome) -> bool:
        """See `AuthorizationRequestStore.finish`."""
        row = self._held(request)
        if row is None:
            return False
        self._put(attrs.evolve(row, outcome=outcome, leased_until=None, code_verifier=None))
        return True

    def sweep(self, *, now: datetime) -> int:
        """See `AuthorizationRequestStore.sweep`."""
        expired = [row for row in self._rows.values() if row.expires_at <= now]
        for row in expired:
            self._rows.remove((row.tenant_id, row.state_hash))
        return len(expired)

    def _held(self, request: AuthorizationRequest) -> AuthorizationRequest | None:
        row = self._rows.get((request.tenant_id, request.state_hash))
        if row is None or row.taken_at is None or row.taken_at != request.taken_at or row.outcome is not None:
            return None
        return row

    def _put(self, row: AuthorizationRequest) -> AuthorizationRequest:
        stored = as_stored(row)
        self._rows.put((row.tenant_id, row.state_hash), stored)
        return stored
