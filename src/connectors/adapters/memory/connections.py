"""Connections in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ConnectionNotFoundError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.paging import Page, PageRequest


class MemoryConnectionStore:
    """`ConnectionStore` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.connections

    def save(self, connection: Connection) -> Connection:
        """See `ConnectionStore.save`."""
        self._database.require_tenant(connection.tenant_id)
        row = as_stored(connection)
        row = attrs.evolve(row, account=attrs.evolve(row.account, id=key_text(row.account.id)))
        there = self.find_by_account(row.tenant_id, row.provider, row.account.id) or self._rows.get(
            (row.tenant_id, row.id)
        )
        if there is not None:
            row = attrs.evolve(row, id=there.id, created_at=there.created_at)
        self._rows.put((row.tenant_id, row.id), row)
        return row

    def get(self, tenant_id: TenantId, connection_id: ConnectionId, *, lock: bool = False) -> Connection:  # noqa: ARG002 - the unit of work holds the lock
        """See `ConnectionStore.get`."""
        row = self._rows.get((tenant_id, connection_id))
        if row is None:
            raise ConnectionNotFoundError("The tenant has no such connection.")
        return row

    def find_by_account(self, tenant_id: TenantId, provider: ProviderSlug, account_id: str) -> Connection | None:
        """See `ConnectionStore.find_by_account`."""
        return next(iter(self._rows.find("account", (tenant_id, provider, key_text(account_id)))), None)

    def list_by_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Sequence[Connection]:
        """See `ConnectionStore.list_by_grant`."""
        return _oldest_first(self._rows.find("grant", (tenant_id, grant_id)))

    def list_of_provider(
        self, tenant_id: TenantId, provider: ProviderSlug, status: ConnectionStatus | None = None
    ) -> Sequence[Connection]:
        """See `ConnectionStore.list_of_provider`."""
        rows = self._rows.newest_first(tenant_id)
        return _oldest_first(row for row in rows if row.provider == provider and status in (None, row.status))

    def list_by_accounts(self, provider: ProviderSlug, account_ids: Iterable[str]) -> Sequence[Connection]:
        """See `ConnectionStore.list_by_accounts`."""
        found = {}
        for name in account_ids:
            scheme, _, rest = name.partition(":")
            index, value = (scheme, rest.lower()) if scheme in ("host", "email") and rest else ("named", name)
            for row in self._rows.find(index, (provider, key_text(value))):
                found[row.tenant_id, row.id] = row
        return _oldest_first(found.values())

    def list_all(self, *, status: ConnectionStatus | None = None) -> Sequence[Connection]:
        """See `ConnectionStore.list_all`."""
        return _oldest_first(row for row in self._rows.values() if status in (None, row.status))

    def count_by_status(self) -> Mapping[tuple[ProviderSlug, ConnectionStatus], int]:
        """See `ConnectionStore.count_by_status`."""
        return Counter((row.provider, row.status) for row in self._rows.values())

    def list_page(
        self,
        tenant_id: TenantId,
        page: PageRequest,
        *,
        provider: ProviderSlug | None = None,
        status: ConnectionStatus | None = None,
    ) -> Page[Connection]:
        """See `ConnectionStore.list_page`."""
        return self._rows.page(
            tenant_id, page, lambda row: provider in (None, row.provider) and status in (None, row.status)
        )


def _oldest_first(rows: Iterable[Connection]) -> Sequence[Connection]:
    return sorted(rows, key=lambda row: (row.created_at, row.id))
