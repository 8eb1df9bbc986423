"""Connections in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.paging import page_of, read_page
from connectors.adapters.postgres.tables import connections
from connectors.adapters.postgres.transaction import Transaction
from connectors.adapters.storable import account_email, account_host
from connectors.domain.model.connection import Connection, ConnectionStatus, ExternalAccount, ReasonCode
from connectors.domain.model.errors import ConnectionNotFoundError
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.paging import Page, PageRequest, Position

_T = connections.c
_IDENTITY = ("tenant_id", "id", "created_at")
_INSERT = insert(connections)
_UPSERT = _INSERT.on_conflict_do_update(
    index_elements=[_T.tenant_id, _T.provider, _T.account_id],
    set_={column.name: _INSERT.excluded[column.name] for column in connections.c if column.name not in _IDENTITY},
).returning(connections)


class PostgresConnectionStore:
    """`ConnectionStore` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def save(self, connection: Connection) -> Connection:
        """See `ConnectionStore.save`."""
        values = _values(connection)
        other = connections.alias("other")
        taken = exists().where(
            other.c.tenant_id == connection.tenant_id,
            other.c.provider == connection.provider,
            other.c.account_id == connection.account.id,
            other.c.id != connection.id,
        )
        changed = self._transaction.first(
            update(connections)
            .where(_T.tenant_id == connection.tenant_id, _T.id == connection.id, ~taken)
            .values({name: value for name, value in values.items() if name not in _IDENTITY})
            .returning(connections)
        )
        # Two processes may connect the same account at the same time: the later one updates the earlier one's row.
        return _read(changed or self._transaction.run(_UPSERT, values).one())

    def get(self, tenant_id: TenantId, connection_id: ConnectionId, *, lock: bool = False) -> Connection:
        """See `ConnectionStore.get`."""
        statement = select(connections).where(_T.tenant_id == tenant_id, _T.id == connection_id)
        row = self._transaction.first(statement.with_for_update() if lock else statement)
        if row is None:
            raise ConnectionNotFoundError("The tenant has no such connection.")
        return _read(row)

    def find_by_account(self, tenant_id: TenantId, provider: ProviderSlug, account_id: str) -> Connection | None:
        """See `ConnectionStore.find_by_account`."""
        row = self._transaction.first(
            select(connections).where(_T.tenant_id == tenant_id, _T.provider == provider, _T.account_id == account_id)
        )
        return None if row is None else _read(row)

    def list_by_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Sequence[Connection]:
        """See `ConnectionStore.list_by_grant`."""
        return self._oldest_first(select(connections).where(_T.tenant_id == tenant_id, _T.grant_id == grant_id))

    def list_of_provider(
        self, tenant_id: TenantId, provider: ProviderSlug, status: ConnectionStatus | None = None
    ) -> Sequence[Connection]:
        """See `ConnectionStore.list_of_provider`."""
        statement = select(connections).where(_T.tenant_id == tenant_id, _T.provider == provider)
        return self._oldest_first(statement if status is None else statement.where(_T.status == status))

    def list_by_accounts(self, provider: ProviderSlug, account_ids: Iterable[str]) -> Sequence[Connection]:
        """See `ConnectionStore.list_by_accounts`."""
        named: dict[str, list[str]] = {"host": [], "email": [], "": []}
        for name in account_ids:
            scheme, _, rest = name.partition(":")
            if scheme in ("host", "email") and rest:
                named[scheme].append(rest.lower())
            else:
                named[""].append(name)
        columns = {"": _T.account_id, "host": _T.account_host, "email": _T.account_email}
        tests = [columns[scheme].in_(names) for scheme, names in named.items() if names]
        if not tests:
            return []
        return self._oldest_first(select(connections).where(_T.provider == provider, or_(*tests)))

    def list_all(self, *, status: ConnectionStatus | None = None) -> Sequence[Connection]:
        """See `ConnectionStore.list_all`."""
        statement = select(connections)
        return self._oldest_first(statement if status is None else statement.where(_T.status == status))

    def count_by_status(self) -> Mapping[tuple[ProviderSlug, ConnectionStatus], int]:
        """See `ConnectionStore.count_by_status`."""
        rows = self._transaction.all(
            select(_T.provider, _T.status, func.count().label("number")).group_by(_T.provider, _T.status)
        )
        return {(row.provider, ConnectionStatus(row.status)): row.number for row in rows}

    def list_page(
        self,
        tenant_id: TenantId,
        page: PageRequest,
        *,
        provider: ProviderSlug | None = None,
        status: ConnectionStatus | None = None,
    ) -> Page[Connection]:
        """See `ConnectionStore.list_page`."""
        statement = select(connections).where(_T.tenant_id == tenant_id)
        if provider is not None:
            statement = statement.where(_T.provider == provider)
        if status is not None:
            statement = statement.where(_T.status == status)
        return read_page(
            self._transaction,
            page_of(statement, page, _T.created_at, _T.id),
            page,
            read=_read,
            position=lambda item: Position(item.created_at, item.id),
        )

    def _oldest_first(self, statement: Select[Any]) -> Sequence[Connection]:
        return [_read(row) for row in self._transaction.all(statement.order_by(_T.created_at, _T.id))]


def _values(connection: Connection) -> dict[str, Any]:
    return {
        "tenant_id": connection.tenant_id,
        "id": connection.id,
        "provider": connection.provider,
        "account_id": connection.account.id,
        "account_name": connection.account.name,
        "account_url": connection.account.url,
        "account_metadata": connection.account.metadata,
        "account_host": account_host(connection.account),
        "account_email": account_email(connection.account),
        "grant_id": connection.grant_id,
        "status": connection.status,
        "status_reason": connection.status_reason,
        "reason_code": connection.reason_code,
        "scopes": list(connection.scopes),
        "expires_at": connection.expires_at,
        "metadata": connection.metadata,
        "last_synced_at": connection.last_synced_at,
        "sync_error": connection.sync_error,
        "webhook_error": connection.webhook_error,
        "end_error": connection.end_error,
        "suspected_at": connection.suspected_at,
        "created_at": connection.created_at,
        "consented_at": connection.consented_at,
        "updated_at": connection.updated_at,
    }


def _read(row: Row[Any]) -> Connection:
    return Connection(
        id=row.id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        account=ExternalAccount(
            id=row.account_id, name=row.account_name, url=row.account_url, metadata=row.account_metadata
        ),
        grant_id=row.grant_id,
        status=ConnectionStatus(row.status),
        status_reason=row.status_reason,
        reason_code=None if row.reason_code is None else ReasonCode(row.reason_code),
        scopes=tuple(row.scopes),
        expires_at=row.expires_at,
        metadata=row.metadata,
        last_synced_at=row.last_synced_at,
        sync_error=row.sync_error,
        webhook_error=row.webhook_error,
        end_error=row.end_error,
        suspected_at=row.suspected_at,
        created_at=row.created_at,
        consented_at=row.consented_at,
        updated_at=row.updated_at,
    )
