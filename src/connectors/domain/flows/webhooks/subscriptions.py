"""Makes and removes webhook subscriptions. Each is recorded with its secret before the provider is called."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.endings.records import LIVING, begin_ending_subscription, plan_end
from connectors.domain.flows.provider_access.session import ProviderSession
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.ending import Ending
from connectors.domain.model.errors import (
    ConnectorsError,
    InfrastructureError,
    ProviderFailedError,
    ProviderNotConfiguredError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    RefusedForGoodError,
    error_text,
    text_with_next_step,
)
from connectors.domain.model.ids import ProviderSlug, SubscriptionId, TenantId
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

CALL_LIFETIME = timedelta(seconds=100)
"""Longer than the requests that make a subscription can be out."""

REMOVAL_LIFETIME = timedelta(hours=1)
"""The expiry to ask for where a subscription is only made to learn its id and remove it."""

RETRIED = frozenset({SubscriptionStatus.FAILED, SubscriptionStatus.REFUSED, SubscriptionStatus.PENDING})
"""After these a target is subscribed again, each after its pause."""

log = logging.getLogger(__name__)


def subscription_context(tenant_id: TenantId, subscription_id: SubscriptionId) -> SecretContext:
    """The context that a subscription's secret is sealed with."""
    return SecretContext(tenant_id, subscription_id, SecretPurpose.WEBHOOK_SECRET)


def webhook_url(
    public_url: str,
    scope: SubscriptionScope,
    provider: ProviderSlug,
    tenant_id: object,
    connection_id: object,
    url_key: str | None = None,
) -> str:
    """The URL that a provider delivers to. Ids may be placeholders, for instructions to people.

    Only a connection's URL has a key.
    """
    url = f"{public_url.rstrip('/')}/webhooks/{provider}"
    match scope:
        case SubscriptionScope.APP:
            return url
        case SubscriptionScope.TENANT:
            return f"{url}/{tenant_id}"
        case SubscriptionScope.CONNECTION:
            own = f"{url}/{tenant_id}/{connection_id}"
            return own if url_key is None else f"{own}/{url_key}"


@attrs.frozen(kw_only=True)
class Subscriber:
    """Subscribes connections to their providers' webhooks."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    clock: Clock
    entropy: Entropy
    public_url: str | None
    """Our URL for providers; None: no provider can deliver, so nothing is subscribed."""

    def address_for(self, session: ProviderSession) -> str | None:
        """Where a new subscription of the session's connection would deliver to; None if there can be none."""
        if session.subscriptions is None or self.public_url is None:
            return None
        return session.subscriptions.address(session.app, self._callback_url(session.provider, session.connection))

    def subscribe_all(
        self, session: ProviderSession, *, is_due: Callable[[Subscription], bool] = lambda subscription: True
    ) -> tuple[Subscription, ...]:
        """Subscribe the session's connection to all its targets that are not subscribed yet.

        A target that the provider refuses is stored as FAILED with the reason, or as REFUSED if it never pushes it. The
        others are subscribed all the same.

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
        settled = {one.target for one in existing if one.works_at(now) or (one.status in RETRIED and not is_due(one))}
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
        unwanted |= {
            one.id
            for one in existing
            if one.target not in wanted and one.status is SubscriptionStatus.PENDING and is_due(one)
        }
        if not unwanted:
            return
        with self.unit_of_work() as uow:
            uow.connections.get(connection.tenant_id, connection.id, lock=True)
            for one in uow.subscriptions.list_of_connection(connection.tenant_id, connection.id):
                if one.id in unwanted and one.status is not SubscriptionStatus.ACTIVE:
                    begin_ending_subscription(uow, one, uow.now())

    def _subscribe(self, session: ProviderSession, subscriptions: Subscriptions, target: str) -> Subscription:
        connection = session.connection
        address = self.address_for(session)
        pending, secret = self._store_pending(connection, target, address, subscriptions.lifetime)
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
        if isinstance(error, RefusedForGoodError):
            status = SubscriptionStatus.REFUSED
        with self.unit_of_work() as uow:
            present = self._lock_and_reload(uow, connection, pending)
            if present.is_ending:
                # The connection has ended meanwhile. After a refusal there is nothing to remove.
                present = attrs.evolve(present, called_until=None)
                if not unknown:
                    ended = present.moved_to(SubscriptionStatus.ENDED, at=self.clock.now(), error=error.message)
                    present = attrs.evolve(ended, secret=None)
                uow.subscriptions.save(present)
            if present.status is not SubscriptionStatus.PENDING:
                return present  # a delivery has confirmed it meanwhile, or it has ended
            outcome = attrs.evolve(
                present.moved_to(status, at=self.clock.now(), error=text_with_next_step(error)),
                failures=present.failures + 1,
                called_until=None,
            )
            if status is SubscriptionStatus.REFUSED:
                outcome = attrs.evolve(outcome, secret=None, failures=0)
                end_predecessors(uow, outcome, at=outcome.updated_at)
            uow.subscriptions.save(outcome)
            return outcome

    def _store_pending(
        self, connection: Connection, target: str, address: str | None, lifetime: timedelta | None
    ) -> tuple[Subscription, Secret]:
        # Store the row before the call: the provider's first delivery can arrive before its answer.
        now = self.clock.now()
        new_id = SubscriptionId(self.entropy.uuid7(now))
        new_secret = self._secret_in_use(connection, target, address) or Secret(self.entropy.token())
        with self.unit_of_work() as uow:
            owner = uow.connections.get(connection.tenant_id, connection.id, lock=True)
            if owner.status is ConnectionStatus.REVOKED:
                raise ReauthorizationRequiredError("The connection has ended.")
            earlier = _of_target(uow.subscriptions.list_of_connection(connection.tenant_id, connection.id), target)
            called_until = uow.now() + CALL_LIFETIME
            unknown = next((one for one in reversed(earlier) if one.status is SubscriptionStatus.PENDING), None)
            if unknown is not None and unknown.address not in {None, address}:
                begin_ending_subscription(uow, unknown, uow.now())  # it would deliver where we no longer are
            elif unknown is not None and unknown.secret is not None:
                # The vendor may have made it, so the same one is asked for again: with another id there would be two.
                secret = self.vault.open(unknown.secret, subscription_context(unknown.tenant_id, unknown.id))
                unknown = attrs.evolve(unknown, address=address, grant_id=owner.grant_id, called_until=called_until)
                uow.subscriptions.save(unknown)
                return unknown, secret
            for one in earlier:
                if one.status in {SubscriptionStatus.FAILED, SubscriptionStatus.REFUSED}:
                    uow.subscriptions.delete(connection.tenant_id, one.id)
            has_failed = earlier and earlier[-1].is_wanted
            pending = Subscription(
                id=new_id,
                tenant_id=connection.tenant_id,
                connection_id=connection.id,
                provider=connection.provider,
                target=target,
                secret=self.vault.seal(new_secret, subscription_context(connection.tenant_id, new_id)),
                # If the answer is lost and a delivery confirms it, nothing else says when it ends.
                expires_at=None if lifetime is None else now + lifetime,
                address=address,
                grant_id=owner.grant_id,
                called_until=called_until,
                failures=earlier[-1].failures if has_failed else 0,
                created_at=now,
                updated_at=now,
            )
            uow.subscriptions.save(pending)
        return pending, new_secret

    def _secret_in_use(self, connection: Connection, target: str, address: str | None) -> Secret | None:
        """The secret of the tenant's other connection to the same target: vendors keep one hook per URL."""
        for twin in self._twins(connection, target):
            if twin.secret is not None and twin.address in {None, address}:
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
            owner = uow.connections.get(connection.tenant_id, connection.id, lock=True)
            present = uow.subscriptions.get(connection.tenant_id, pending.id) or pending
            known = attrs.evolve(
                present,
                external_id=receipt.external_id,
                expires_at=receipt.expires_at,
                address=pending.address,
                metadata={**present.metadata, **receipt.metadata},
                called_until=None,
            )
            if owner.status is ConnectionStatus.REVOKED or not present.is_wanted or present.grant_id != owner.grant_id:
                # It has ended, or changed hands, while the request was out: what was just made has to go.
                return _end_what_came_late(uow, known, uow.now())
            confirmed = attrs.evolve(known.moved_to(SubscriptionStatus.ACTIVE, at=now), failures=0, checked_at=now)
            uow.subscriptions.save(confirmed)
            end_predecessors(uow, confirmed, at=now)
            if receipt.connection_metadata:
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
            known = attrs.evolve(subscription, address=subscription.address or self.address_for(session))
            receipt = session.run(subscriptions.renew(session.app, connection, known))
            return self._confirm(connection, known, receipt)
        return self.replace(session, subscription)

    def replace(self, session: ProviderSession, subscription: Subscription) -> Subscription:
        """The subscription's successor, at the present address. The old one has to go as soon as that works."""
        connection, subscriptions = session.connection, session.subscriptions
        if subscriptions is None:
            return subscription
        successor = self._subscribe(session, subscriptions, subscription.target)
        if successor.status in {SubscriptionStatus.ACTIVE, SubscriptionStatus.REFUSED}:
            with self.unit_of_work() as uow:
                present = self._lock_and_reload(uow, connection, subscription)
                begin_ending_subscription(uow, present, uow.now())
        return successor

    def remove(self, session: ProviderSession, subscription: Subscription) -> None:
        """Remove the subscription at the provider, unless another one there is the same.

        Raises:
            ReauthorizationRequiredError: the session's tokens are dead.
            ProviderFailedError: the provider refused, or did not answer.
        """
        subscriptions = session.subscriptions
        if subscriptions is None or self._is_shared(subscriptions, session.connection, subscription):
            return
        if subscription.external_id is None:
            if subscription.expires_at is None and self._has_twin(subscription):
                return  # the vendor keeps one for each URL, and it is in use
            # Its outcome is unknown. Subscribing again gives its id at the provider, and then it can be removed.
            subscription = self._learn_external_id(session, subscription)
            self._note_learned(subscription)
        if not self._has_twin(subscription):
            session.run(subscriptions.unsubscribe(session.app, session.connection, subscription))

    def _learn_external_id(self, session: ProviderSession, pending: Subscription) -> Subscription:
        """The subscription with its id at the provider. Raises whatever hinders that."""
        subscriptions = session.subscriptions
        if subscriptions is None or pending.secret is None:
            return pending
        request = SubscriptionRequest(
            subscription=pending,
            secret=self.vault.open(pending.secret, subscription_context(pending.tenant_id, pending.id)),
            # With another URL it would be another one.
            callback_url=pending.address or self._callback_url(session.provider, session.connection),
            expires_at=self.clock.now() + REMOVAL_LIFETIME,
        )
        receipt = session.run(subscriptions.subscribe(session.app, session.connection, request))
        return attrs.evolve(pending, external_id=receipt.external_id, metadata={**pending.metadata, **receipt.metadata})

    def _note_learned(self, known: Subscription) -> None:
        """Store what the removal needs: if it fails, the vendor may not say it a second time."""
        with self.unit_of_work() as uow:
            uow.connections.get(known.tenant_id, known.connection_id, lock=True)
            present = uow.subscriptions.get(known.tenant_id, known.id)
            if present is not None and present.is_ending:
                uow.subscriptions.save(
                    attrs.evolve(
                        present, external_id=known.external_id, metadata={**present.metadata, **known.metadata}
                    )
                )

    def _is_shared(self, subscriptions: Subscriptions, connection: Connection, subscription: Subscription) -> bool:
        """Whether a living connection, of any tenant, uses the same subscription at the provider."""
        if not subscriptions.is_one_per_user:
            return False
        with self.unit_of_work() as uow:
            # By who made it: the connection may be another user's by now.
            maker = _maker(uow, subscription)
            return any(
                one.id != subscription.id and one.status is SubscriptionStatus.ACTIVE and _maker(uow, one) == maker
                for other in uow.connections.list_by_accounts(connection.provider, [connection.account.id])
                if other.status in LIVING
                for one in uow.subscriptions.list_of_connection(other.tenant_id, other.id)
            )

    def _has_twin(self, subscription: Subscription) -> bool:
        """Whether another subscription of the tenant is the same one at the provider, and in use."""
        with self.unit_of_work() as uow:
            return any(
                one.id != subscription.id and one.status is SubscriptionStatus.ACTIVE
                for other in uow.connections.list_of_provider(subscription.tenant_id, subscription.provider)
                for one in uow.subscriptions.list_of_connection(other.tenant_id, other.id)
                if one.target == subscription.target and _is_same_there(one, subscription)
            )

    def _callback_url(self, provider: Provider, connection: Connection) -> str:
        assert provider.webhooks is not None  # noqa: S101 - only called with subscriptions
        if self.public_url is None:
            raise ProviderNotConfiguredError("There is no public URL to deliver to.")
        scope = provider.webhooks.url_scope
        return webhook_url(self.public_url, scope, provider.slug, connection.tenant_id, connection.id)


def end_predecessors(uow: UnitOfWork, successor: Subscription, *, at: datetime) -> None:
    """End lapsed and pending subscriptions whose target is subscribed again now.

    Also end those with the same id at the provider: a target that was renamed there is still one subscription.
    """
    for one in uow.subscriptions.list_of_connection(successor.tenant_id, successor.connection_id):
        is_spent = one.status in {SubscriptionStatus.LAPSED, SubscriptionStatus.PENDING}
        is_same = one.status is SubscriptionStatus.ACTIVE and one.external_id == successor.external_id
        if one.id == successor.id:
            continue
        if is_same:
            ended = one.moved_to(SubscriptionStatus.ENDED, at=at, error=one.error)
            uow.subscriptions.save(attrs.evolve(ended, secret=None))
        elif is_spent and one.target == successor.target:
            begin_ending_subscription(uow, one, at)


def _end_what_came_late(uow: UnitOfWork, subscription: Subscription, now: datetime) -> Subscription:
    if subscription.is_ending:
        uow.subscriptions.save(subscription)
    elif subscription.is_wanted:
        return begin_ending_subscription(uow, subscription, now)
    else:
        moved = subscription.moved_to(SubscriptionStatus.ENDING, at=now, error=subscription.error)
        subscription = attrs.evolve(moved, ending=Ending(since=now))
        uow.subscriptions.save(subscription)
    plan_end(uow, subscription.tenant_id, subscription.id, now)
    return subscription


def _is_same_there(one: Subscription, other: Subscription) -> bool:
    """Whether both are the same subscription at the vendor, as far as is known."""
    if other.external_id is not None:
        return one.external_id == other.external_id
    return one.address is None or other.address is None or one.address == other.address


def _maker(uow: UnitOfWork, subscription: Subscription) -> str | None:
    """The key of the grant that made it: whose subscription it is."""
    grant = None if subscription.grant_id is None else uow.grants.get(subscription.tenant_id, subscription.grant_id)
    return None if grant is None else grant.grant_key


def _of_target(subscriptions: Iterable[Subscription], target: str) -> list[Subscription]:
    return [one for one in subscriptions if one.target == target]
