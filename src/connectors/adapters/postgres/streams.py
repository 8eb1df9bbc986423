"""Streams, parked items and what concerns a whole account, in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, delete, func, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row
from sqlalchemy.sql.elements import Label

from connectors.adapters.postgres.tables import accounts, connections, parked, streams
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import encode_json, key_text
from connectors.adapters.stream_documents import from_document, read_stream_state, to_document
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.spans import Span
from connectors.domain.model.stream_state import (
    AccountState,
    ClosedBy,
    HistoryRequest,
    ParkedState,
    StreamState,
    StreamStatus,
)
from connectors.domain.model.streams import DISCOVERY

_S, _P, _A = streams.c, parked.c, accounts.c

# All rows are passed as one JSON document: one statement for any number of them.
_SAVED = [column.name for column in streams.columns]
_SAVE_STREAMS = text(f"""
    INSERT INTO streams ({", ".join(_SAVED)})
    SELECT {", ".join(_SAVED)} FROM jsonb_populate_recordset(NULL::streams, CAST(:rows AS jsonb))
    ON CONFLICT (tenant_id, connection_id, key) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _SAVED if name not in ("tenant_id", "connection_id", "key"))}
""")  # noqa: S608 - names of our own columns

# All columns of a stream as one text: to read each column by itself takes several times as long.
_STREAM: Label[str] = literal_column("CAST(row_to_json(streams) AS text)").label("document")
_SELECT_STREAMS = select(_STREAM).select_from(streams).order_by(_S.key)

_INSERT_PARKED = insert(parked)
_SAVE_PARKED = _INSERT_PARKED.on_conflict_do_update(
    index_elements=[_P.tenant_id, _P.connection_id, _P.stream_key, _P.reference],
    set_={column.name: _INSERT_PARKED.excluded[column.name] for column in parked.columns if not column.primary_key},
)
_ADD_ACCOUNT = insert(accounts).on_conflict_do_nothing()

_COUNT_ALONE = text("SELECT pg_advisory_xact_lock(8101257399125340001)")
"""The lock for counting what runs and deciding by the count. The number is arbitrary and used nowhere else."""

_OF_ACTIVE = (connections.c.tenant_id == _S.tenant_id) & (connections.c.id == _S.connection_id)
_IS_ACTIVE = connections.c.status == ConnectionStatus.ACTIVE


class PostgresStreamStore:
    """`StreamStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[StreamState]:
        """See `StreamStore.list`."""
        return self._read(_SELECT_STREAMS.where(_S.tenant_id == tenant_id, _S.connection_id == connection_id))

    def list_page(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        *,
        after: str | None,
        limit: int,
        status: StreamStatus | None = None,
        family: str | None = None,
    ) -> Sequence[StreamState]:
        """See `StreamStore.list_page`."""
        statement = _SELECT_STREAMS.where(
            _S.tenant_id == tenant_id, _S.connection_id == connection_id, _S.key > (after or DISCOVERY)
        )
        if status is not None:
            statement = statement.where(_S.status == status)
        if family is not None:
            statement = statement.where(_S.stream["families"].contains([family]))
        return self._read(statement.limit(limit))

    def lock(self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]) -> Sequence[StreamState]:
        """See `StreamStore.lock`."""
        wanted = {key_text(key) for key in keys}
        if not wanted:
            return []
        statement = _SELECT_STREAMS.where(
            _S.tenant_id == tenant_id, _S.connection_id == connection_id, _S.key.in_(wanted)
        )
        return self._read(statement.with_for_update())

    def save(self, states: Sequence[StreamState]) -> None:
        """See `StreamStore.save`."""
        if not states:
            return
        # In the same order everywhere: two writers do not deadlock.
        rows = {(one.tenant_id, one.connection_id, key_text(one.key)): one for one in states}
        values = [_stream_values(rows[identity]) for identity in sorted(rows)]
        self._transaction.run(_SAVE_STREAMS, {"rows": encode_json(values)})

    def request(self, tenant_id: TenantId, connection_id: ConnectionId, key: str, *, at: datetime) -> bool:
        """See `StreamStore.request`."""
        statement = update(streams).where(_S.tenant_id == tenant_id, _S.connection_id == connection_id, _S.key == key)
        return self._transaction.count(statement.values(requested_at=at)) > 0

    def count(self) -> Mapping[tuple[ProviderSlug, StreamStatus], int]:
        """See `StreamStore.count`."""
        statement = (
            select(connections.c.provider, _S.status, func.count().label("number"))
            .join(connections, _OF_ACTIVE)
            .where(_IS_ACTIVE)
            .group_by(connections.c.provider, _S.status)
        )
        return {(row.provider, StreamStatus(row.status)): row.number for row in self._transaction.all(statement)}

    def oldest_unread(self) -> Mapping[ProviderSlug, datetime]:
        """See `StreamStore.oldest_unread`."""
        statement = (
            select(connections.c.provider, func.min(_S.read_until).label("oldest"))
            .join(connections, _OF_ACTIVE)
            .where(
                _IS_ACTIVE,
                _S.read_until.is_not(None),
                _S.is_dismissed.is_(False),
                _S.stream["families"].astext != "[]",
                _S.status.in_([StreamStatus.READY, StreamStatus.BLOCKED]),
            )
            .group_by(connections.c.provider)
        )
        return {row.provider: row.oldest for row in self._transaction.all(statement)}

    def _read(self, statement: Executable) -> Sequence[StreamState]:
        return [read_stream_state(row.document) for row in self._transaction.all(statement)]


class PostgresParkedStore:
    """`ParkedStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_open(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[ParkedState]:
        """See `ParkedStore.list_open`."""
        statement = select(parked).where(
            _P.tenant_id == tenant_id, _P.connection_id == connection_id, _P.closed_at.is_(None)
        )
        return [_read_parked(row) for row in self._transaction.all(statement.order_by(_P.stream_key, _P.reference))]

    def lock(
        self, tenant_id: TenantId, connection_id: ConnectionId, stream_key: str, reference: str
    ) -> ParkedState | None:
        """See `ParkedStore.lock`."""
        statement = select(parked).where(
            _P.tenant_id == tenant_id,
            _P.connection_id == connection_id,
            _P.stream_key == stream_key,
            _P.reference == reference,
        )
        row = self._transaction.first(statement.with_for_update())
        return None if row is None else _read_parked(row)

    def save(self, item: ParkedState) -> None:
        """See `ParkedStore.save`."""
        values = {
            "tenant_id": item.tenant_id,
            "connection_id": item.connection_id,
            "stream_key": item.stream_key,
            "reference": item.reference,
            "reason": item.reason,
            "from_at": item.span.from_at,
            "to_at": item.span.to_at,
            "failures": item.failures,
            "next_at": item.next_at,
            "opened_at": item.opened_at,
            "closed_at": item.closed_at,
            "closed_by": item.closed_by,
        }
        self._transaction.run(_SAVE_PARKED, values)

    def count_open(self) -> Mapping[ProviderSlug, int]:
        """See `ParkedStore.count_open`."""
        of_connection = (connections.c.tenant_id == _P.tenant_id) & (connections.c.id == _P.connection_id)
        statement = (
            select(connections.c.provider, func.count().label("number"))
            .select_from(parked)
            .join(connections, of_connection)
            .where(_IS_ACTIVE, _P.closed_at.is_(None))
            .group_by(connections.c.provider)
        )
        return {row.provider: row.number for row in self._transaction.all(statement)}

    def prune(self, *, closed_before: datetime) -> int:
        """See `ParkedStore.prune`."""
        return self._transaction.count(
            delete(parked).where(_P.closed_at < closed_before, _P.closed_by != ClosedBy.PERSON)
        )


class PostgresAccountStore:
    """`AccountStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, tenant_id: TenantId, connection_id: ConnectionId, *, lock: bool = False) -> AccountState | None:
        """See `AccountStore.find`."""
        statement = select(accounts).where(_A.tenant_id == tenant_id, _A.connection_id == connection_id)
        row = self._transaction.first(statement.with_for_update() if lock else statement)
        return None if row is None else _read_account(row)

    def add(self, state: AccountState) -> AccountState:
        """See `AccountStore.add`."""
        self._transaction.run(_ADD_ACCOUNT, _account_values(state))
        present = self.find(state.tenant_id, state.connection_id, lock=True)
        assert present is not None  # noqa: S101 - it has just been inserted, or was there
        return present

    def save(self, state: AccountState) -> None:
        """See `AccountStore.save`."""
        self._transaction.run(
            update(accounts)
            .where(_A.tenant_id == state.tenant_id, _A.connection_id == state.connection_id)
            .values(_account_values(state))
        )

    def count_running(self, *, tenant_id: TenantId | None = None, provider: ProviderSlug | None = None) -> int:
        """See `AccountStore.count_running`."""
        self._transaction.run(_COUNT_ALONE)
        statement = select(func.count()).select_from(accounts).where(_A.running_since.is_not(None))
        if tenant_id is not None:
            statement = statement.where(_A.tenant_id == tenant_id)
        if provider is not None:
            statement = statement.where(_A.provider == provider)
        number: int = self._transaction.run(statement).scalar_one()
        return number

    def list_silent(self, *, before: datetime, limit: int) -> Sequence[AccountState]:
        """See `AccountStore.list_silent`."""
        heard_at = func.coalesce(_A.heartbeat_at, _A.running_since)
        statement = select(accounts).where(_A.running_since.is_not(None), heard_at < before)
        ordered = statement.order_by(heard_at, _A.connection_id).limit(limit)
        return [_read_account(row) for row in self._transaction.all(ordered)]


def _stream_values(state: StreamState) -> dict[str, Any]:
    key = key_text(state.key)
    values = {
        "tenant_id": str(state.tenant_id),
        "connection_id": str(state.connection_id),
        "key": key,
        "stream": {**to_document(state.stream), "key": key},
        "status": state.status,
        "reason": state.reason,
        "incremental": to_document(state.incremental),
        "backfill": to_document(state.backfill),
        "bookmark": state.bookmark,
        "proven": to_document(state.proven),
        "read_once": to_document(state.read_once),
        "is_dismissed": state.is_dismissed,
        "given_up": to_document(state.given_up),
    }
    times = ("status_since", "requested_at", "served_at", "read_until", "found_at", "listed_at", "updated_at")
    return {**values, **{name: _iso(getattr(state, name)) for name in times}}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _read_parked(row: Row[Any]) -> ParkedState:
    return ParkedState(
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        stream_key=row.stream_key,
        reference=row.reference,
        reason=row.reason,
        span=Span(row.from_at, row.to_at),
        failures=row.failures,
        next_at=row.next_at,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_by=None if row.closed_by is None else ClosedBy(row.closed_by),
    )


def _account_values(state: AccountState) -> dict[str, Any]:
    return {
        "tenant_id": state.tenant_id,
        "connection_id": state.connection_id,
        "provider": state.provider,
        "requests": to_document(state.requests),
        "paused_until": state.paused_until,
        "pause_reason": state.pause_reason,
        "limits": state.limits,
        "outages": state.outages,
        "suspects": list(state.suspects),
        "last_turn": state.last_turn,
        "run": state.run,
        "running_since": state.running_since,
        "heartbeat_at": state.heartbeat_at,
        "is_history_only": state.is_history_only,
        "legacy": state.legacy,
        "updated_at": state.updated_at,
    }


def _read_account(row: Row[Any]) -> AccountState:
    return AccountState(
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        provider=row.provider,
        requests=from_document(row.requests, tuple[HistoryRequest, ...]),
        paused_until=row.paused_until,
        pause_reason=row.pause_reason,
        limits=row.limits,
        outages=row.outages,
        suspects=tuple(row.suspects),
        last_turn=row.last_turn,
        run=row.run,
        running_since=row.running_since,
        heartbeat_at=row.heartbeat_at,
        is_history_only=row.is_history_only,
        legacy=row.legacy,
        updated_at=row.updated_at,
    )
