"""Verifies deliveries: looks up the secrets and lets the provider package check the signature with them."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum

import attrs

from connectors.domain.flows.endings.records import plan_end
from connectors.domain.flows.webhooks.subscriptions import end_predecessors, subscription_context
from connectors.domain.flows.webhooks.webhook_secrets import BY_HAND, URL_KEY, list_active, open_secrets
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.model.ids import ProviderSlug, SubscriptionId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import (
    DeliveryHints,
    Subscription,
    SubscriptionStatus,
    VerifiedDelivery,
    WebhookRequest,
)
from connectors.domain.providers.contract import (
    Provider,
    SigningKeys,
    SubscriptionScope,
    VerificationMaterial,
    Webhooks,
)
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork
from connectors.ports.vault import Vault


class Trust(StrEnum):
    """How far a request is trusted before it is read."""

    NONE = "none"
    """It comes from the public internet: only the provider's signature proves it."""
    OPERATOR = "operator"
    """A trusted backend relays it with an operator token."""


@attrs.frozen(kw_only=True)
class Incoming:
    """An unverified delivery and what is known to verify it with."""

    provider: Provider
    webhooks: Webhooks
    request: WebhookRequest
    hints: DeliveryHints
    trust: Trust
    keys: SigningKeys | None
    """The vendor's public keys, where it signs with one."""
    connection: Connection | None = None
    """The connection that the URL names."""


@attrs.frozen(kw_only=True)
class Sender:
    """A verified delivery and the subscription that it came from, if one is known."""

    delivery: VerifiedDelivery
    subscription: Subscription | None = None


@attrs.frozen(kw_only=True)
class DeliveryVerifier:
    """Verifies deliveries, within the caller's unit of work."""

    vault: Vault
    clock: Clock
    entropy: Entropy
    apps: Mapping[ProviderSlug, ProviderApp]

    def verify(self, uow: UnitOfWork, incoming: Incoming) -> Sender:
        """The verified delivery and its sender.

        The secret is that of the named subscription, else of a pending one, else of the connection or tenant, else of
        the app.

        Raises:
            DeliveryRejectedError: no secret or key verifies it.
        """
        webhooks, request, hints = incoming.webhooks, incoming.request, incoming.hints
        if incoming.trust is Trust.OPERATOR:
            in_body = None if webhooks.read_delivery_id is None else webhooks.read_delivery_id(request)
            delivery_id = hints.delivery_id or in_body or hashlib.sha256(request.body).hexdigest()
            return Sender(delivery=VerifiedDelivery(request=request, delivery_id=delivery_id, via="relay"))
        app, keys = self.apps.get(incoming.provider.slug), incoming.keys
        now = self.clock.now()
        named: DeliveryRejectedError | None = None
        for subscription in self._candidates(uow, request, hints):
            if subscription.secret is None:
                continue
            context = subscription_context(subscription.tenant_id, subscription.id)
            secret = self.vault.open(subscription.secret, context)
            material = VerificationMaterial(
                app=app, secrets=(secret,), subscription=subscription, keys=keys, now=now, via="subscription"
            )
            try:
                delivery = webhooks.verify(request, material)
            except DeliveryRejectedError as error:
                # Another subscription may have sent it: one that is pending, or one that shares this vendor's hook.
                if subscription.external_id is not None:
                    named = error
                continue
            return Sender(delivery=delivery, subscription=subscription)
        if named is not None:
            raise named
        secrets = self._own_secrets(uow, webhooks, request, incoming.connection)
        via = "connection" if secrets else "app"
        secrets = secrets or (app.webhook_secrets if app is not None else ())
        material = VerificationMaterial(
            app=app,
            secrets=secrets,
            keys=keys,
            now=now,
            via=via,
            connection=incoming.connection,
            has_url_key=self._has_url_key(uow, incoming),
        )
        return Sender(delivery=webhooks.verify(request, material))

    def shake_hands(self, uow: UnitOfWork, incoming: Incoming) -> bool:
        """Store the secret that the vendor announces at the connection's URL if it is the first; whether it was.

        Whoever knows the ids of tenant and connection may not announce one: the URL must have its key.
        """
        connection, read_handshake = incoming.connection, incoming.webhooks.read_handshake
        if connection is None or connection.status is ConnectionStatus.REVOKED or read_handshake is None:
            return False
        handshake = read_handshake(incoming.request)
        if handshake is None:
            return False
        # One at a time: only the first handshake may set the secret.
        uow.connections.get(connection.tenant_id, connection.id, lock=True)
        if self._connection_secrets(uow, connection):
            return False  # a stored secret is never overwritten: this request has to verify like any other
        if not self._has_url_key(uow, incoming):
            return False
        now = self.clock.now()
        subscription_id = SubscriptionId(self.entropy.uuid7(now))
        context = subscription_context(connection.tenant_id, subscription_id)
        uow.subscriptions.save(
            Subscription(
                id=subscription_id,
                tenant_id=connection.tenant_id,
                connection_id=connection.id,
                provider=connection.provider,
                target=BY_HAND,
                status=SubscriptionStatus.ACTIVE,
                secret=self.vault.seal(handshake.secret, context),
                created_at=now,
                updated_at=now,
            )
        )
        return True

    @staticmethod
    def lock_to_learn(uow: UnitOfWork, sender: Sender) -> None:
        """Lock the connection of a subscription that will learn something: before signals are stored, as readers do."""
        seen = sender.subscription
        if seen is not None and seen.status is not SubscriptionStatus.ACTIVE:
            uow.connections.get(seen.tenant_id, seen.connection_id, lock=True)

    def learn(self, uow: UnitOfWork, webhooks: Webhooks, sender: Sender, hints: DeliveryHints) -> None:
        """Take from a delivery what its subscription lacks, because the provider's answer was lost or is still coming.

        A pending one is confirmed by its first delivery. One that is ending can be removed once that is known.
        """
        seen = sender.subscription
        if seen is None:
            return
        learned = {
            name: value
            for name, value in webhooks.read_subscription_metadata(sender.delivery).items()
            if name not in seen.metadata
        }
        is_pending = seen.status is SubscriptionStatus.PENDING
        external_id = hints.subscription_external_id
        if external_id is None or not (learned or is_pending or seen.external_id is None):
            return
        # Under its connection's lock, and read again: the provider's answer may be arriving at this moment.
        uow.connections.get(seen.tenant_id, seen.connection_id, lock=True)
        present = uow.subscriptions.get(seen.tenant_id, seen.id)
        if present is None or present.secret is None:
            return  # it has ended meanwhile
        now = self.clock.now()
        known = attrs.evolve(
            present,
            external_id=present.external_id or external_id,
            metadata={**learned, **present.metadata},
            updated_at=now,
        )
        if present.status is SubscriptionStatus.PENDING:
            known = attrs.evolve(known.moved_to(SubscriptionStatus.ACTIVE, at=now), failures=0)
        uow.subscriptions.save(known)
        if present.status is SubscriptionStatus.PENDING:
            end_predecessors(uow, known, at=now)
        elif present.is_ending:
            plan_end(uow, present.tenant_id, present.id, now)

    def _candidates(self, uow: UnitOfWork, request: WebhookRequest, hints: DeliveryHints) -> Sequence[Subscription]:
        if request.tenant_id is None:
            return ()
        external_id = hints.subscription_external_id
        candidates = uow.subscriptions.list_candidates(request.tenant_id, request.provider, external_id)
        if request.connection_id is not None:
            candidates = [one for one in candidates if one.connection_id == request.connection_id]
        named = [one for one in candidates if one.external_id is not None]
        return named or candidates

    def _has_url_key(self, uow: UnitOfWork, incoming: Incoming) -> bool:
        """Whether the request came to the URL that we gave out for its connection."""
        connection, claimed = incoming.connection, incoming.request.url_key
        if connection is None or claimed is None:
            return False
        keys = open_secrets(self.vault, list_active(uow, connection, URL_KEY))
        # All are compared, as digests: the time that it takes says nothing about a key.
        digest = hashlib.sha256(claimed.encode(errors="replace")).digest()
        matches = [hmac.compare_digest(hashlib.sha256(key.reveal_bytes()).digest(), digest) for key in keys]
        return any(matches)

    def _own_secrets(
        self, uow: UnitOfWork, webhooks: Webhooks, request: WebhookRequest, connection: Connection | None
    ) -> tuple[Secret, ...]:
        """Secrets of webhooks that were set up by hand, for this connection or for this tenant."""
        if connection is not None:
            return self._connection_secrets(uow, connection)
        if request.tenant_id is None or webhooks.manual_secret_scope is not SubscriptionScope.TENANT:
            return ()
        return tuple(
            secret
            for one in uow.connections.list_of_provider(request.tenant_id, request.provider)
            for secret in self._connection_secrets(uow, one, by_hand=True)
        )

    def _connection_secrets(
        self, uow: UnitOfWork, connection: Connection, *, by_hand: bool = False
    ) -> tuple[Secret, ...]:
        """Secrets of this one connection, chosen by the vendor or set up by hand."""
        rows = [
            one
            for one in uow.subscriptions.list_of_connection(connection.tenant_id, connection.id)
            if one.status is SubscriptionStatus.ACTIVE
            and one.target != URL_KEY
            and (one.target == BY_HAND or not by_hand)
        ]
        return open_secrets(self.vault, rows)
