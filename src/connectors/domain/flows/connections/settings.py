"""Changes the settings of existing connections."""

from datetime import timedelta

import attrs

from connectors.domain.flows.reading.schedule import INTERVAL_SETTING, Scheduler
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ValidationError
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.schedule import LONGEST_INTERVAL, SHORTEST_INTERVAL
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory


@attrs.frozen(kw_only=True)
class ConnectionSettingsFlow:
    """Changes the settings of connections."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    providers: ProviderRegistry
    scheduler: Scheduler

    def set_sync_interval(
        self, tenant_id: TenantId, connection_id: ConnectionId, interval: timedelta | None
    ) -> Connection:
        """The connection, read at this interval from now on.

        The next read is scheduled again, about an interval from now.

        Args:
            tenant_id: whose connection.
            connection_id: which connection.
            interval: between two reads, give or take a fifth; None for its provider's.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            TenantNotFoundError: it is being erased.
            ProviderNotSupportedError: its provider is not installed here.
            ValidationError: the interval is shorter than a minute or longer than a year.
        """
        if interval is not None and not SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
            raise ValidationError(
                "The interval is too short or too long.",
                details=[{"field": INTERVAL_SETTING, "message": "is not between a minute and a year"}],
            )
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            uow.tenants.get(tenant_id)  # raises if it is being erased
            provider = self.providers.get_stored(connection.provider)
            metadata = {name: value for name, value in connection.metadata.items() if name != INTERVAL_SETTING}
            if interval is not None:
                metadata[INTERVAL_SETTING] = int(interval.total_seconds())
            changed = uow.connections.save(attrs.evolve(connection, metadata=metadata, updated_at=self.clock.now()))
            if changed.status is not ConnectionStatus.REVOKED:
                self.scheduler.plan_sync(uow, provider, changed)
            return changed
