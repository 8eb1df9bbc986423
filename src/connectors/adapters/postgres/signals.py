"""Signals in PostgreSQL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, func, literal, select, text
from sqlalchemy.engine import Row

from connectors.adapters.postgres.paging import page_of, read_page
from connectors.adapters.postgres.tables import connections, signals
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import encode_json, key_text
from connectors.domain.model.errors import NotFoundError
from connectors.domain.model.ids import SignalId, TenantId
from connectors.domain.model.paging import Page, PageRequest, Position
from connectors.domain.model.signal import Actor, Container, Origin, Signal, SignalFilter, SignalKind, Subject

CHUNK_ROWS = 500
"""The most signals in one statement."""

CHUNK_BYTES = 8_000_000
"""The most JSON in one statement, except for a single signal that is larger: what the database has to hold at once for
one statement does not grow with the page."""

# The rows are passed as one JSON document: one statement text, and therefore one plan, for any number of signals.
_RECORD = text("""
    INSERT INTO signals (tenant_id, id, connection_id, provider, kind, occurred_at, received_at, title, url,
                         actor, subject, container, dedupe_key, origin, payload)
    SELECT tenant_id, id, connection_id, provider, kind, occurred_at, received_at, title, url,
           NULLIF(actor, 'null'), subject, NULLIF(container, 'null'), dedupe_key, origin, NULLIF(payload, 'null')
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS new (
        tenant_id uuid, id uuid, connection_id uuid, provider text, kind text,
        occurred_at timestamptz, received_at timestamptz, title text, url text,
        actor jsonb, subject jsonb, container jsonb, dedupe_key text, origin text, payload jsonb)
    ON CONFLICT (tenant_id, provider, dedupe_key) DO NOTHING
    RETURNING id
""")

_T = signals.c
_WITHOUT_PAYLOAD = select(*[column for column in _T if column.name != "payload"])


class PostgresSignalStore:
    """`SignalStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def record_all(self, signals: Sequence[Signal]) -> frozenset[SignalId]:
        """See `SignalStore.record_all`."""
        # In the same order everywhere: two writers of the same signals wait for each other instead of deadlocking.
        ordered = sorted(signals, key=lambda signal: (signal.tenant_id, signal.provider, signal.dedupe_key))
        new: set[SignalId] = set()
        for chunk in _chunks(encode_json(_document(signal)) for signal in ordered):
            new.update(row.id for row in self._transaction.all(_RECORD, {"rows": f"[{','.join(chunk)}]"}))
        return frozenset(new)

    def get(self, tenant_id: TenantId, signal_id: SignalId) -> Signal:
        """See `SignalStore.get`."""
        row = self._transaction.first(select(signals).where(_T.tenant_id == tenant_id, _T.id == signal_id))
        if row is None:
            raise NotFoundError("The tenant has no such signal.")
        return _read(row, row.payload)

    def list_page(
        self, tenant_id: TenantId, page: PageRequest, where: SignalFilter, *, with_payload: bool = False
    ) -> Page[Signal]:
        """See `SignalStore.list_page`."""
        return read_page(
            self._transaction,
            select_page(tenant_id, page, where, with_payload=with_payload),
            page,
            read=(lambda row: _read(row, row.payload)) if with_payload else (lambda row: _read(row, None)),
            position=lambda item: Position(item.occurred_at, item.id),
        )

    def list_arrived(self, tenant_id: TenantId, *, after: SignalId, limit: int) -> Sequence[Signal]:
        """See `SignalStore.list_arrived`. The primary key is (tenant, id)."""
        statement = _WITHOUT_PAYLOAD.where(_T.tenant_id == tenant_id, _T.id > after).order_by(_T.id).limit(limit)
        return [_read(row, None) for row in self._transaction.all(statement)]


def select_page(
    tenant_id: TenantId, page: PageRequest, where: SignalFilter, *, with_payload: bool = False
) -> Select[Any]:
    """The statement of `list_page`: one range of one index of `tables.signals`, read backwards."""
    statement = (select(signals) if with_payload else _WITHOUT_PAYLOAD).where(_T.tenant_id == tenant_id)
    if where.provider is not None and where.connection_id is None:
        statement = statement.where(_T.provider == where.provider)
    if where.connection_id is not None:
        statement = statement.where(_T.connection_id == where.connection_id)
    if where.provider is not None and where.connection_id is not None:
        # No index has both. Without this check, a connection's whole history would be read in vain for a provider that
        # is not its own; the check is evaluated once, before.
        own = select(connections.c.provider).where(
            connections.c.tenant_id == tenant_id, connections.c.id == where.connection_id
        )
        statement = statement.where(
            func.coalesce(own.scalar_subquery(), literal(where.provider)) == where.provider,
            # An expression, so that the planner does not prefer an index by provider to the connection's own.
            _T.provider.concat("") == where.provider,
        )
    if where.kind is not None:
        statement = statement.where(_T.kind == where.kind)
    if where.occurred_after is not None:
        statement = statement.where(_T.occurred_at > where.occurred_after)
    if where.occurred_before is not None:
        statement = statement.where(_T.occurred_at < where.occurred_before)
    return page_of(statement, page, _T.occurred_at, _T.id)


def _chunks(documents: Iterable[str]) -> Iterator[Sequence[str]]:
    """The documents in order, in chunks that fit into one statement each."""
    chunk: list[str] = []
    size = 0
    for document in documents:
        length = len(document.encode())
        if chunk and (len(chunk) == CHUNK_ROWS or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(document)
        size += length
    if chunk:
        yield chunk


def _document(signal: Signal) -> dict[str, Any]:
    return {
        "tenant_id": str(signal.tenant_id),
        "id": str(signal.id),
        "connection_id": str(signal.connection_id),
        "provider": signal.provider,
        "kind": signal.kind,
        "occurred_at": signal.occurred_at.isoformat(),
        "received_at": signal.received_at.isoformat(),
        "title": signal.title,
        "url": signal.url,
        "actor": _named(signal.actor),
        "subject": _typed(signal.subject),
        "container": None if signal.container is None else _typed(signal.container),
        "dedupe_key": key_text(signal.dedupe_key),
        "origin": signal.origin,
        "payload": signal.payload,
    }


def _named(actor: Actor | None) -> dict[str, Any] | None:
    return None if actor is None else {"id": actor.id, "name": actor.name, "url": actor.url}


def _typed(thing: Subject | Container) -> dict[str, Any]:
    return {"type": thing.type, "id": thing.id, "name": thing.name, "url": thing.url}


def _read(row: Row[Any], payload: Mapping[str, Any] | None) -> Signal:
    return Signal(
        id=row.id,
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        provider=row.provider,
        kind=SignalKind(row.kind),
        occurred_at=row.occurred_at,
        received_at=row.received_at,
        title=row.title,
        url=row.url,
        actor=None if row.actor is None else Actor(**row.actor),
        subject=Subject(**row.subject),
        container=None if row.container is None else Container(**row.container),
        dedupe_key=row.dedupe_key,
        origin=Origin(row.origin),
        payload=payload,
    )
