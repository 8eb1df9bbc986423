"""Authorization requests in PostgreSQL.

The lease is in the row. One UPDATE takes it; its WHERE fails while somebody else has it. The instant of the taking must
still be the row's when the holder writes.
"""

from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.engine import Row

from connectors.adapters.postgres.sealed import read_sealed, sealed_columns
from connectors.adapters.postgres.tables import authorization_requests
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ids import GrantId
from connectors.domain.model.oauth import AuthorizationOutcome, AuthorizationProblem, AuthorizationRequest

_T = authorization_requests.c
_INSERT = insert(authorization_requests)


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
            "connection_id": request.connection_id,
            "created_at": request.created_at,
            "expires_at": request.expires_at,
        }
        self._transaction.run(_INSERT, values)

    def find(self, state_hash: bytes, *, now: datetime) -> AuthorizationRequest | None:
        """See `AuthorizationRequestStore.find`."""
        found = select(authorization_requests).where(_T.state_hash == state_hash, _T.expires_at > now)
        row = self._transaction.first(found)
        return None if row is None else _read(row)

    def take(
        self, request: AuthorizationRequest, *, code_hash: bytes | None, now: datetime, until: datetime
    ) -> AuthorizationRequest | None:
        """See `AuthorizationRequestStore.take`."""
        row = self._transaction.first(
            update(authorization_requests)
            .where(
                _is(request),
                _T.expires_at > now,
                _T.finished_at.is_(None),
                or_(_T.leased_until.is_(None), _T.leased_until <= now),
                or_(_T.code_hash.is_(None), _T.code_hash == code_hash),
            )
            .values(
                taken_at=now,
                leased_until=until,
                code_hash=code_hash,
                expires_at=func.greatest(_T.expires_at, until),
            )
            .returning(authorization_requests)
        )
        return None if row is None else _read(row)

    def note_grant(self, request: AuthorizationRequest, grant_id: GrantId) -> bool:
        """See `AuthorizationRequestStore.note_grant`."""
        noted = update(authorization_requests).where(_is_held(request)).values(grant_id=grant_id)
        return self._transaction.count(noted) > 0

    def release(self, request: AuthorizationRequest) -> None:
        """See `AuthorizationRequestStore.release`."""
        self._transaction.run(update(authorization_requests).where(_is_held(request)).values(leased_until=None))

    def finish(self, request: AuthorizationRequest, outcome: AuthorizationOutcome) -> bool:
        """See `AuthorizationRequestStore.finish`."""
        problem = outcome.problem
        values = {
            "finished_at": outcome.finished_at,
            "connection_ids": list(outcome.connection_ids),
            "problem_code": None if problem is None else problem.code,
            "problem": None if problem is None else attrs.asdict(problem, filter=attrs.filters.exclude("code")),
            "leased_until": None,
            **sealed_columns("code_verifier", None),
        }
        return self._transaction.count(update(authorization_requests).where(_is_held(request)).values(values)) > 0

    def sweep(self, *, now: datetime) -> int:
        """See `AuthorizationRequestStore.sweep`."""
        return self._transaction.count(delete(authorization_requests).where(_T.expires_at <= now))


def _is(request: AuthorizationRequest) -> ColumnElement[bool]:
    return and_(_T.tenant_id == request.tenant_id, _T.state_hash == request.state_hash)


def _is_held(request: AuthorizationRequest) -> ColumnElement[bool]:
    # To SQLAlchemy, `== None` is IS NULL: a request that nobody has taken.
    return and_(_is(request), _T.taken_at.is_not(None), _T.taken_at == request.taken_at, _T.finished_at.is_(None))


def _read(row: Row[Any]) -> AuthorizationRequest:
    return AuthorizationRequest(
        state_hash=bytes(row.state_hash),
        tenant_id=row.tenant_id,
        provider=row.provider,
        redirect_uri=row.redirect_uri,
        scopes=tuple(row.scopes),
        verifier_id=row.verifier_id,
        code_verifier=read_sealed("code_verifier", row),
        options=row.options,
        connection_id=row.connection_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        taken_at=row.taken_at,
        leased_until=row.leased_until,
        code_hash=None if row.code_hash is None else bytes(row.code_hash),
        grant_id=row.grant_id,
        outcome=_read_outcome(row),
    )


def _read_outcome(row: Row[Any]) -> AuthorizationOutcome | None:
    if row.finished_at is None:
        return None
    problem = row.problem
    return AuthorizationOutcome(
        finished_at=row.finished_at,
        connection_ids=tuple(row.connection_ids),
        problem=None
        if problem is None
        else AuthorizationProblem(
            code=row.problem_code,
            message=problem["message"],
            details=tuple(problem["details"]),
            next_step=problem["next_step"],
        ),
    )
