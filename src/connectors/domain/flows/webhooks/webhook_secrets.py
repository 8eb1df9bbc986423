"""Secrets of single connections, for webhooks that are set up by hand at the vendor."""

from collections.abc import Sequence

import attrs

from connectors.domain.flows.webhooks.subscriptions import subscription_context, webhook_url
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.ids import ConnectionId, SubscriptionId, TenantId
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors.domain.providers.contract import Provider, SubscriptionScope, Webhooks
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from connectors.ports.vault import Vault

BY_HAND = "webhook"
"""The target of subscriptions that are set up by hand at the vendor: all events of the connection."""


@attrs.frozen(kw_only=True)
class IssuedSecret:
    """What to enter at the vendor."""

    url: str | None
    """Where it delivers to; None if this service has no public URL."""
    secret: Secret
    """Shown only this once; it is stored sealed."""


@attrs.frozen(kw_only=True)
class WebhookSecretFlow:
    """Makes and ends the secrets of single connections."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    public_url: str | None

    def issue(self, tenant_id: TenantId, connection_id: ConnectionId) -> IssuedSecret:
        """A new secret for a webhook that is set up by hand. The previous one stays valid, older ones do not.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ProviderNotSupportedError: its provider is not installed here.
            ConflictError: the provider accepts no secret of ours for a single connection.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            provider = self.providers.get_stored(connection.provider)
            webhooks, scope = _require_manual(provider)
            if webhooks.read_handshake is not None:
                raise ConflictError(f"{provider.name} chooses the secret and announces it to us.")
            for older in _list_active(uow, tenant_id, connection_id)[:-1]:
                self._end(uow, older)
            now = self.clock.now()
            secret = Secret(self.entropy.token())
            subscription_id = SubscriptionId(self.entropy.uuid7(now))
            uow.subscriptions.save(
                Subscription(
                    id=subscription_id,
                    tenant_id=tenant_id,
                    connection_id=connection_id,
                    provider=connection.provider,
                    target=BY_HAND,
                    status=SubscriptionStatus.ACTIVE,
                    secret=self.vault.seal(secret, subscription_context(tenant_id, subscription_id)),
                    created_at=now,
                    updated_at=now,
                )
            )
        url = None
        if self.public_url is not None:
            url = webhook_url(self.public_url, scope, provider.slug, tenant_id, connection_id)
        return IssuedSecret(url=url, secret=secret)

    def forget(self, tenant_id: TenantId, connection_id: ConnectionId) -> int:
        """End the connection's secrets, so that the vendor may announce a new one; how many there were.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ProviderNotSupportedError: its provider is not installed here.
            ConflictError: the provider has no such secrets.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            provider = self.providers.get_stored(connection.provider)
            _require_manual(provider)
            live = _list_active(uow, tenant_id, connection_id)
            for one in live:
                self._end(uow, one)
            return len(live)

    def _end(self, uow: UnitOfWork, subscription: Subscription) -> None:
        ended = attrs.evolve(subscription, status=SubscriptionStatus.ENDED, secret=None, updated_at=self.clock.now())
        uow.subscriptions.save(ended)


def _list_active(uow: UnitOfWork, tenant_id: TenantId, connection_id: ConnectionId) -> Sequence[Subscription]:
    """The connection's secrets, oldest first."""
    return [
        one
        for one in uow.subscriptions.list_of_connection(tenant_id, connection_id)
        if one.target == BY_HAND and one.status is SubscriptionStatus.ACTIVE
    ]


def _require_manual(provider: Provider) -> tuple[Webhooks, SubscriptionScope]:
    webhooks = provider.webhooks
    if webhooks is None or webhooks.manual_secret_scope is None:
        raise ConflictError(f"{provider.name} takes no webhook secret for a single connection.")
    return webhooks, webhooks.manual_secret_scope
