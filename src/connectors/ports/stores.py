"""The stores. Every method that touches one tenant's data takes the tenant id; no query works without it.

Methods that look across tenants say so; they serve app-level webhooks and maintenance, never a caller's request. A
store belongs to a unit of work (`unit_of_work.py`): its writes become visible, all or nothing, when that ends. Every
method raises InfrastructureError if the database cannot be reached, and TenantNotFoundError if it would store something
for an unknown tenant.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.ids import (
    ConnectionId,
    DeliveryId,
    GrantId,
    ProviderSlug,
    SignalId,
    SubscriptionId,
    TenantId,
)
from connectors.domain.model.oauth import AuthorizationOutcome, AuthorizationRequest, Grant, GrantState, RefreshLease
from connectors.domain.model.paging import Page, PageRequest
from connectors.domain.model.secret import SealedSecret
from connectors.domain.model.signal import Signal, SignalFilter
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import (
    DeliveryFilter,
    Recorded,
    Subscription,
    SubscriptionStatus,
    WebhookDelivery,
)


class TenantStore(Protocol):
    """The tenants known here."""

    def record(self, tenant: Tenant) -> Recorded:
        """Store the tenant; DUPLICATE, with nothing changed, if it is known already. One that was erased begins anew.

        Raises:
            ConflictError: it is being erased, and something of it is still ending at a provider.
        """
        ...

    def get(self, tenant_id: TenantId, *, lock: bool = False) -> Tenant:
        """The tenant. With `lock`, nobody else can lock or erase it before this unit of work ends.

        Raises:
            TenantNotFoundError: it is not known here, or was erased. The nil UUID never is.
        """
        ...

    def mark_erased(self, tenant_id: TenantId, *, at: datetime) -> None:
        """Note that the tenant is being erased: nobody finds it from now on."""
        ...

    def is_being_erased(self, tenant_id: TenantId, *, lock: bool = False) -> bool:
        """Whether it is known only as one that is being erased. `lock` as in `get`."""
        ...

    def erase(self, tenant_id: TenantId) -> None:
        """Delete all data of the tenant, except what is needed to end its grants and subscriptions."""
        ...

    def forget_erased(self, *, erased_before: datetime) -> int:
        """Delete the tenants that were erased before that instant and of which nothing is ending any more; how many."""
        ...


class ConnectionStore(Protocol):
    """Connections; (tenant, provider, account id) is unique."""

    def save(self, connection: Connection) -> Connection:
        """Store the connection, and return it as stored.

        If the tenant already has a connection to that account under another id, that one is updated instead and keeps
        its id and `created_at`.
        """
        ...

    def get(self, tenant_id: TenantId, connection_id: ConnectionId, *, lock: bool = False) -> Connection:
        """The tenant's connection. With `lock`, nobody else can change it before this unit of work ends.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
        """
        ...

    def find_by_account(self, tenant_id: TenantId, provider: ProviderSlug, account_id: str) -> Connection | None:
        """The tenant's connection to this external account, whatever its status."""
        ...

    def list_by_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Sequence[Connection]:
        """All connections that use the grant."""
        ...

    def list_of_provider(
        self, tenant_id: TenantId, provider: ProviderSlug, status: ConnectionStatus | None = None
    ) -> Sequence[Connection]:
        """All of the tenant's connections of one provider, oldest first."""
        ...

    def list_by_accounts(self, provider: ProviderSlug, account_ids: Iterable[str]) -> Sequence[Connection]:
        """Across tenants: every connection, whatever its status, to one of these accounts. They are named as in
        `WebhookEvent.account_ids`: by id, by `host:` of the account's URL, or by `email:` in its metadata."""
        ...

    def list_all(self, *, status: ConnectionStatus | None = None) -> Sequence[Connection]:
        """Across tenants: all connections, oldest first. For maintenance."""
        ...

    def count_by_status(self) -> Mapping[tuple[ProviderSlug, ConnectionStatus], int]:
        """Across tenants: the number of connections. For metrics."""
        ...

    def list_page(
        self,
        tenant_id: TenantId,
        page: PageRequest,
        *,
        provider: ProviderSlug | None = None,
        status: ConnectionStatus | None = None,
    ) -> Page[Connection]:
        """A page of the tenant's connections, newest first by (created_at, id)."""
        ...


class GrantStore(Protocol):
    """Grants; among the live ones, (tenant, provider, grant_key) is unique. Token sets stay sealed here."""

    def save(self, grant: Grant) -> None:
        """Insert the grant, or replace the one with its id. A newer version ends the refresh lease: its holder has
        refreshed a pair that was replaced.

        Raises:
            ConflictError: another live grant has its key.
        """
        ...

    def get(self, tenant_id: TenantId, grant_id: GrantId, *, lock: bool = False) -> Grant | None:
        """The tenant's grant, or None. With `lock`, nobody else can change it before this unit of work ends."""
        ...

    def find_live(self, tenant_id: TenantId, provider: ProviderSlug, grant_key: str) -> Grant | None:
        """The tenant's live grant for this consent, or None."""
        ...

    def is_lived_on(self, grant_key: str, *, besides: GrantId) -> bool:
        """Across tenants: whether another grant of the same consent is needed: a live one by an active or disabled
        connection, or one that has to go by a subscription that has to go before it."""
        ...

    def list_held(self, tenant_id: TenantId | None, *, limit: int) -> Sequence[Grant]:
        """Those that are ending or were left, of the tenant or (None) across tenants, the longest first."""
        ...

    def prune(self, *, ended_before: datetime, limit: int) -> int:
        """Across tenants: delete grants that have been ended or left for so long, at most `limit`; returns how many."""
        ...

    def count_by_state(self) -> Mapping[tuple[ProviderSlug, GrantState], int]:
        """Across tenants: the number of grants, without the ended ones. For metrics."""
        ...

    def oldest_ending(self) -> datetime | None:
        """Across tenants: since when the oldest grant that is ending has been. For metrics."""
        ...

    def claim_refresh(
        self, tenant_id: TenantId, grant_id: GrantId, *, now: datetime, until: datetime, hold: timedelta
    ) -> RefreshLease | None:
        """The right to refresh until `until`; None while another lease is valid, or if the grant is not live or ending.

        A lease with an open attempt that was never released stays valid for `hold` after its end: its holder may have
        new tokens that it cannot store yet. Instants of leases and attempts are the database's (`UnitOfWork.now`).
        """
        ...

    def record_attempt(self, tenant_id: TenantId, lease: RefreshLease, *, now: datetime) -> bool:
        """Record, before the call, that the refresh token is about to be sent; False if the lease is over or no longer
        ours. An attempt that is open already stays the first one."""
        ...

    def record_refreshed(
        self,
        tenant_id: TenantId,
        lease: RefreshLease,
        token_set: SealedSecret,
        *,
        expires_at: datetime | None,
        refresh_expires_at: datetime | None,
        at: datetime,
    ) -> Grant | None:
        """Store the rotated pair, clear the attempt and end the lease; None, with nothing written, if the lease is
        lost."""
        ...

    def release(self, tenant_id: TenantId, lease: RefreshLease, *, attempt_settled: bool) -> None:
        """End the lease without a new pair. `attempt_settled`: no attempt has an unknown outcome any more."""
        ...


class AuthorizationRequestStore(Protocol):
    """Authorization requests. They are issued, taken by one callback at a time, and finished."""

    def issue(self, request: AuthorizationRequest) -> None:
        """Store a new request until it expires."""
        ...

    def find(self, state_hash: bytes, *, now: datetime) -> AuthorizationRequest | None:
        """The request, whichever tenant's it is; None if it is unknown or has expired."""
        ...

    def take(
        self, request: AuthorizationRequest, *, code_hash: bytes | None, now: datetime, until: datetime
    ) -> AuthorizationRequest | None:
        """The request, leased until `until` and kept at least that long.

        None, with nothing changed, if it is leased, finished, expired, or was taken for another code before. Of
        concurrent callers exactly one gets it (RFC 9700 §4.2.4).
        """
        ...

    def note_grant(self, request: AuthorizationRequest, grant_id: GrantId) -> bool:
        """Record the grant that the request's code gave; False, with nothing written, if somebody else has taken it."""
        ...

    def release(self, request: AuthorizationRequest) -> None:
        """End the lease of the request that `take` returned, unless another caller has taken it since."""
        ...

    def finish(self, request: AuthorizationRequest, outcome: AuthorizationOutcome) -> bool:
        """Store the outcome of the request that `take` returned, end its lease and destroy its code verifier.

        False, with nothing changed, if another caller has taken it since, or it is finished or gone.
        """
        ...

    def sweep(self, *, now: datetime) -> int:
        """Delete expired requests; returns how many."""
        ...


class SubscriptionStore(Protocol):
    """Webhook subscriptions."""

    def save(self, subscription: Subscription) -> None:
        """Insert the subscription, or replace the one with its id."""
        ...

    def get(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> Subscription | None:
        """The tenant's subscription, or None."""
        ...

    def delete(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> None:
        """Delete the subscription."""
        ...

    def list_of_connection(self, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Subscription]:
        """All of a connection's subscriptions, whatever their status, oldest first."""
        ...

    def list_of_grant(self, tenant_id: TenantId, grant_id: GrantId) -> Sequence[Subscription]:
        """All subscriptions that the grant's tokens have made, whatever their status, oldest first."""
        ...

    def list_held(self, tenant_id: TenantId | None, *, limit: int) -> Sequence[Subscription]:
        """Those that are ending or were left, of the tenant or (None) across tenants, the longest first."""
        ...

    def prune(self, *, ended_before: datetime, limit: int) -> int:
        """Across tenants: delete those that have been ended or left for so long, at most `limit`; returns how many."""
        ...

    def oldest_ending(self) -> datetime | None:
        """Across tenants: since when the oldest subscription that is ending has been. For metrics."""
        ...

    def list_candidates(
        self, tenant_id: TenantId, provider: ProviderSlug, external_id: str | None
    ) -> Sequence[Subscription]:
        """The subscriptions whose secret may have signed a delivery, oldest first.

        Those that the external id names; those still PENDING, whose first delivery can arrive before the provider's
        response; and those that are ENDING without an external id, because that response was lost. Those that have
        ended or were left are left out.
        """
        ...

    def list_expiring(self, *, before: datetime) -> Sequence[Subscription]:
        """Across tenants: active subscriptions whose `expires_at` is earlier. For renewal."""
        ...

    def count_by_status(self) -> Mapping[tuple[ProviderSlug, SubscriptionStatus], int]:
        """Across tenants: the number of subscriptions, without the ended ones. For metrics."""
        ...

    def earliest_expiries(self) -> Mapping[ProviderSlug, datetime]:
        """Across tenants: when the first active subscription of each provider expires. For metrics."""
        ...


class DeliveryLog(Protocol):
    """The log of received deliveries; (tenant, provider, delivery_id) is unique."""

    def record(self, delivery: WebhookDelivery) -> Recorded:
        """Store the delivery; DUPLICATE, with nothing changed, if it is stored already."""
        ...

    def settle(self, delivery: WebhookDelivery) -> None:
        """Replace connection, event, status, error and signal count of the delivery with this id.

        Raises:
            NotFoundError: there is none with this id.
        """
        ...

    def find_by_delivery_id(
        self, tenant_id: TenantId, provider: ProviderSlug, delivery_id: str, *, lock: bool = False
    ) -> WebhookDelivery | None:
        """The tenant's delivery by the provider's id, or None. `lock` as in `ConnectionStore.get`."""
        ...

    def get(self, tenant_id: TenantId, delivery_id: DeliveryId, *, lock: bool = False) -> WebhookDelivery:
        """The tenant's delivery by our id.

        Raises:
            NotFoundError: the tenant has none with this id.
        """
        ...

    def list_page(self, tenant_id: TenantId, page: PageRequest, where: DeliveryFilter) -> Page[WebhookDelivery]:
        """A page of the tenant's deliveries, newest first by (received_at, id); bodies are left empty."""
        ...

    def prune(self, *, received_before: datetime, limit: int) -> int:
        """Across tenants: delete older deliveries, at most `limit`; returns how many. FAILED ones stay for a replay."""
        ...


class SignalStore(Protocol):
    """Signals; (tenant, provider, dedupe_key) is unique."""

    def record_all(self, signals: Sequence[Signal]) -> frozenset[SignalId]:
        """Store the signals whose dedupe key is new to their tenant; returns the ids of those."""
        ...

    def get(self, tenant_id: TenantId, signal_id: SignalId) -> Signal:
        """The tenant's signal, with its payload.

        Raises:
            NotFoundError: the tenant has none with this id.
        """
        ...

    def list_page(
        self, tenant_id: TenantId, page: PageRequest, where: SignalFilter, *, with_payload: bool = False
    ) -> Page[Signal]:
        """A page of the tenant's signals, newest first by (occurred_at, id)."""
        ...

    def list_arrived(self, tenant_id: TenantId, *, after: SignalId, limit: int) -> Sequence[Signal]:
        """The tenant's signals with greater ids, ordered by id, without payloads.

        That is the order of arrival, except that a signal becomes visible a moment after its id was made.
        """
        ...
