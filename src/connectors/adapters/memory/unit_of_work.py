"""One unit of work in memory: it has the database to itself, and undoes its changes if it fails."""

from datetime import datetime
from types import TracebackType
from typing import Self

from connectors.adapters.memory.authorization_requests import MemoryAuthorizationRequestStore
from connectors.adapters.memory.connections import MemoryConnectionStore
from connectors.adapters.memory.coverage import MemoryCoverageStore
from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.memory.deliveries import MemoryDeliveryLog
from connectors.adapters.memory.grants import MemoryGrantStore
from connectors.adapters.memory.idempotency import MemoryIdempotencyStore
from connectors.adapters.memory.job_queue import MemoryJobQueue
from connectors.adapters.memory.jobs import MemoryJobStore
from connectors.adapters.memory.limits import MemoryLimitStore
from connectors.adapters.memory.schedules import MemoryScheduleStore
from connectors.adapters.memory.signals import MemorySignalStore
from connectors.adapters.memory.snapshots import MemorySnapshotStore
from connectors.adapters.memory.streams import MemoryAccountStore, MemoryParkedStore, MemoryStreamStore
from connectors.adapters.memory.subscriptions import MemorySubscriptionStore
from connectors.adapters.memory.tenants import MemoryTenantStore
from connectors.ports.unit_of_work import UnitOfWorkFactory


class MemoryUnitOfWork:
    """The stores of one memory database, locked for the whole of the block."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._mark = 0
        self.tenants = MemoryTenantStore(database)
        self.connections = MemoryConnectionStore(database)
        self.grants = MemoryGrantStore(database)
        self.authorization_requests = MemoryAuthorizationRequestStore(database)
        self.subscriptions = MemorySubscriptionStore(database)
        self.deliveries = MemoryDeliveryLog(database)
        self.signals = MemorySignalStore(database)
        self.snapshots = MemorySnapshotStore(database)
        self.accounts = MemoryAccountStore(database)
        self.streams = MemoryStreamStore(database)
        self.parked = MemoryParkedStore(database)
        self.jobs = MemoryJobStore(database)
        self.schedules = MemoryScheduleStore(database)
        self.coverage = MemoryCoverageStore(database)
        self.limits = MemoryLimitStore(database)
        self.idempotency = MemoryIdempotencyStore(database)
        self.queue = MemoryJobQueue(database)

    def now(self) -> datetime:
        """See `UnitOfWork.now`."""
        return self._database.now()

    def __enter__(self) -> Self:
        """Wait for the lock and begin."""
        self._database.lock.acquire()
        self._mark = len(self._database.undo)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep all changes, or undo them if the block raised."""
        try:
            if kind is not None:
                self._database.roll_back(self._mark)
            # A nested unit of work commits on its own, as on a second database connection.
            del self._database.undo[self._mark :]
        finally:
            self._database.lock.release()


def memory_unit_of_work(database: MemoryDatabase) -> UnitOfWorkFactory:
    """Begins units of work on this database."""
    return lambda: MemoryUnitOfWork(database)
