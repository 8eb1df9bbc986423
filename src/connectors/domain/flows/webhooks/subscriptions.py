"""Makes and removes webhook subscriptions. Each is recorded with its secret before the provider is called."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.session import ProviderSession
from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import (
    ConnectorsError,
    InfrastructureError,
    ProviderFailedError,
    ProviderUnavailableError,
    RateLimitedError,
    error_text,
    is_bug,
)
from connectors.domain.model.ids import ConnectionId, ProviderSlug, SubscriptionId, TenantId
from connectors.domain.model.secret import Secret, SecretContext, SecretPurpose
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.domain.providers.contract import (
    Provider,
    SubscriptionReceipt,
    SubscriptionRequest,
    Subscriptions,
    SubscriptionScope,
)
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from connectors.ports.vault import Vault

REMOVAL_LIFETIME = timedelta(hours=1)
"""The expiry to ask for where a subscription is only made to learn its id and remove it."""

log = logging.getLogger(__name__)


def subscription_context(tenant_id: TenantId, subscription_id: SubscriptionId) -> SecretContext:
    """The context that a subscription's secret is sealed with."""
    return SecretContext(tenant_id, subscription_id, SecretPurpose.WEBHOOK_SECRET)


def webhook_url(
    public_url: str, scope: SubscriptionScope, provider: ProviderSlug, tenant_id: object, connection_id: object
) -> str:
    """The URL that a provider delivers to. Ids may be placeholders, for instructions to people."""
    url = f"{public_url.rstrip('/')}/webhooks/{provider}"
    match scope:
        case SubscriptionScope.APP:
            return url
        case SubscriptionScope.TENANT:
            return f"{url}/{tenant_id}"
        case SubscriptionScope.CONNECTION:
            return f"{url}/{tenant_id}/{connection_id}"


@attrs.frozen(kw_only=True)
class Subscriber:
    """Subscribes connections to their providers' webhooks."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    clock: Clock
    entropy: Entropy
    public_url: str | None
    """Our URL for providers; None: no provider can deliver, so nothing is subscribed."""

    def subscribe_all(
        self, session: ProviderSession, *, is_due: Callable[[Subscription], bool] = lambda subscription: True
    ) -> tuple[Subscription, ...]:
        """Subscribe the session's connection to all its targets that are not subscribed yet.

        A target that the provider refuses is stored as FAILED with the reason. The others are subscribed all the same.

        Args:
            session: access for the connection to subscribe.
            is_due: whether to try a target again whose last try failed or had an unknown outcome.

        Raises:
            ProviderFailedError: the provider did not say what there is to subscribe to.
        """
        connection, subscriptions = session.connection, session.subscriptions
        if subscriptions is None or self.public_url is None:
            return ()
        targets = session.run(subscriptions.targets(session.app, connection))
        with self.unit_of_work() as uow:
            existing = uow.subscriptions.list_of_connection(connection.tenant_id, connection.id)
        self._end_unwanted(session, existing, targets, is_due)
        now = self.clock.now()
        settled = {
            one.target
            for one in existing
            if one.works_at(now)
            or (one.status in {SubscriptionStatus.FAILED, SubscriptionStatus.PENDING} and not is_due(one))
        }
        return tuple(self._subscribe(session, subscriptions, target) for target in targets if target not in settled)

    def _end_unwanted(
        self,
        session: ProviderSession,
        existing: Iterable[Subscription],
        targets: Iterable[str],
        is_due: Callable[[Subscription], bool],
    ) -> None:
        """End subscriptions that do not work and whose target is gone at the vendor: that is no error."""
        connection, wanted = session.connection, set(targets)
        unwanted = {one.id for one in existing if one.target not in wanted and one.is_over}
        # Of a pending one the outcome is unknown, and no retry would find it out.
        pending = (one for one in existing if one.target not in wanted and one.status is SubscriptionStatus.PENDING)
        unwanted |= {one.id for one in pending if is_due(one) and self._remove_unknown(session, one)}
        if not unwanted:
            return
        with self.unit_of_work() as uow:
            uow.connections.get(connection.tenant_id, connection.id, lock=True)
            for one in uow.subscriptions.list_of_connection(connection.tenant_id, connection.id):
                if one.id in unwanted and one.status not in {SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDED}:
                    ended = one.moved_to(SubscriptionStatus.ENDED, at=self.clock.now(), error=one.error)
                    uow.subscriptions.save(attrs.evolve(ended, secret=None))

    def _subscribe(self, session: ProviderSession, subscriptions: Subscriptions, target: str) -> Subscription:
        connection = session.connection
        pending, secret = self._store_pending(connection, target, subscriptions.lifetime)
        request = SubscriptionRequest(
            subscription=pending,
            secret=secret,
            callback_url=self._callback_url(session.provider, connection),
            expires_at=pending.expires_at,
        )
        try:
            receipt = session.run(subscriptions.subscribe(session.app, connection, request))
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            return self._record_failure(connection, pending, error)
        except Exception as error:
            # A bug of the provider's package. It may come after the vendor's answer, so the outcome is unknown.
            log.exception("subscription_crashed", extra={"subscription_id": str(pending.id)})
            unknown = ProviderUnavailableError(error_text(error), outcome_unknown=True)
            return self._record_failure(connection, pending, unknown)
        return self._confirm(connection, pending, receipt)

    def _record_failure(self, connection: Connection, pending: Subscription, error: ConnectorsError) -> Subscription:
        log.warning("subscription_failed", extra={"subscription_id": str(pending.id), "reason": error.message})
        # A lost answer is no refusal: the provider may have made the subscription, and its deliveries have to verify.
        unknown = isinstance(error, ProviderFailedError) and error.outcome_unknown
        status = SubscriptionStatus.PENDING if unknown else SubscriptionStatus.FAILED
        with self.unit_of_work() as uow:
            present = self._lock_and_reload(uow, connection, pending)
            if present.status is not SubscriptionStatus.PENDING:
                return present  # a delivery has confirmed it meanwhile, or the connection has ended
            outcome = attrs.evolve(
                present.moved_to(status, at=self.clock.now(), error=error.message), failures=present.failures + 1
            )
            uow.subscriptions.save(outcome)
            return outcome

    def _store_pending(
        self, connection: Connection, target: str, lifetime: timedelta | None
    ) -> tuple[Subscription, Secret]:
        # Store the row before the call: the provider's first delivery can arrive before its answer.
        now = self.clock.now()
        with self.unit_of_work() as uow:
            earlier = _of_target(uow.subscriptions.list_of_connection(connection.tenant_id, connection.id), target)
        unknown = next((one for one in reversed(earlier) if one.status is SubscriptionStatus.PENDING), None)
        if unknown is not None and unknown.secret is not None:
            # The vendor may have made it, so the same one is asked for again: with another id there would be two.
            return unknown, self.vault.open(unknown.secret, subscription_context(unknown.tenant_id, unknown.id))
        subscription_id = SubscriptionId(self.entropy.uuid7(now))
        secret = self._secret_in_use(connection, target) or Secret(self.entropy.token())
        pending = Subscription(
            id=subscription_id,
            tenant_id=connection.tenant_id,
            connection_id=connection.id,
            provider=connection.provider,
            target=target,
            secret=self.vault.seal(secret, subscription_context(connection.tenant_id, subscription_id)),
            # If the answer is lost and a delivery confirms it, nothing else says when it ends.
            expires_at=None if lifetime is None else now + lifetime,
            failures=0 if not earlier or earlier[-1].status is SubscriptionStatus.ENDED else earlier[-1].failures,
            created_at=now,
            updated_at=now,
        )
        with self.unit_of_work() as uow:
            for one in earlier:
                if one.status is SubscriptionStatus.FAILED:
                    uow.subscriptions.delete(connection.tenant_id, one.id)
            uow.subscriptions.save(pending)
        return pending, secret

    def _secret_in_use(self, connection: Connection, target: str) -> Secret | None:
        """The secret of the tenant's other connection to the same target: vendors keep one hook per URL."""
        for twin in self._twins(connection, target):
            if twin.secret is not None:
                return self.vault.open(twin.secret, subscription_context(twin.tenant_id, twin.id))
        return None

    def _twins(self, connection: Connection, target: str) -> list[Subscription]:
        with self.unit_of_work() as uow:
            return [
                one
                for other in uow.connections.list_of_provider(connection.tenant_id, connection.provider)
                if other.id != connection.id
                for one in uow.subscriptions.list_of_connection(connection.tenant_id, other.id)
                if one.target == target and one.status is SubscriptionStatus.ACTIVE
            ]

    def _confirm(self, connection: Connection, pending: Subscription, receipt: SubscriptionReceipt) -> Subscription:
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = self._lock_and_reload(uow, connection, pending)
            # If it was disconnected meanwhile, its secret stays destroyed.
            ended = present.status is SubscriptionStatus.ENDED
            confirmed = attrs.evolve(
                present.moved_to(present.status if ended else SubscriptionStatus.ACTIVE, at=now),
                external_id=receipt.external_id,
                expires_at=receipt.expires_at,
                metadata={**present.metadata, **receipt.metadata},
                failures=0,
                checked_at=now,
            )
            uow.subscriptions.save(confirmed)
            end_predecessors(uow, confirmed, at=now)
            if receipt.connection_metadata:
                owner = uow.connections.get(connection.tenant_id, connection.id)
                metadata = {**owner.metadata, **receipt.connection_metadata}
                uow.connections.save(attrs.evolve(owner, metadata=metadata, updated_at=now))
        return confirmed

    def _lock_and_reload(self, uow: UnitOfWork, connection: Connection, pending: Subscription) -> Subscription:
        """The subscription as it is now, protected by its connection's lock."""
        uow.connections.get(connection.tenant_id, connection.id, lock=True)
        return uow.subscriptions.get(connection.tenant_id, pending.id) or pending

    def renew(self, session: ProviderSession, subscription: Subscription) -> Subscription:
        """The subscription, extended where the vendor can do that; else a new one, made before the old one is removed.

        Raises:
            ProviderFailedError: the vendor did not extend it. A new one that was refused is returned as FAILED instead.
        """
        connection, subscriptions = session.connection, session.subscriptions
        if subscriptions is None:
            return subscription
        if subscriptions.renew is not None:
            if "url" in subscription.metadata:
                # Our URL may have changed since it was made.
                metadata = {**subscription.metadata, "url": self._callback_url(session.provider, connection)}
                subscription = attrs.evolve(subscription, metadata=metadata)
            receipt = session.run(subscriptions.renew(session.app, connection, subscription))
            return self._confirm(connection, subscription, receipt)
        successor = self._subscribe(session, subscriptions, subscription.target)
        if successor.status is SubscriptionStatus.ACTIVE:
            # What cannot be removed at the vendor expires there. If the vendor reuses the hook, nothing is removed.
            if successor.external_id != subscription.external_id:
                self._unsubscribe(session, [subscription])
            with self.unit_of_work() as uow:
                present = self._lock_and_reload(uow, connection, subscription)
                uow.subscriptions.save(
                    attrs.evolve(present.moved_to(SubscriptionStatus.ENDED, at=self.clock.now()), secret=None)
                )
        return successor

    def unsubscribe_all(self, session: ProviderSession) -> tuple[str, ...]:
        """Remove the connection's subscriptions at the provider and end them here; the errors, in words."""
        connection = session.connection
        with self.unit_of_work() as uow:
            existing = uow.subscriptions.list_of_connection(connection.tenant_id, connection.id)
        errors: list[str] = []
        live = [one for one in existing if one.status is not SubscriptionStatus.ENDED and one.external_id is not None]
        for one in existing:
            if one.status is SubscriptionStatus.PENDING and one.external_id is None:
                # Its outcome is unknown. Subscribing again gives its id at the provider, and then it can be removed.
                try:
                    live.append(self._learn_external_id(session, one))
                except Exception as error:  # noqa: BLE001 - a bug must not keep a connection from ending
                    errors.append(_log_removal_failure(one, error))
        errors += self._unsubscribe(session, live)
        self.forget(connection.tenant_id, connection.id)
        return tuple(errors)

    def _learn_external_id(self, session: ProviderSession, pending: Subscription) -> Subscription:
        """The subscription with its id at the provider. Raises whatever hinders that."""
        subscriptions = session.subscriptions
        if subscriptions is None or pending.secret is None:
            return pending
        request = SubscriptionRequest(
            subscription=pending,
            secret=self.vault.open(pending.secret, subscription_context(pending.tenant_id, pending.id)),
            callback_url=self._callback_url(session.provider, session.connection),
            expires_at=self.clock.now() + REMOVAL_LIFETIME,
        )
        receipt = session.run(subscriptions.subscribe(session.app, session.connection, request))
        return attrs.evolve(pending, external_id=receipt.external_id, metadata={**pending.metadata, **receipt.metadata})

    def _remove_unknown(self, session: ProviderSession, pending: Subscription) -> bool:
        """Remove what the provider may have made; False if it may still be there and has to be tried again."""
        try:
            errors = self._unsubscribe(session, [self._learn_external_id(session, pending)])
        except (InfrastructureError, RateLimitedError):
            raise
        except ProviderUnavailableError as error:
            errors = [error.message]
        except Exception as error:  # noqa: BLE001 - a bug must not keep the other targets waiting
            _log_removal_failure(pending, error)
            return True  # refused: what it covered is gone
        if errors:
            self._record_failure(session.connection, pending, ProviderUnavailableError(errors[0], outcome_unknown=True))
        return not errors

    def _unsubscribe(self, session: ProviderSession, live: Iterable[Subscription]) -> list[str]:
        errors: list[str] = []
        connection, subscriptions = session.connection, session.subscriptions
        if subscriptions is None:
            return errors
        for subscription in live:
            if self._is_shared(subscriptions, connection) or self._has_twin(connection, subscription):
                continue
            try:
                session.run(subscriptions.unsubscribe(session.app, connection, subscription))
            except Exception as error:  # noqa: BLE001 - a bug must not keep a connection from ending
                errors.append(_log_removal_failure(subscription, error))
        return errors

    def _is_shared(self, subscriptions: Subscriptions, connection: Connection) -> bool:
        """Whether another connection, of any tenant and not ended, uses the same subscription at the provider."""
        if subscriptions.shared_key is None:
            return False
        key = subscriptions.shared_key(connection)
        with self.unit_of_work() as uow:
            neighbours = uow.connections.list_by_accounts(connection.provider, [connection.account.id])
        return any(
            other.id != connection.id and other.grant_id is not None and subscriptions.shared_key(other) == key
            for other in neighbours
        )

    def _has_twin(self, connection: Connection, subscription: Subscription) -> bool:
        """Whether another connection of the tenant uses the same subscription at the provider."""
        return any(
            twin.external_id == subscription.external_id for twin in self._twins(connection, subscription.target)
        )

    def forget(self, tenant_id: TenantId, connection_id: ConnectionId) -> None:
        """End the connection's subscriptions here, and destroy their secrets."""
        with self.unit_of_work() as uow:
            uow.connections.get(tenant_id, connection_id, lock=True)
            for subscription in uow.subscriptions.list_of_connection(tenant_id, connection_id):
                ended = subscription.moved_to(SubscriptionStatus.ENDED, at=self.clock.now(), error=subscription.error)
                uow.subscriptions.save(attrs.evolve(ended, secret=None))

    def _callback_url(self, provider: Provider, connection: Connection) -> str:
        assert provider.webhooks is not None  # noqa: S101 - only called with subscriptions
        assert self.public_url is not None  # noqa: S101
        scope = provider.webhooks.url_scope
        return webhook_url(self.public_url, scope, provider.slug, connection.tenant_id, connection.id)


def end_predecessors(uow: UnitOfWork, successor: Subscription, *, at: datetime) -> None:
    """End lapsed and pending subscriptions whose target is subscribed again now.

    Also end those with the same id at the provider: a target that was renamed there is still one subscription.
    """
    for one in uow.subscriptions.list_of_connection(successor.tenant_id, successor.connection_id):
        is_spent = one.status in {SubscriptionStatus.LAPSED, SubscriptionStatus.PENDING}
        is_same = one.status is SubscriptionStatus.ACTIVE and one.external_id == successor.external_id
        if one.id != successor.id and (is_same or (is_spent and one.target == successor.target)):
            ended = one.moved_to(SubscriptionStatus.ENDED, at=at, error=one.error)
            uow.subscriptions.save(attrs.evolve(ended, secret=None))


def _log_removal_failure(subscription: Subscription, error: Exception) -> str:
    """Log that it could not be removed at the provider, with the traceback of a bug; the error in words."""
    reason = error_text(error)
    log.warning("unsubscribe_failed", extra={"target": subscription.target, "reason": reason}, exc_info=is_bug(error))
    return f"{subscription.target}: {reason}"


def _of_target(subscriptions: Iterable[Subscription], target: str) -> list[Subscription]:
    return [one for one in subscriptions if one.target == target]
