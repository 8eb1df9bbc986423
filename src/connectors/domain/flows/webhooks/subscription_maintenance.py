"""Looks after webhook subscriptions: renews before they lapse, notices silent death, asks again for what got lost."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.conversations import Converser
from connectors.domain.flows.provider_access.rate_limits import RateLimiter, limit_subjects
from connectors.domain.flows.provider_access.tokens import GrantTokens, TokenKeeper
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.flows.webhooks.subscriptions import WEBHOOK_TROUBLE, Subscriber
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.errors import (
    ConnectorsError,
    InfrastructureError,
    ProviderFailedError,
    RateLimitedError,
    UnexpectedResponseError,
)
from connectors.domain.model.ids import ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import DeliveryStatus, Subscription, SubscriptionStatus
from connectors.domain.providers.contract import MissedDelivery, Provider, Subscriptions
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

PROBE_EVERY = timedelta(hours=1)
"""How often a vendor is asked whether it still has a subscription. Death is silent; syncs read the lost hour."""

AUDIT_EVERY = timedelta(minutes=10)
"""How often a vendor's log of deliveries is read, where there is one: more often than a sync comes round."""

AUDIT_OVERLAP = timedelta(hours=1)
"""How far back behind the last audit the log is read again: a delivery may have been on its way then."""

ON_ITS_WAY = timedelta(minutes=1)
"""Deliveries younger than this are not called missed: the vendor may still be at it."""

RENEWAL_SHARE = 1 / 3
"""The part of a subscription's life that is left when it is renewed: time for many tries before it ends."""

RETRY_BASE = timedelta(minutes=5)
RETRY_CAP = timedelta(hours=6)
"""The pause before a refused subscription is tried again doubles from the one to the other."""

REST = timedelta(hours=12)
"""Until the next look where nothing is due earlier."""

log = logging.getLogger(__name__)


@attrs.define(kw_only=True)
class _MaintenanceRun:
    """One look at one connection's subscriptions."""

    provider: Provider
    app: ProviderApp
    connection: Connection
    subscriptions: Subscriptions
    tokens: GrantTokens
    limiter: RateLimiter
    error: str | None = None
    broken_since: datetime | None = None
    """Since when deliveries may have been missed, the earliest instant."""
    resume_at: datetime | None = None
    """When the vendor wants to be asked again: its limits cut the visit short, which is no trouble."""

    def note(self, error: ConnectorsError) -> None:
        if isinstance(error, RateLimitedError):
            self.resume_at = error.retry_at if self.resume_at is None else max(self.resume_at, error.retry_at)
        else:
            self.error = self.error or error.message

    def note_broken(self, since: datetime) -> None:
        self.broken_since = since if self.broken_since is None else min(since, self.broken_since)


@attrs.frozen(kw_only=True)
class SubscriptionMaintenance:
    """Looks after connections' subscriptions."""

    unit_of_work: UnitOfWorkFactory
    subscriber: Subscriber
    converser: Converser
    keeper: TokenKeeper
    ledger: Ledger
    scheduler: Scheduler
    clock: Clock
    telemetry: Telemetry
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]

    def maintain(self, tenant_id: TenantId, connection_id: ConnectionId) -> tuple[Subscription, ...]:
        """The connection's subscriptions, after whatever was due has been done, and the next look planned.

        What goes wrong with one does not hinder the others; it stands on the subscription and the connection.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            InfrastructureError: our database failed.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            present = uow.subscriptions.list_of_connection(tenant_id, connection_id)
        run = self._begin(connection)
        if run is None:
            with self.unit_of_work() as uow:
                return self._only_watch(uow, connection)
        for subscription in present:
            if subscription.status is SubscriptionStatus.ACTIVE:
                self._look_after(run, subscription)
        self._subscribe_missing(run)
        with self.unit_of_work() as uow:
            present = uow.subscriptions.list_of_connection(tenant_id, connection_id)
            self._conclude(uow, run, present)
        return tuple(present)

    def _only_watch(self, uow: UnitOfWork, connection: Connection) -> tuple[Subscription, ...]:
        """What can be said without asking the vendor: which subscriptions have expired meanwhile."""
        now = self.clock.now()
        present = uow.connections.get(connection.tenant_id, connection.id, lock=True)
        known = uow.subscriptions.list_of_connection(present.tenant_id, present.id)
        ends = [
            one.expires_at
            for one in known
            if one.status is SubscriptionStatus.ACTIVE and one.expires_at is not None and one.expires_at <= now
        ]
        if ends:
            for one in known:
                if one.status is SubscriptionStatus.ACTIVE and one.expires_at in ends:
                    uow.subscriptions.save(one.moved_to(SubscriptionStatus.LAPSED, at=now, error="It has expired."))
            provider = self.providers.get(present.provider)
            reason = "A webhook subscription had lapsed."
            self.ledger.note_stream_broken(uow, present, provider, since=min(ends), reason=reason)
        self.scheduler.plan_maintenance(uow, present, REST)
        return tuple(uow.subscriptions.list_of_connection(present.tenant_id, present.id))

    def _begin(self, connection: Connection) -> _MaintenanceRun | None:
        """What is needed to look after it; None where there is nothing to look after."""
        provider = self.providers.get(connection.provider)
        app = self.apps.get(provider.slug)
        webhooks = provider.webhooks
        if webhooks is None or webhooks.subscriptions is None or self.subscriber.public_url is None or app is None:
            return None
        if connection.status is not ConnectionStatus.ACTIVE or connection.grant_id is None:
            return None
        return _MaintenanceRun(
            provider=provider,
            app=app,
            connection=connection,
            subscriptions=webhooks.subscriptions,
            tokens=GrantTokens(self.keeper, connection.tenant_id, connection.grant_id),
            limiter=RateLimiter(
                unit_of_work=self.unit_of_work,
                clock=self.clock,
                telemetry=self.telemetry,
                provider=provider,
                subjects=limit_subjects(app, connection),
            ),
        )

    # --- one subscription ----------------------------------------------------------------------------------------

    def _look_after(self, run: _MaintenanceRun, subscription: Subscription) -> None:
        try:
            now = self.clock.now()
            if subscription.expires_at is not None and subscription.expires_at <= now:
                self._lapse(run, subscription, subscription.expires_at, "It has expired.")
                return
            renew_at = renewal_due(subscription, run.subscriptions)
            if renew_at is not None and renew_at <= now:
                # A successor is made before the old one is stopped, so that nothing falls between the two.
                subscription = self.subscriber.renew(
                    run.provider, run.app, run.connection, subscription, run.tokens, limiter=run.limiter
                )
                if subscription.error is not None:
                    run.error = run.error or subscription.error
            elif self._is_probe_due(run.subscriptions, subscription, now):
                self._probe(run, subscription)
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            log.warning(
                "subscription_maintenance_failed",
                extra={"subscription_id": str(subscription.id), "reason": error.message},
            )
            run.note(error)
        except Exception as error:
            # A bug of the package: the others want renewing all the same.
            log.exception("subscription_maintenance_crashed", extra={"subscription_id": str(subscription.id)})
            run.note(UnexpectedResponseError(f"internal error: {type(error).__name__}"))

    def _is_probe_due(self, subscriptions: Subscriptions, subscription: Subscription, now: datetime) -> bool:
        if subscriptions.missed is not None:
            every = AUDIT_EVERY
        elif subscriptions.probe is not None:
            every = PROBE_EVERY
        else:
            return False
        # Schedule entries stray: one that comes a little early does not mean to come for nothing.
        return now - _proven_at(subscription) >= every / 2

    def _probe(self, run: _MaintenanceRun, subscription: Subscription) -> None:
        asked_at = self.clock.now()
        if run.subscriptions.probe is not None:
            conversation = run.subscriptions.probe(run.app, run.connection, subscription)
            if not self.converser.run(run.provider, run.app, conversation, run.tokens, limiter=run.limiter):
                self._lapse(run, subscription, _proven_at(subscription), "The provider no longer has it.")
                return
        if run.subscriptions.missed is not None:
            since = _proven_at(subscription) - AUDIT_OVERLAP
            listed = run.subscriptions.missed(run.app, run.connection, subscription, since)
            found = self.converser.run(run.provider, run.app, listed, run.tokens, limiter=run.limiter)
            self._recover(run, subscription, [one for one in found if one.at <= asked_at - ON_ITS_WAY])
        with self.unit_of_work() as uow:
            present = self._locked(uow, subscription)
            if present.status is SubscriptionStatus.ACTIVE:
                uow.subscriptions.save(attrs.evolve(present, checked_at=asked_at, updated_at=asked_at))

    def _lapse(self, run: _MaintenanceRun, subscription: Subscription, since: datetime, reason: str) -> None:
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = self._locked(uow, subscription)
            if present.status is SubscriptionStatus.ACTIVE:
                lapsed = present.moved_to(SubscriptionStatus.LAPSED, at=now, error=reason)
                if self._has_successor(uow, present, now):
                    # Its user has connected again since. Nobody would make it again, and so end it.
                    ended = lapsed.moved_to(SubscriptionStatus.ENDED, at=now, error=reason)
                    lapsed = attrs.evolve(ended, secret=None)
                uow.subscriptions.save(lapsed)
        log.warning("subscription_lapsed", extra={"subscription_id": str(subscription.id), "reason": reason})
        run.note_broken(max(since, subscription.created_at))

    @staticmethod
    def _has_successor(uow: UnitOfWork, subscription: Subscription, now: datetime) -> bool:
        return any(
            one.id != subscription.id
            and one.target == subscription.target
            and one.status is SubscriptionStatus.ACTIVE
            and (one.expires_at is None or one.expires_at > now)
            for one in uow.subscriptions.list_of_connection(subscription.tenant_id, subscription.connection_id)
        )

    # --- what got lost -------------------------------------------------------------------------------------------

    def _recover(self, run: _MaintenanceRun, subscription: Subscription, missed: Iterable[MissedDelivery]) -> None:
        """Put missed deliveries on record as gaps, all of them, and then ask the vendor to send them once more."""
        lost = [delivery for delivery in missed if self._put_on_record(run, delivery)]
        if run.subscriptions.redeliver is None:
            return
        for delivery in lost:
            try:
                again = run.subscriptions.redeliver(run.app, run.connection, subscription, delivery)
                self.converser.run(run.provider, run.app, again, run.tokens, limiter=run.limiter)
            except RateLimitedError:
                raise
            except ProviderFailedError as error:
                log.warning("redelivery_failed", extra={"reason": error.message})

    def _put_on_record(self, run: _MaintenanceRun, delivery: MissedDelivery) -> bool:
        """Whether it is missing indeed."""
        with self.unit_of_work() as uow:
            if self._has_come(uow, run.connection, delivery.delivery_id):
                return False
            self.ledger.open_gap(
                uow,
                run.connection,
                self.ledger.family_names(run.provider, delivery.event),
                GapCause.DELIVERY_MISSED,
                "The provider could not deliver an event.",
                from_at=delivery.at,
                to_at=delivery.at,
                reference=delivery.delivery_id,
            )
            return True

    def _close_recovered(self, uow: UnitOfWork, run: _MaintenanceRun) -> None:
        connection = run.connection
        for gap in uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=True):
            if gap.cause is GapCause.DELIVERY_MISSED and self._has_come(uow, connection, gap.reference):
                self.ledger.close(uow, gap, CoveragePath.WEBHOOK)

    @staticmethod
    def _has_come(uow: UnitOfWork, connection: Connection, delivery_id: str) -> bool:
        row = uow.deliveries.find_by_delivery_id(connection.tenant_id, connection.provider, delivery_id)
        return row is not None and row.status is not DeliveryStatus.FAILED

    # --- all of them ---------------------------------------------------------------------------------------------

    def _subscribe_missing(self, run: _MaintenanceRun) -> None:
        try:
            made = self.subscriber.subscribe_all(
                run.provider,
                run.app,
                run.connection,
                run.tokens,
                limiter=run.limiter,
                is_due=self._is_retry_due,
            )
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            log.warning(
                "subscription_maintenance_failed",
                extra={"connection_id": str(run.connection.id), "reason": error.message},
            )
            run.note(error)
        except Exception as error:
            log.exception("subscription_maintenance_crashed", extra={"connection_id": str(run.connection.id)})
            run.note(UnexpectedResponseError(f"internal error: {type(error).__name__}"))
        else:
            for one in made:
                if one.error is not None:
                    run.error = run.error or one.error

    def _is_retry_due(self, subscription: Subscription) -> bool:
        return subscription.updated_at + retry_pause(subscription.failures) <= self.clock.now()

    def _conclude(self, uow: UnitOfWork, run: _MaintenanceRun, present: Sequence[Subscription]) -> None:
        """Write down what the visit found: the stream's state, the connection's trouble, the next schedule entry."""
        now = self.clock.now()
        connection = uow.connections.get(run.connection.tenant_id, run.connection.id, lock=True)
        if connection.status is not ConnectionStatus.ACTIVE:
            return  # it ended while we looked
        live = [one for one in present if one.status is SubscriptionStatus.ACTIVE]
        ailing = [one for one in present if one.status not in {SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDED}]
        if run.broken_since is not None:
            reason = "A webhook subscription had lapsed."
            self.ledger.note_stream_broken(uow, connection, run.provider, since=run.broken_since, reason=reason)
        if live and not ailing:
            self.ledger.note_stream_whole(uow, connection, run.provider)
        self._close_recovered(uow, run)
        error = connection.last_error
        if run.error is not None:
            error = f"{WEBHOOK_TROUBLE}{run.error}"
        elif error is not None and error.startswith(WEBHOOK_TROUBLE) and not ailing:
            error = None
        if error != connection.last_error:
            uow.connections.save(attrs.evolve(connection, last_error=error, updated_at=now))
        self.scheduler.plan_maintenance(uow, connection, self._until_next(run, present, now))

    def _until_next(self, run: _MaintenanceRun, present: Sequence[Subscription], now: datetime) -> timedelta:
        due = [now + REST]
        if run.subscriptions.missed is not None:
            due.append(now + AUDIT_EVERY)
        elif run.subscriptions.probe is not None:
            due.append(now + PROBE_EVERY)
        live = any(one.status is SubscriptionStatus.ACTIVE for one in present)
        if run.error is not None and not live:
            due.append(now + PROBE_EVERY)  # the provider would not say what there is to subscribe to
        tried = {one.target for one in present if one.status in {SubscriptionStatus.FAILED, SubscriptionStatus.PENDING}}
        for one in present:
            if one.status is SubscriptionStatus.LAPSED:
                if one.target not in tried:  # else that one says when
                    due.append(now + min(max(now - one.updated_at, RETRY_BASE), RETRY_CAP))
            elif one.status is SubscriptionStatus.ACTIVE:
                renew_at = renewal_due(one, run.subscriptions)
                if renew_at is not None:
                    due.append(max(renew_at, now + RETRY_BASE) if run.error else renew_at)
            elif one.status is not SubscriptionStatus.ENDED:
                due.append(one.updated_at + retry_pause(one.failures))
        # Not before the vendor wants it, and then at once: what was cut short may be all that matters.
        return max((run.resume_at or min(due)) - now, timedelta(minutes=1))

    def _locked(self, uow: UnitOfWork, subscription: Subscription) -> Subscription:
        uow.connections.get(subscription.tenant_id, subscription.connection_id, lock=True)
        return uow.subscriptions.get(subscription.tenant_id, subscription.id) or subscription


def renewal_due(subscription: Subscription, subscriptions: Subscriptions) -> datetime | None:
    """When the subscription wants renewing; None where it does not expire."""
    if subscription.expires_at is None:
        return None
    life = subscriptions.lifetime or subscription.expires_at - subscription.created_at
    return subscription.expires_at - life * RENEWAL_SHARE


def retry_pause(failures: int) -> timedelta:
    """How long to wait before a target is tried again that was refused so often in a row."""
    doublings: int = 2 ** min(max(failures - 1, 0), 16)
    return min(RETRY_BASE * doublings, RETRY_CAP)


def _proven_at(subscription: Subscription) -> datetime:
    """When the vendor last showed that it has the subscription."""
    return subscription.checked_at or subscription.created_at
