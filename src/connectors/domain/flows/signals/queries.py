"""Shows what is stored: connections, signals, deliveries and jobs, always of one tenant."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

import attrs

from connectors.domain.flows.endings.held import Held, HeldFlow
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.signals.feed import SignalFeed
from connectors.domain.model.connection import Connection, ConnectionStatus, ReasonCode
from connectors.domain.model.coverage import Gap
from connectors.domain.model.health import Health, health_of, reason_of
from connectors.domain.model.ids import ConnectionId, DeliveryId, JobId, ProviderSlug, SignalId, TenantId
from connectors.domain.model.paging import (
    DEFAULT_LIMIT,
    Page,
    PageRequest,
    list_fingerprint,
    read_cursor,
    write_cursor,
)
from connectors.domain.model.signal import Signal, SignalFilter
from connectors.domain.model.sync import JobFilter, SyncJob
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import DeliveryFilter, Subscription, WebhookDelivery
from connectors.domain.providers.contract import is_slug
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

T = TypeVar("T")


@attrs.frozen
class Listing(Generic[T]):
    """A page of a list, and the cursor of the next one."""

    items: tuple[T, ...]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is a next page."""
        return self.next_cursor is not None


@attrs.frozen(kw_only=True)
class ConnectionDetails:
    """A connection with its subscriptions, open gaps and next read."""

    connection: Connection
    subscriptions: tuple[Subscription, ...]
    """Of any status, the oldest first."""
    open_gaps: tuple[Gap, ...]
    """Where events may be missing, the earliest first: stored gaps, and those that follow from what cannot be read."""
    is_all_readable: bool
    """Whether no stream stands aside and nothing is parked."""
    has_broken_subscription: bool
    """Whether a target's subscription is refused, unconfirmed, lapsed or expired."""
    next_sync_at: datetime | None
    """When the schedule reads it next; None if it does not."""
    held: tuple[Held, ...]
    """What of it has to go at the vendor, or may be left there."""

    @property
    def health(self) -> Health:
        """Its health, with its gaps and subscriptions taken into account."""
        is_well = self.is_all_readable and not self.open_gaps and not self.has_broken_subscription
        return health_of(self.connection, may_miss_events=not is_well)

    @property
    def reason(self) -> ReasonCode | None:
        """Why it is not healthy, with its subscriptions and streams taken into account; an open gap is none."""
        known = reason_of(self.connection)
        if known is not None or self.connection.status is not ConnectionStatus.ACTIVE:
            return known
        if self.has_broken_subscription:
            return ReasonCode.WEBHOOKS_FAILING
        return None if self.is_all_readable else ReasonCode.STREAMS_ASIDE


@attrs.frozen(kw_only=True)
class QueryFlow:
    """Lists and shows."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    providers: ProviderRegistry
    ledger: Ledger
    held: HeldFlow

    def provider_to_list(self, tenant_id: TenantId, slug: str) -> ProviderSlug:
        """The slug to filter a list by: an installed provider's, or that of a connection of the tenant.

        Raises:
            ProviderNotSupportedError: it is neither.
        """
        if self.providers.find(ProviderSlug(slug)) is None and is_slug(slug):
            with self.unit_of_work() as uow:
                if uow.connections.list_of_provider(tenant_id, ProviderSlug(slug)):
                    return ProviderSlug(slug)  # its distribution is no longer installed
        return self.providers.get(slug).slug

    # --- connections ---------------------------------------------------------------------------------------------

    def get_connection(self, tenant_id: TenantId, connection_id: ConnectionId) -> Connection:
        """The tenant's connection.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ConnectionNotFoundError: it has none with this id.
        """
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            return uow.connections.get(tenant_id, connection_id)

    def inspect_connection(self, tenant_id: TenantId, connection_id: ConnectionId) -> ConnectionDetails:
        """The tenant's connection with its details. Raises like `get_connection`."""
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            connection = uow.connections.get(tenant_id, connection_id)
            entry = uow.schedules.find(tenant_id, connection_id, TaskKind.SYNC)
            if connection.status is not ConnectionStatus.ACTIVE:
                entry = None  # the schedule entry exists, but nothing will be read
            subscriptions = tuple(uow.subscriptions.list_of_connection(tenant_id, connection_id))
            now = self.clock.now()
            claims = self.ledger.claims(uow, connection)
            gaps = list(uow.coverage.list_gaps(tenant_id, connection_id, is_open=True))
            provider = self.providers.find(connection.provider)
            if claims is not None and provider is not None:
                gaps += [gap for family in provider.event_families for gap in claims.gaps(family)]
            return ConnectionDetails(
                connection=connection,
                subscriptions=subscriptions,
                has_broken_subscription=any(not one.is_settled and not one.works_at(now) for one in subscriptions),
                open_gaps=tuple(sorted(gaps, key=lambda gap: (gap.from_at, gap.id))),
                is_all_readable=claims is None or not (claims.aside() or claims.agenda.parked),
                next_sync_at=None if entry is None else entry.next_at,
                held=self.held.of_connection(uow, connection, subscriptions),
            )

    def list_connections(
        self,
        tenant_id: TenantId,
        *,
        provider: ProviderSlug | None = None,
        status: ConnectionStatus | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Listing[Connection]:
        """A page of the tenant's connections, newest first.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ValidationError: the cursor is not one of this list with these filters.
        """
        fingerprint = list_fingerprint("connections", tenant_id, provider, status)
        return self._list(
            tenant_id,
            fingerprint,
            limit,
            cursor,
            lambda uow, page: uow.connections.list_page(tenant_id, page, provider=provider, status=status),
        )

    # --- signals -------------------------------------------------------------------------------------------------

    def get_signal(self, tenant_id: TenantId, signal_id: SignalId) -> Signal:
        """The tenant's signal, with its payload.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            NotFoundError: it has none with this id.
        """
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            return uow.signals.get(tenant_id, signal_id)

    def list_signals(
        self,
        tenant_id: TenantId,
        where: SignalFilter | None = None,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        with_payload: bool = False,
    ) -> Listing[Signal]:
        """A page of the tenant's signals, newest first by when they occurred.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ConnectionNotFoundError: the filter names a connection that the tenant does not have.
            ValidationError: the cursor is not one of this list with these filters.
        """
        where = where or SignalFilter()
        fingerprint = list_fingerprint("signals", tenant_id, *attrs.astuple(where))

        def load(uow: UnitOfWork, page: PageRequest) -> Page[Signal]:
            if where.connection_id is not None:
                connection = uow.connections.get(tenant_id, where.connection_id)
                if where.provider not in {None, connection.provider}:
                    return Page((), None)  # no row can match, and the database would read all of them
            return uow.signals.list_page(tenant_id, page, where, with_payload=with_payload)

        return self._list(tenant_id, fingerprint, limit, cursor, load)

    def feed(
        self, tenant_id: TenantId, where: SignalFilter | None = None, *, since: datetime | None = None
    ) -> SignalFeed:
        """A feed of the tenant's signals that arrive from now on, or have arrived since that instant. Poll it.

        Args:
            tenant_id: whose.
            where: narrows it by provider, connection and kind; the times of occurrence are ignored.
            since: an instant of arrival; None for now.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ConnectionNotFoundError: the filter names a connection that the tenant does not have.
        """
        where = where or SignalFilter()
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            if where.connection_id is not None:
                uow.connections.get(tenant_id, where.connection_id)
        return SignalFeed.begin(self.unit_of_work, self.clock, tenant_id, where, since)

    # --- deliveries ----------------------------------------------------------------------------------------------

    def get_delivery(self, tenant_id: TenantId, delivery_id: DeliveryId) -> WebhookDelivery:
        """The tenant's delivery, with its body.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            NotFoundError: it has none with this id.
        """
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            return uow.deliveries.get(tenant_id, delivery_id)

    def list_deliveries(
        self,
        tenant_id: TenantId,
        where: DeliveryFilter | None = None,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Listing[WebhookDelivery]:
        """A page of the tenant's deliveries, newest first, without their bodies.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ValidationError: the cursor is not one of this list with these filters.
        """
        where = where or DeliveryFilter()
        fingerprint = list_fingerprint("deliveries", tenant_id, *attrs.astuple(where))
        return self._list(
            tenant_id,
            fingerprint,
            limit,
            cursor,
            lambda uow, page: uow.deliveries.list_page(tenant_id, page, where),
        )

    # --- jobs ----------------------------------------------------------------------------------------------------

    def get_job(self, tenant_id: TenantId, job_id: JobId) -> SyncJob:
        """The tenant's job.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            NotFoundError: it has none with this id.
        """
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            return uow.jobs.get(tenant_id, job_id)

    def list_jobs(
        self,
        tenant_id: TenantId,
        where: JobFilter | None = None,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Listing[SyncJob]:
        """A page of the tenant's jobs, newest first by when they were requested.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ConnectionNotFoundError: the filter names a connection that the tenant does not have.
            ValidationError: the cursor is not one of this list with these filters.
        """
        where = where or JobFilter()
        fingerprint = list_fingerprint("jobs", tenant_id, *attrs.astuple(where))

        def load(uow: UnitOfWork, page: PageRequest) -> Page[SyncJob]:
            if where.connection_id is not None:
                uow.connections.get(tenant_id, where.connection_id)
            return uow.jobs.list_page(tenant_id, page, where)

        return self._list(tenant_id, fingerprint, limit, cursor, load)

    # --- pages -------------------------------------------------------------------------------------------------

    def _list(
        self,
        tenant_id: TenantId,
        fingerprint: str,
        limit: int,
        cursor: str | None,
        load: Callable[[UnitOfWork, PageRequest], Page[T]],
    ) -> Listing[T]:
        after = None if cursor is None else read_cursor(cursor, fingerprint)
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            page = load(uow, PageRequest(limit=limit, after=after))
        next_cursor = None if page.next is None else write_cursor(page.next, fingerprint)
        return Listing(page.items, next_cursor)
