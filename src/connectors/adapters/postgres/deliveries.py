"""The log of received deliveries in PostgreSQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from connectors.adapters.postgres.paging import page_of, read_page
from connectors.adapters.postgres.tables import deliveries
from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.errors import NotFoundError
from connectors.domain.model.ids import DeliveryId, ProviderSlug, TenantId
from connectors.domain.model.paging import Page, PageRequest, Position
from connectors.domain.model.webhook import DeliveryFilter, DeliveryStatus, Recorded, WebhookDelivery

_T = deliveries.c
_INSERT = insert(deliveries).on_conflict_do_nothing(index_elements=[_T.tenant_id, _T.provider, _T.delivery_id])
_BY_DELIVERY_ID = select(deliveries).where(
    _T.tenant_id == bindparam("tenant"),
    _T.provider == bindparam("of_provider"),
    _T.delivery_id == bindparam("delivery"),
)
_WITHOUT_BODY = select(*[column for column in _T if column.name != "body"])


class PostgresDeliveryLog:
    """`DeliveryLog` in PostgreSQL."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def record(self, delivery: WebhookDelivery) -> Recorded:
        """See `DeliveryLog.record`."""
        values = {
            "tenant_id": delivery.tenant_id,
            "id": delivery.id,
            "provider": delivery.provider,
            "connection_id": delivery.connection_id,
            "delivery_id": delivery.delivery_id,
            "event": delivery.event,
            "headers": delivery.headers,
            "body": delivery.body,
            "received_at": delivery.received_at,
            "status": delivery.status,
            "error": delivery.error,
            "signal_count": delivery.signal_count,
        }
        return Recorded.NEW if self._transaction.count(_INSERT, values) else Recorded.DUPLICATE

    def settle(self, delivery: WebhookDelivery) -> None:
        """See `DeliveryLog.settle`.

        Raises:
            NotFoundError: the tenant has none with this id.
        """
        settled = self._transaction.count(
            update(deliveries)
            .where(_T.tenant_id == delivery.tenant_id, _T.id == delivery.id)
            .values(
                connection_id=delivery.connection_id,
                event=delivery.event,
                status=delivery.status,
                error=delivery.error,
                signal_count=delivery.signal_count,
            )
        )
        if not settled:
            raise NotFoundError("The tenant has no such delivery.")

    def find_by_delivery_id(
        self, tenant_id: TenantId, provider: ProviderSlug, delivery_id: str, *, lock: bool = False
    ) -> WebhookDelivery | None:
        """See `DeliveryLog.find_by_delivery_id`."""
        statement = _BY_DELIVERY_ID.with_for_update() if lock else _BY_DELIVERY_ID
        values = {"tenant": tenant_id, "of_provider": provider, "delivery": delivery_id}
        row = self._transaction.first(statement, values)
        return None if row is None else _read(row, bytes(row.body))

    def get(self, tenant_id: TenantId, delivery_id: DeliveryId, *, lock: bool = False) -> WebhookDelivery:
        """See `DeliveryLog.get`."""
        statement = select(deliveries).where(_T.tenant_id == tenant_id, _T.id == delivery_id)
        row = self._transaction.first(statement.with_for_update() if lock else statement)
        if row is None:
            raise NotFoundError("The tenant has no such delivery.")
        return _read(row, bytes(row.body))

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: DeliveryFilter) -> Page[WebhookDelivery]:
        """See `DeliveryLog.list_page`."""
        statement = _WITHOUT_BODY.where(_T.tenant_id == tenant_id)
        if where.provider is not None:
            statement = statement.where(_T.provider == where.provider)
        if where.connection_id is not None:
            statement = statement.where(_T.connection_id == where.connection_id)
        if where.status is not None:
            statement = statement.where(_T.status == where.status)
        return read_page(
            self._transaction,
            page_of(statement, page, _T.received_at, _T.id),
            page,
            read=lambda row: _read(row, b""),
            position=lambda item: Position(item.received_at, item.id),
        )

    def prune(self, *, received_before: datetime, limit: int) -> int:
        """See `DeliveryLog.prune`."""
        # No index serves this: it runs rarely, in small batches, and an index would make every delivery slower.
        old = (
            select(_T.tenant_id, _T.id)
            .where(_T.received_at < received_before, _T.status != DeliveryStatus.FAILED)
            .limit(limit)
        )
        return self._transaction.count(delete(deliveries).where(tuple_(_T.tenant_id, _T.id).in_(old)))


def _read(row: Row[Any], body: bytes) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        connection_id=row.connection_id,
        delivery_id=row.delivery_id,
        event=row.event,
        headers=row.headers,
        body=body,
        received_at=row.received_at,
        status=DeliveryStatus(row.status),
        error=row.error,
        signal_count=row.signal_count,
    )
