"""The stores of what is read and how far. The same rules apply as in `stores.py`: one tenant at a time, in a unit of
work."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from connectors.domain.model.ids import ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.stream_state import AccountState, ParkedState, StreamState, StreamStatus


class StreamStore(Protocol):
    """The streams of each connection; (tenant, connection, key) is unique."""

    def list(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[StreamState]:
        """All of the connection's streams, by key; discovery, with the empty key, is the first."""
        ...

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
        """At most `limit` of them whose key comes after that one, by key; discovery is left out."""
        ...

    def lock(self, tenant_id: TenantId, connection_id: ConnectionId, keys: Iterable[str]) -> Sequence[StreamState]:
        """Those with these keys, by key, locked in that order until this unit of work ends. Unknown keys are absent."""
        ...

    def save(self, states: Sequence[StreamState]) -> None:
        """Insert or replace them, in one statement; of several with the same key the last one counts. Whoever changes
        one has locked it before."""
        ...

    def request(self, tenant_id: TenantId, connection_id: ConnectionId, key: str, *, at: datetime) -> bool:
        """Note that somebody asks for a read of it at this instant; whether there is such a stream."""
        ...

    def count(self) -> Mapping[tuple[ProviderSlug, StreamStatus], int]:
        """Across tenants: the number of streams of active connections, discovery included. For metrics."""
        ...

    def oldest_unread(self) -> Mapping[ProviderSlug, datetime]:
        """Across tenants: the earliest `read_until` of a stream that is ready or blocked, that a family needs, and that
        nobody dismissed, of active connections. So discovery does not count, nor what only gives names: both are
        read seldom. For metrics."""
        ...


class ParkedStore(Protocol):
    """The parked items of each connection; (tenant, connection, stream, reference) is unique."""

    def list_open(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[ParkedState]:
        """Those that are open, by stream and reference."""
        ...

    def lock(
        self, tenant_id: TenantId, connection_id: ConnectionId, stream_key: str, reference: str
    ) -> ParkedState | None:
        """The item, open or closed, locked until this unit of work ends; None if there is none."""
        ...

    def save(self, item: ParkedState) -> None:
        """Insert or replace it."""
        ...

    def count_open(self) -> Mapping[ProviderSlug, int]:
        """Across tenants: the number of open items of active connections. For metrics."""
        ...

    def prune(self, *, closed_before: datetime) -> int:
        """Across tenants: delete items that were closed earlier; returns how many. Those that a person gave up stay: a
        page that shows one must not park it again."""
        ...


class AccountStore(Protocol):
    """What concerns all streams of a connection together; (tenant, connection) is unique."""

    def find(self, tenant_id: TenantId, connection_id: ConnectionId, *, lock: bool = False) -> AccountState | None:
        """The state, or None. `lock` as in `ConnectionStore.get`."""
        ...

    def add(self, state: AccountState) -> AccountState:
        """Store it unless there is one, and return the one that is there, locked."""
        ...

    def save(self, state: AccountState) -> None:
        """Replace it; nothing happens if there is none. Whoever changes it has locked it before."""
        ...

    def count_running(self, *, tenant_id: TenantId | None = None, provider: ProviderSlug | None = None) -> int:
        """The number of connections that are being read, across tenants unless one is named. Until this unit of work
        ends, nobody else can count, so that two workers cannot both take the last concurrency slot."""
        ...

    def list_silent(self, *, before: datetime, limit: int) -> Sequence[AccountState]:
        """Across tenants: those that are being read, and whose worker has stored nothing since then. For rescue."""
        ...
