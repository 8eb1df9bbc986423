"""One transaction over all stores."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from connectors.ports.stores import (
    AuthorizationRequestStore,
    ConnectionStore,
    DeliveryLog,
    GrantStore,
    JobStore,
    SignalStore,
    SnapshotStore,
    SubscriptionStore,
    SyncStateStore,
    TenantStore,
)


class UnitOfWork(Protocol):
    """The stores, seen through one transaction."""

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
    def sync_states(self) -> SyncStateStore: ...
    @property
    def jobs(self) -> JobStore: ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]
"""Begin a unit of work. Leaving the block commits, an exception rolls back. Never held over HTTP.

Raises InfrastructureError, at entering or leaving, when the database cannot be reached or the commit failed; then
nothing of it was kept, unless the connection broke during the commit itself (callers repeat idempotent work).
"""
