"""Maintains webhook subscriptions: renews them in time, notices when they have vanished, retries refused targets."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.endings.endings import Endings
from connectors.domain.flows.endings.records import begin_ending_subscription
from connectors.domain.flows.provider_access.session import ProviderAccess, ProviderSession
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.flows.webhooks.missed_deliveries import MissedDeliveries
from connectors.domain.flows.webhooks.subscriptions import RETRIED, Subscriber
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import (
    ConflictError,
    ConnectionNotFoundError,
    ConnectorsError,
    InfrastructureError,
    ProviderNotConfiguredError,
    ProviderNotSupportedError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
    VaultError,
    error_text,
    text_with_next_step,
)
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.domain.providers.contract import Subscriptions
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

PROBE_EVERY = timedelta(hours=1)
"""How often a vendor is asked whether it still has a subscription. If it has vanished, syncs read the lost hour."""

AUDIT_EVERY = timedelta(minutes=10)
"""How often a vendor's log of deliveries is read, where there is one: more often than a sync runs."""

RENEWAL_SHARE = 1 / 3
"""The part of a subscription's lifetime that is left when it is renewed: time for many tries before it ends."""

RETRY_BASE = timedelta(minutes=5)
RETRY_CAP = timedelta(hours=6)
"""The pause before a refused target is tried again doubles from the base to the cap."""

REFUSED_PAUSE = timedelta(days=7)
"""The pause before a target that is never pushed is asked for again: it may have changed (a repository was opened)."""

IDLE_PAUSE = timedelta(hours=12)
"""The pause before the next run if nothing is due earlier."""

UNCONFIGURED_PAUSE = timedelta(minutes=15)
"""The pause before the next run if the provider is not configured here: it may be again after a restart."""

LAPSED_REASON = "A webhook subscription had lapsed."
MOVED_REASON = "Our public URL has moved, and the provider allows no two webhook subscriptions at a time."

NO_ADDRESS = "There is no public URL to deliver to."

UNCONFIRMED = "The provider has not confirmed a webhook subscription yet."

log = logging.getLogger(__name__)


@attrs.define(kw_only=True)
class _Run:
    """One maintenance run over one connection's subscriptions, and what it found."""

    session: ProviderSession
    subscriptions: Subscriptions
    renew_before: datetime | None = None
    """Subscriptions that end before this instant are renewed although it is not time yet."""
    address: str | None = None
    """Where new subscriptions deliver to; None: to nothing, so none is made or renewed."""
    is_read_due: bool = False
    """Whether what happened just now has to be read: there was no subscription for it."""
    has_given_up: bool = False
    """Whether a target is no longer asked for, because there is nothing to deliver to."""
    error: str | None = None
    """The first error."""
    broken_since: datetime | None = None
    """The earliest instant since which deliveries may have been missed."""
    broken_reason: str = LAPSED_REASON
    resume_at: datetime | None = None
    """When the vendor can be asked again. Its limits cut the run short, which is no error."""

    @property
    def connection(self) -> Connection:
        return self.session.connection

    @property
    def obstacle(self) -> str | None:
        """Why something due was not done."""
        if self.error is None and self.resume_at is not None:
            return f"The provider's limits allow no more until {rfc3339(self.resume_at)}."
        return self.error or (NO_ADDRESS if self.address is None else None)

    def note_error(self, error: ConnectorsError) -> None:
        if isinstance(error, RateLimitedError):
            self.resume_at = error.retry_at if self.resume_at is None else max(self.resume_at, error.retry_at)
        else:
            self.error = self.error or text_with_next_step(error)

    def note_broken(self, since: datetime, reason: str = LAPSED_REASON) -> None:
        if self.broken_since is None or since < self.broken_since:
            self.broken_reason = reason
        self.broken_since = since if self.broken_since is None else min(since, self.broken_since)


@attrs.frozen
class _Maintained:
    """A connection's subscriptions after a maintenance run."""

    subscriptions: tuple[Subscription, ...]
    """The oldest first."""
    obstacle: str | None
    """Why something due may not have been done."""


@attrs.frozen
class Renewal:
    """The outcome for a subscription that was about to end."""

    subscription: Subscription
    """The one that serves its target now, or the last one if none does."""
    error: str | None
    """Why it was not renewed."""


@attrs.frozen(kw_only=True)
class SubscriptionMaintenance:
    """Maintains connections' subscriptions."""

    unit_of_work: UnitOfWorkFactory
    subscriber: Subscriber
    endings: Endings
    access: ProviderAccess
    missed_deliveries: MissedDeliveries
    ledger: Ledger
    scheduler: Scheduler
    clock: Clock

    def maintain(self, tenant_id: TenantId, connection_id: ConnectionId) -> tuple[Subscription, ...]:
        """The connection's subscriptions after everything due was done. The next run is scheduled.

        A failing subscription does not affect the others. Errors are on the subscription and the connection.

        Args:
            tenant_id: whose connection.
            connection_id: which.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            InfrastructureError: our database failed.
        """
        return self._maintain_connection(tenant_id, connection_id).subscriptions

    def _maintain_connection(
        self, tenant_id: TenantId, connection_id: ConnectionId, renew_before: datetime | None = None
    ) -> _Maintained:
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            present = uow.subscriptions.list_of_connection(tenant_id, connection_id)
        try:
            run = self._open_run(connection, renew_before)
        except (ConflictError, ProviderNotSupportedError, ReauthorizationRequiredError) as error:
            return _Maintained(self._mark_expired(connection, IDLE_PAUSE), error.message)
        except ProviderNotConfiguredError as error:
            return _Maintained(self._mark_expired(connection, UNCONFIGURED_PAUSE), error.message)
        for subscription in present:
            if subscription.status is SubscriptionStatus.ACTIVE and not subscription.is_by_hand:
                self._maintain_subscription(run, subscription, present)
        if run.address is None:
            self._give_up(run)
        else:
            self._subscribe_missing(run)
        with self.unit_of_work() as uow:
            present = uow.subscriptions.list_of_connection(tenant_id, connection_id)
        # What this run has replaced. What could not be removed before, the schedule tries again.
        replaced = [one.id for one in present if one.is_ending and one.ending is not None and not one.ending.failures]
        self.endings.try_now(tenant_id, replaced)
        with self.unit_of_work() as uow:
            present = uow.subscriptions.list_of_connection(tenant_id, connection_id)
            self._record_result(uow, run, present)
        return _Maintained(tuple(present), run.obstacle)

    def renew_expiring(self, within: timedelta) -> tuple[Renewal, ...]:
        """The outcome for all tenants' subscriptions that end within that time, after maintaining their connections.

        They are renewed although it is not time yet. One entry per connection and target. A failing connection does not
        affect the others.

        Raises:
            InfrastructureError: our database failed.
        """
        renew_before = self.clock.now() + within
        with self.unit_of_work() as uow:
            expiring = uow.subscriptions.list_expiring(before=renew_before)
        by_connection: dict[tuple[TenantId, ConnectionId], list[Subscription]] = {}
        for one in expiring:
            by_connection.setdefault((one.tenant_id, one.connection_id), []).append(one)
        renewals: list[Renewal] = []
        for (tenant_id, connection_id), due in by_connection.items():
            try:
                maintained = self._maintain_connection(tenant_id, connection_id, renew_before)
            except ConnectionNotFoundError:
                continue  # the connection was erased meanwhile
            except VaultError as error:
                maintained = _Maintained(tuple(due), error.message)  # its secrets are damaged, others are not
            outcomes = (_renewal_outcome(one, maintained) for one in {one.target: one for one in due}.values())
            renewals += (one for one in outcomes if one is not None)
        return tuple(renewals)

    def _open_run(self, connection: Connection, renew_before: datetime | None) -> _Run:
        """A run over the connection. Raises where the vendor cannot be asked or there is nothing to maintain."""
        if connection.status is not ConnectionStatus.ACTIVE:
            raise ConflictError(f"The connection is {connection.status}.")
        session = self.access.open(connection, in_background=True)
        if session.subscriptions is None:
            raise ConflictError(f"{session.provider.name} has no API for webhook subscriptions.")
        address = self.subscriber.address_for(session)
        return _Run(session=session, subscriptions=session.subscriptions, renew_before=renew_before, address=address)

    def _mark_expired(self, connection: Connection, pause: timedelta) -> tuple[Subscription, ...]:
        """Mark expired subscriptions as lapsed: that needs no call to the vendor. All subscriptions afterwards."""
        with self.unit_of_work() as uow:
            self._lapse_expired(uow, connection)
            self.scheduler.plan_maintenance(uow, connection, pause)
            return tuple(uow.subscriptions.list_of_connection(connection.tenant_id, connection.id))

    def _lapse_expired(self, uow: UnitOfWork, connection: Connection) -> None:
        now = self.clock.now()
        present = uow.connections.get(connection.tenant_id, connection.id, lock=True)
        ends: list[datetime] = []
        for one in uow.subscriptions.list_of_connection(present.tenant_id, present.id):
            if one.status is SubscriptionStatus.ACTIVE and one.expires_at is not None and one.expires_at <= now:
                uow.subscriptions.save(one.moved_to(SubscriptionStatus.LAPSED, at=now, error="It has expired."))
                ends.append(one.expires_at)
        if ends:
            provider = self.access.providers.find(present.provider)
            self.ledger.note_stream_broken(uow, present, provider, since=min(ends), reason=LAPSED_REASON)
            uow.connections.save(attrs.evolve(present, webhook_error=LAPSED_REASON, updated_at=now))

    # --- one subscription ----------------------------------------------------------------------------------------

    def _maintain_subscription(self, run: _Run, subscription: Subscription, present: Sequence[Subscription]) -> None:
        with _errors_noted(run, subscription_id=str(subscription.id)):
            now = self.clock.now()
            if subscription.expires_at is not None and subscription.expires_at <= now:
                self._mark_lapsed(run, subscription, subscription.expires_at, "It has expired.")
            elif run.address is not None and subscription.address not in {None, run.address}:
                self._move(run, subscription, present)
            elif run.address is not None and self._is_renewal_due(run, subscription, now):
                # The successor is made before the old one is removed, so that no event is missed between them.
                renewed = self.subscriber.renew(run.session, subscription)
                run.error = run.error or _error_of([renewed])
            elif _is_check_due(run.subscriptions, subscription, now):
                self._check_at_vendor(run, subscription, present)

    def _move(self, run: _Run, subscription: Subscription, present: Sequence[Subscription]) -> None:
        """Replace a subscription that delivers to another address than ours of today."""
        tried = [one for one in present if one.target == subscription.target and one.status in RETRIED]
        if not all(map(self._is_retry_due, tried)):
            return
        if not run.subscriptions.one_address:
            # The successor is made before the old one is removed, so that no event is missed between them.
            made = self.subscriber.replace(run.session, subscription)
            run.error = run.error or _error_of([made])
            return
        gone_at = self.clock.now()
        with self.unit_of_work() as uow:
            locked = self._lock_and_reload(uow, subscription)
            if locked.status is not SubscriptionStatus.ACTIVE:
                return
            begin_ending_subscription(uow, locked, uow.now())
        # Then the target has none, and gets a new one at the end of the run.
        self.endings.try_now(subscription.tenant_id, [subscription.id])
        run.note_broken(gone_at, MOVED_REASON)
        run.is_read_due = True

    @staticmethod
    def _is_renewal_due(run: _Run, subscription: Subscription, now: datetime) -> bool:
        renew_at = renewal_due(subscription, run.subscriptions)
        if renew_at is None or subscription.expires_at is None:
            return False
        return renew_at <= now or (run.renew_before is not None and subscription.expires_at < run.renew_before)

    def _check_at_vendor(self, run: _Run, subscription: Subscription, present: Sequence[Subscription]) -> None:
        """Ask the vendor whether it still has the subscription, and recover missed deliveries, where it can say."""
        asked_at = self.clock.now()
        session = run.session
        address = subscription.address
        if run.subscriptions.probe is not None:
            address = address or run.address
            expected = attrs.evolve(subscription, address=address)
            conversation = run.subscriptions.probe(session.app, session.connection, expected)
            if not session.run(conversation):
                if subscription.address is None and address is not None:
                    # It may be there and deliver elsewhere: then it has to be removed, too.
                    run.note_broken(max(_last_proven_at(subscription), subscription.created_at))
                    self._move(run, subscription, present)
                    return
                self._mark_lapsed(run, subscription, _last_proven_at(subscription), "The provider no longer has it.")
                return
        self.missed_deliveries.recover(
            session, run.subscriptions, subscription, last_audit_at=_last_proven_at(subscription), now=asked_at
        )
        with self.unit_of_work() as uow:
            latest = self._lock_and_reload(uow, subscription)
            if latest.status is SubscriptionStatus.ACTIVE:
                uow.subscriptions.save(attrs.evolve(latest, address=address, checked_at=asked_at, updated_at=asked_at))

    def _mark_lapsed(self, run: _Run, subscription: Subscription, since: datetime, reason: str) -> None:
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = self._lock_and_reload(uow, subscription)
            if present.status is SubscriptionStatus.ACTIVE:
                lapsed = present.moved_to(SubscriptionStatus.LAPSED, at=now, error=reason)
                if self._has_successor(uow, present, now):
                    # The user has connected again since. No retry would ever replace this one, so it ends here.
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
            and (one.works_at(now) or one.status is SubscriptionStatus.REFUSED)
            for one in uow.subscriptions.list_of_connection(subscription.tenant_id, subscription.connection_id)
        )

    # --- the connection --------------------------------------------------------------------------------------------

    def _subscribe_missing(self, run: _Run) -> None:
        with _errors_noted(run, connection_id=str(run.connection.id)):
            made = self.subscriber.subscribe_all(run.session, is_due=self._is_retry_due)
            run.error = run.error or _error_of(made)

    def _give_up(self, run: _Run) -> None:
        """End what does not work: there is nothing to deliver to, so it is not asked for again."""
        connection = run.connection
        with self.unit_of_work() as uow:
            uow.connections.get(connection.tenant_id, connection.id, lock=True)
            for one in uow.subscriptions.list_of_connection(connection.tenant_id, connection.id):
                if one.is_wanted and one.status is not SubscriptionStatus.ACTIVE:
                    begin_ending_subscription(uow, one, uow.now())
                    run.has_given_up = True

    def _is_retry_due(self, subscription: Subscription) -> bool:
        is_refused = subscription.status is SubscriptionStatus.REFUSED
        pause = REFUSED_PAUSE if is_refused else retry_pause(subscription.failures)
        return subscription.updated_at + pause <= self.clock.now()

    def _record_result(self, uow: UnitOfWork, run: _Run, present: Sequence[Subscription]) -> None:
        """Record what the run found: whether events arrive, the connection's webhook error, the next run."""
        now = self.clock.now()
        connection = uow.connections.get(run.connection.tenant_id, run.connection.id, lock=True)
        if connection.status is not ConnectionStatus.ACTIVE:
            return  # it ended meanwhile
        # What a person has set up at the vendor may deliver anything: it proves nothing.
        active = [one for one in present if one.status is SubscriptionStatus.ACTIVE and not one.is_by_hand]
        failing = [one for one in present if one.status is not SubscriptionStatus.ACTIVE and not one.is_settled]
        provider = run.session.provider
        if run.broken_since is not None:
            self.ledger.note_stream_broken(uow, connection, provider, since=run.broken_since, reason=run.broken_reason)
        is_only_read = run.has_given_up or any(one.status is SubscriptionStatus.REFUSED for one in present)
        if not failing and is_only_read:
            # What is only read is in the same families: deliveries alone prove nothing complete.
            self.ledger.note_stream_ended(uow, connection)
        elif run.address is None:
            pass  # if a target is without a subscription, it stays so
        elif active and not failing:
            self.ledger.note_stream_whole(uow, connection, provider)
        self.missed_deliveries.close_recovered(uow, connection)
        # If a target lapsed and was then refused, the refusal says more.
        failing.sort(key=lambda one: one.status is SubscriptionStatus.LAPSED)
        error = run.error or next((one.error for one in failing if one.error is not None), None)
        if error is None and failing:
            error = UNCONFIRMED
        if error is None and run.resume_at is not None:
            error = connection.webhook_error  # the run was cut short, so it proves nothing
        if error != connection.webhook_error:
            uow.connections.save(attrs.evolve(connection, webhook_error=error, updated_at=now))
        self.scheduler.plan_maintenance(uow, connection, self._pause_until_next(run, present, now))
        if run.is_read_due:
            self.scheduler.plan_sync_now(uow, provider, connection)

    def _pause_until_next(self, run: _Run, present: Sequence[Subscription], now: datetime) -> timedelta:
        due = [now + IDLE_PAUSE]
        if run.subscriptions.missed is not None:
            due.append(now + AUDIT_EVERY)
        # An error is shown until a run ends without it, and there may be a public URL after a restart.
        elif run.subscriptions.probe is not None or run.error is not None or run.address is None:
            due.append(now + PROBE_EVERY)
        retried = {SubscriptionStatus.FAILED, SubscriptionStatus.PENDING}
        # The oldest come first, so of a target that was tried several times the last try counts.
        tried = {one.target: one for one in present if one.status in retried}
        for one in present:
            if one.status is SubscriptionStatus.LAPSED:
                if one.target not in tried:  # else the failed one is scheduled below
                    due.append(_overdue_at(one, now))
            elif one.status is SubscriptionStatus.ACTIVE:
                renew_at = one.expires_at if run.address is None else renewal_due(one, run.subscriptions)
                if renew_at is not None:
                    due.append(max(renew_at, now + RETRY_BASE) if run.error else renew_at)
            elif tried.get(one.target) is one:
                # Overdue only if this run could not try it: the vendor did not show what there is to subscribe to.
                retry_at = one.updated_at + retry_pause(one.failures)
                due.append(retry_at if retry_at > now else _overdue_at(one, now))
        # Not before the vendor allows it, but then at once: the part that was cut short may be the important one.
        return max((run.resume_at or min(due)) - now, timedelta(minutes=1))

    def _lock_and_reload(self, uow: UnitOfWork, subscription: Subscription) -> Subscription:
        uow.connections.get(subscription.tenant_id, subscription.connection_id, lock=True)
        return uow.subscriptions.get(subscription.tenant_id, subscription.id) or subscription


@contextmanager
def _errors_noted(run: _Run, **subject: str) -> Iterator[None]:
    """Notes an error of the block on the run, so that the other parts go on. Errors of our database pass through."""
    try:
        yield
    except InfrastructureError:
        raise
    except ConnectorsError as error:
        log.warning("subscription_maintenance_failed", extra={**subject, "reason": error.message})
        run.note_error(error)
    except Exception as error:
        # A bug of the provider's package: the other subscriptions still need renewing.
        log.exception("subscription_maintenance_crashed", extra=subject)
        run.note_error(UnexpectedResponseError(error_text(error)))


def _error_of(made: Iterable[Subscription]) -> str | None:
    """The first error that should not be."""
    return next((one.error for one in made if one.error is not None and not one.is_settled), None)


def renewal_due(subscription: Subscription, subscriptions: Subscriptions) -> datetime | None:
    """When it is time to renew the subscription; None where it does not expire."""
    if subscription.expires_at is None:
        return None
    lifetime = subscriptions.lifetime or subscription.expires_at - subscription.created_at
    return subscription.expires_at - lifetime * RENEWAL_SHARE


def retry_pause(failures: int) -> timedelta:
    """How long to wait before trying a target again that was refused this often in a row."""
    doublings: int = 2 ** min(max(failures - 1, 0), 16)
    return min(RETRY_BASE * doublings, RETRY_CAP)


def _overdue_at(subscription: Subscription, now: datetime) -> datetime:
    """When to try a target again that could not be tried: the pauses double with the time since its last change."""
    return now + min(max(now - subscription.updated_at, RETRY_BASE), RETRY_CAP)


def _is_check_due(subscriptions: Subscriptions, subscription: Subscription, now: datetime) -> bool:
    if subscriptions.missed is not None:
        every = AUDIT_EVERY
    elif subscriptions.probe is not None:
        every = PROBE_EVERY
    else:
        return False
    # Runs have jitter: one that is a little early must still check.
    return now - _last_proven_at(subscription) >= every / 2


def _last_proven_at(subscription: Subscription) -> datetime:
    """When the vendor last showed that it has the subscription."""
    return subscription.checked_at or subscription.created_at


def _renewal_outcome(due: Subscription, maintained: _Maintained) -> Renewal | None:
    """The outcome for a subscription that was about to end; None if its target is gone, or never pushed any more."""
    of_target = [one for one in maintained.subscriptions if one.target == due.target and not one.is_settled]
    if not of_target:
        return None
    active = [one for one in of_target if one.status is SubscriptionStatus.ACTIVE]
    serving = (active or of_target)[-1]
    if active and (serving.id != due.id or _ends_later(serving, due)):
        return Renewal(serving, None)
    # The last try says more than the connection, whose error may be about another target.
    refusal = next((one.error for one in reversed(of_target) if one.error and one.id != due.id), None)
    return Renewal(serving, refusal or serving.error or maintained.obstacle or "It was not renewed.")


def _ends_later(one: Subscription, other: Subscription) -> bool:
    return one.expires_at is None or (other.expires_at is not None and one.expires_at > other.expires_at)
