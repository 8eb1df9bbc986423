"""One transaction over all stores and the queue."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from connectors.ports.job_queue import JobQueue
from connectors.ports.stores import (
    AuthorizationRequestStore,
    ConnectionStore,
    DeliveryLog,
    GrantStore,
    SignalStore,
    SubscriptionStore,
    TenantStore,
)
from connectors.ports.stream_stores import AccountStore, ParkedStore, StreamStore
from connectors.ports.sync_stores import (
    CoverageStore,
    IdempotencyStore,
    JobStore,
    LimitStore,
    ScheduleStore,
    SnapshotStore,
)


class UnitOfWork(Protocol):
    """The stores and the queue, sharing one transaction."""

    @property
    def tenants(self) -> TenantStore: ...
    @property
    def connections(self) -> ConnectionStore: ...
    @property
    def grants(self) -> GrantStore: ...
    @property
    def authorization_requests(self) -> AuthorizationRequestStore: ...
    @property
    def subscriptions(self) -> SubscriptionStore: ...
    @property
    def deliveries(self) -> DeliveryLog: ...
    @property
    def signals(self) -> SignalStore: ...
    @property
    def snapshots(self) -> SnapshotStore: ...
    @property
    def accounts(self) -> AccountStore: ...
    @property
    def streams(self) -> StreamStore: ...
    @property
    def parked(self) -> ParkedStore: ...
    @property
    def jobs(self) -> JobStore: ...
    @property
    def schedules(self) -> ScheduleStore: ...
    @property
    def coverage(self) -> CoverageStore: ...
    @property
    def limits(self) -> LimitStore: ...
    @property
    def idempotency(self) -> IdempotencyStore: ...
    @property
    def queue(self) -> JobQueue: ...

    def now(self) -> datetime:
        """The present instant by the database's clock, which is the same for all processes."""
        ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]
"""Begins a unit of work. Leaving the block commits; an exception rolls back. Never held during an HTTP call.

On entering or leaving, it raises InfrastructureError if the database cannot be reached or the commit failed. Nothing
was stored then, unless the connection broke during the commit itself (callers repeat idempotent work).
"""
