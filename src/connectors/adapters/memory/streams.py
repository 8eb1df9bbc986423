"""Streams, parked items and what concerns a whole account, in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.stream_state import AccountState, ClosedBy, ParkedState, StreamState, StreamStatus
from connectors.domain.model.streams import DISCOVERY


class MemoryStreamStore:
    """`StreamStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.streams

    def list(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[StreamState]:
        """See `StreamStore.list`."""
        return sorted(self._rows.find("connection", (tenant_id, connection_id)), key=lambda row: row.key)

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
        start = key_text(after or DISCOVERY)
        found = [
            row
            for row in self.list(tenant_id, connection_id)
            if row.key > start and status in (None, row.status) and (family is None or family in row.stream.families)
        ]
        return found[:limit]

    def lock(self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]) -> Sequence[StreamState]:
        """See `StreamStore.lock`."""
        wanted = sorted({key_text(key) for key in keys})
        found = (self._rows.get((tenant_id, connection_id, key)) for key in wanted)
        return [row for row in found if row is not None]

    def save(self, states: Sequence[StreamState]) -> None:
        """See `StreamStore.save`."""
        for state in states:
            self._database.require_tenant(state.tenant_id)
            row = as_stored(attrs.evolve(state, stream=attrs.evolve(state.stream, key=key_text(state.key))))
            self._rows.put((row.tenant_id, row.connection_id, row.key), row)

    def request(self, tenant_id: TenantId, connection_id: ConnectionId, key: str, *, at: datetime) -> bool:
        """See `StreamStore.request`."""
        row = self._rows.get((tenant_id, connection_id, key_text(key)))
        if row is not None:
            self._rows.put((tenant_id, connection_id, row.key), attrs.evolve(row, requested_at=at))
        return row is not None

    def count(self) -> Mapping[tuple[ProviderSlug, StreamStatus], int]:
        """See `StreamStore.count`."""
        return Counter((provider, row.status) for provider, row in self._active())

    def oldest_unread(self) -> Mapping[ProviderSlug, datetime]:
        """See `StreamStore.oldest_unread`."""
        oldest: dict[ProviderSlug, datetime] = {}
        for provider, row in self._active():
            is_awaited = row.is_readable and not row.is_dismissed and bool(row.stream.families)
            if is_awaited and row.read_until is not None:
                oldest[provider] = min(row.read_until, oldest.get(provider, row.read_until))
        return oldest

    def _active(self) -> Iterable[tuple[ProviderSlug, StreamState]]:
        for row in self._rows.values():
            connection = self._database.connections.get((row.tenant_id, row.connection_id))
            if connection is not None and connection.status is ConnectionStatus.ACTIVE:
                yield connection.provider, row


class MemoryParkedStore:
    """`ParkedStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.parked

    def list_open(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[ParkedState]:
        """See `ParkedStore.list_open`."""
        rows = self._rows.find("connection", (tenant_id, connection_id))
        return sorted((row for row in rows if row.closed_at is None), key=lambda row: (row.stream_key, row.reference))

    def lock(
        self, tenant_id: TenantId, connection_id: ConnectionId, stream_key: str, reference: str
    ) -> ParkedState | None:
        """See `ParkedStore.lock`."""
        return self._rows.get((tenant_id, connection_id, key_text(stream_key), key_text(reference)))

    def save(self, item: ParkedState) -> None:
        """See `ParkedStore.save`."""
        self._database.require_tenant(item.tenant_id)
        row = as_stored(attrs.evolve(item, stream_key=key_text(item.stream_key), reference=key_text(item.reference)))
        self._rows.put((row.tenant_id, row.connection_id, row.stream_key, row.reference), row)

    def count_open(self) -> Mapping[ProviderSlug, int]:
        """See `ParkedStore.count_open`."""
        counts: Counter[ProviderSlug] = Counter()
        for row in self._rows.values():
            connection = self._database.connections.get((row.tenant_id, row.connection_id))
            if connection is None or connection.status is not ConnectionStatus.ACTIVE or row.closed_at is not None:
                continue
            counts[connection.provider] += 1
        return counts

    def prune(self, *, closed_before: datetime) -> int:
        """See `ParkedStore.prune`."""
        old = [
            row
            for row in self._rows.values()
            if row.closed_at is not None and row.closed_at < closed_before and row.closed_by is not ClosedBy.PERSON
        ]
        for row in old:
            self._rows.remove((row.tenant_id, row.connection_id, row.stream_key, row.reference))
        return len(old)


class MemoryAccountStore:
    """`AccountStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.accounts

    def find(self, tenant_id: TenantId, connection_id: ConnectionId, *, lock: bool = False) -> AccountState | None:  # noqa: ARG002 - the unit of work holds the lock
        """See `AccountStore.find`."""
        return self._rows.get((tenant_id, connection_id))

    def add(self, state: AccountState) -> AccountState:
        """See `AccountStore.add`."""
        key = (state.tenant_id, state.connection_id)
        known = self._rows.get(key)
        if known is not None:
            return known
        self._database.require_tenant(state.tenant_id)
        row = as_stored(state)
        self._rows.put(key, row)
        return row

    def save(self, state: AccountState) -> None:
        """See `AccountStore.save`."""
        key = (state.tenant_id, state.connection_id)
        if self._rows.get(key) is not None:
            self._rows.put(key, as_stored(state))

    def count_running(self, *, tenant_id: TenantId | None = None, provider: ProviderSlug | None = None) -> int:
        """See `AccountStore.count_running`."""
        return sum(
            row.running_since is not None and tenant_id in (None, row.tenant_id) and provider in (None, row.provider)
            for row in self._rows.values()
        )

    def list_silent(self, *, before: datetime, limit: int) -> Sequence[AccountState]:
        """See `AccountStore.list_silent`."""
        rows = [
            row
            for row in self._rows.values()
            if row.running_since is not None and (row.heartbeat_at or row.running_since) < before
        ]
        return sorted(rows, key=lambda row: (row.heartbeat_at or row.running_since, row.connection_id))[:limit]
