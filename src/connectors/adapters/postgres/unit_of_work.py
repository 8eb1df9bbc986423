"""One unit of work in PostgreSQL: one connection, one transaction."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Self

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from connectors.adapters.postgres.authorization_requests import PostgresAuthorizationRequestStore
from connectors.adapters.postgres.connections import PostgresConnectionStore
from connectors.adapters.postgres.coverage import PostgresCoverageStore
from connectors.adapters.postgres.deliveries import PostgresDeliveryLog
from connectors.adapters.postgres.engine import translate
from connectors.adapters.postgres.grants import PostgresGrantStore
from connectors.adapters.postgres.idempotency import PostgresIdempotencyStore
from connectors.adapters.postgres.jobs import PostgresJobStore
from connectors.adapters.postgres.limits import PostgresLimitStore
from connectors.adapters.postgres.schedules import PostgresScheduleStore
from connectors.adapters.postgres.signals import PostgresSignalStore
from connectors.adapters.postgres.snapshots import PostgresSnapshotStore
from connectors.adapters.postgres.streams import PostgresAccountStore, PostgresParkedStore, PostgresStreamStore
from connectors.adapters.postgres.subscriptions import PostgresSubscriptionStore
from connectors.adapters.postgres.tenants import PostgresTenantStore
from connectors.adapters.postgres.transaction import Transaction
from connectors.ports.job_queue import JobQueue
from connectors.ports.unit_of_work import UnitOfWorkFactory

JoinQueue = Callable[[Connection], JobQueue]


_NOW = text("SELECT clock_timestamp()")


class PostgresUnitOfWork:
    """The stores, sharing one transaction."""

    def __init__(self, engine: Engine, join_queue: JoinQueue, now: Callable[[], datetime] | None) -> None:
        self._now = now
        self._engine = engine
        self._join_queue = join_queue
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        """Take a connection; the transaction begins with the first statement."""
        try:
            self._connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise translate(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back if the block raised; the connection returns to the pool in any case."""
        connection = self._connection
        self._connection = None
        if connection is None:
            return
        try:
            try:
                if kind is None:
                    connection.commit()
            finally:
                connection.close()
        except SQLAlchemyError as failure:
            if kind is None:
                raise translate(failure) from None
            # The block's own error says more than a failed rollback on a lost connection.

    def now(self) -> datetime:
        """See `UnitOfWork.now`."""
        if self._now is not None:
            return self._now()
        now: datetime = self._transaction.run(_NOW).scalar_one()
        return now

    @property
    def connection(self) -> Connection:
        """The open connection, for what takes part in our transaction (the job queue)."""
        if self._connection is None:
            raise RuntimeError("a unit of work is used outside its block")
        return self._connection

    @cached_property
    def _transaction(self) -> Transaction:
        return Transaction(self.connection)

    @cached_property
    def tenants(self) -> PostgresTenantStore:
        """See `UnitOfWork`."""
        return PostgresTenantStore(self._transaction)

    @cached_property
    def connections(self) -> PostgresConnectionStore:
        """See `UnitOfWork`."""
        return PostgresConnectionStore(self._transaction)

    @cached_property
    def grants(self) -> PostgresGrantStore:
        """See `UnitOfWork`."""
        return PostgresGrantStore(self._transaction)

    @cached_property
    def authorization_requests(self) -> PostgresAuthorizationRequestStore:
        """See `UnitOfWork`."""
        return PostgresAuthorizationRequestStore(self._transaction)

    @cached_property
    def subscriptions(self) -> PostgresSubscriptionStore:
        """See `UnitOfWork`."""
        return PostgresSubscriptionStore(self._transaction)

    @cached_property
    def deliveries(self) -> PostgresDeliveryLog:
        """See `UnitOfWork`."""
        return PostgresDeliveryLog(self._transaction)

    @cached_property
    def signals(self) -> PostgresSignalStore:
        """See `UnitOfWork`."""
        return PostgresSignalStore(self._transaction)

    @cached_property
    def snapshots(self) -> PostgresSnapshotStore:
        """See `UnitOfWork`."""
        return PostgresSnapshotStore(self._transaction)

    @cached_property
    def accounts(self) -> PostgresAccountStore:
        """See `UnitOfWork`."""
        return PostgresAccountStore(self._transaction)

    @cached_property
    def streams(self) -> PostgresStreamStore:
        """See `UnitOfWork`."""
        return PostgresStreamStore(self._transaction)

    @cached_property
    def parked(self) -> PostgresParkedStore:
        """See `UnitOfWork`."""
        return PostgresParkedStore(self._transaction)

    @cached_property
    def jobs(self) -> PostgresJobStore:
        """See `UnitOfWork`."""
        return PostgresJobStore(self._transaction)

    @cached_property
    def schedules(self) -> PostgresScheduleStore:
        """See `UnitOfWork`."""
        return PostgresScheduleStore(self._transaction)

    @cached_property
    def coverage(self) -> PostgresCoverageStore:
        """See `UnitOfWork`."""
        return PostgresCoverageStore(self._transaction)

    @cached_property
    def limits(self) -> PostgresLimitStore:
        """See `UnitOfWork`."""
        return PostgresLimitStore(self._transaction)

    @cached_property
    def idempotency(self) -> PostgresIdempotencyStore:
        """See `UnitOfWork`."""
        return PostgresIdempotencyStore(self._transaction)

    @cached_property
    def queue(self) -> JobQueue:
        """See `UnitOfWork`."""
        return self._join_queue(self.connection)


def postgres_unit_of_work(
    engine: Engine, join_queue: JoinQueue, now: Callable[[], datetime] | None = None
) -> UnitOfWorkFactory:
    """Begins units of work on this engine's database.

    Args:
        engine: the pool.
        join_queue: creates the queue on a unit of work's open connection, within its transaction.
        now: the time, where it is not the database's: a test's.
    """
    return lambda: PostgresUnitOfWork(engine, join_queue, now)
