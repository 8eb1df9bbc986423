"""Pending authorizations in PostgreSQL."""

from datetime import datetime

from sqlalchemy import bindparam, delete, insert

from connectors.adapters.postgres.sealed import read_sealed, sealed_columns
from connectors.adapters.postgres.tables import authorization_requests
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.oauth import AuthorizationRequest

_T = authorization_requests.c
_INSERT = insert(authorization_requests)
# One statement: of two redirects with the same state, the second finds no row.
_CONSUME = (
    delete(authorization_requests)
    .where(_T.state_hash == bindparam("hash"), _T.expires_at > bindparam("now"))
    .returning(authorization_requests)
)
_SWEEP = delete(authorization_requests).where(_T.expires_at <= bindparam("now"))


class PostgresAuthorizationRequestStore:
    """`AuthorizationRequestStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def issue(self, request: AuthorizationRequest) -> None:
        """See `AuthorizationRequestStore.issue`."""
        values = {
            "tenant_id": request.tenant_id,
            "state_hash": request.state_hash,
            "provider": request.provider,
            "redirect_uri": request.redirect_uri,
            "scopes": list(request.scopes),
            "verifier_id": request.verifier_id,
            **sealed_columns("code_verifier", request.code_verifier),
            "options": request.options,
            "created_at": request.created_at,
            "expires_at": request.expires_at,
        }
        self._transaction.run(_INSERT, values)

    def consume(self, state_hash: bytes, *, now: datetime) -> AuthorizationRequest | None:
        """See `AuthorizationRequestStore.consume`."""
        row = self._transaction.first(_CONSUME, {"hash": state_hash, "now": now})
        if row is None:
            return None
        return AuthorizationRequest(
            state_hash=bytes(row.state_hash),
            tenant_id=row.tenant_id,
            provider=row.provider,
            redirect_uri=row.redirect_uri,
            scopes=tuple(row.scopes),
            verifier_id=row.verifier_id,
            code_verifier=read_sealed("code_verifier", row),
            options=row.options,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )

    def sweep(self, *, now: datetime) -> int:
        """See `AuthorizationRequestStore.sweep`."""
        return self._transaction.count(_SWEEP, {"now": now})
