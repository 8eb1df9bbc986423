"""The log of received deliveries in memory."""

from datetime import datetime

import attrs

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.storable import as_stored, clean_text, key_text
from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.ids import DeliveryId, ProviderSlug, TenantId
from connectors.domain.model.paging import Page, PageRequest
from connectors.domain.model.webhook import DeliveryFilter, DeliveryStatus, Recorded, WebhookDelivery


class MemoryDeliveryLog:
    """`DeliveryLog` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.deliveries

    def record(self, delivery: WebhookDelivery) -> Recorded:
        """See `DeliveryLog.record`."""
        if self.find_by_delivery_id(delivery.tenant_id, delivery.provider, delivery.delivery_id) is not None:
            return Recorded.DUPLICATE
        self._database.require_tenant(delivery.tenant_id)
        if self._rows.get((delivery.tenant_id, delivery.id)) is not None:
            raise ConflictError("Another delivery has this id.")
        row = attrs.evolve(as_stored(delivery), delivery_id=key_text(delivery.delivery_id))
        self._rows.put((row.tenant_id, row.id), row)
        return Recorded.NEW

    def settle(self, delivery: WebhookDelivery) -> None:
        """See `DeliveryLog.settle`.

        Raises:
            NotFoundError: the tenant has none with this id.
        """
        changed = attrs.evolve(
            self.get(delivery.tenant_id, delivery.id),
            connection_id=delivery.connection_id,
            event=None if delivery.event is None else clean_text(delivery.event),
            status=delivery.status,
            error=None if delivery.error is None else clean_text(delivery.error),
            signal_count=delivery.signal_count,
        )
        self._rows.put((changed.tenant_id, changed.id), changed)

    def find_by_delivery_id(
        self,
        tenant_id: TenantId,
        provider: ProviderSlug,
        delivery_id: str,
        *,
        lock: bool = False,  # noqa: ARG002 - the unit of work holds the lock
    ) -> WebhookDelivery | None:
        """See `DeliveryLog.find_by_delivery_id`."""
        return next(iter(self._rows.find("delivery", (tenant_id, provider, key_text(delivery_id)))), None)

    def get(self, tenant_id: TenantId, delivery_id: DeliveryId, *, lock: bool = False) -> WebhookDelivery:  # noqa: ARG002 - the unit of work holds the lock
        """See `DeliveryLog.get`."""
        row = self._rows.get((tenant_id, delivery_id))
        if row is None:
            raise NotFoundError("The tenant has no such delivery.")
        return row

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: DeliveryFilter) -> Page[WebhookDelivery]:
        """See `DeliveryLog.list_page`."""
        found = self._rows.page(
            tenant_id,
            page,
            lambda row: (
                where.provider in (None, row.provider)
                and where.connection_id in (None, row.connection_id)
                and where.status in (None, row.status)
            ),
        )
        return Page(tuple(attrs.evolve(row, body=b"") for row in found.items), found.next)

    def prune(self, *, received_before: datetime, limit: int) -> int:
        """See `DeliveryLog.prune`."""
        old = [
            row
            for row in self._rows.values()
            if row.received_at < received_before and row.status is not DeliveryStatus.FAILED
        ]
        for row in old[:limit]:
            self._rows.remove((row.tenant_id, row.id))
        return len(old[:limit])
