"""Secrets and URL keys of single connections, for webhooks that are set up by hand at the vendor."""

from collections.abc import Sequence

import attrs

from connectors.domain.flows.webhooks.subscriptions import subscription_context, webhook_url
from connectors.domain.model.connection import Connection, ConnectionStatus
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


URL_KEY = "url"
"""The target of the row that holds the unguessable part of a connection's URL, sealed as its secret."""


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
            for older in list_active(uow, connection, BY_HAND)[:-1]:
                self._end(uow, older)
            secret = self._store(uow, connection, BY_HAND)
        url = None
        if self.public_url is not None:
            url = webhook_url(self.public_url, scope, provider.slug, tenant_id, connection_id)
        return IssuedSecret(url=url, secret=secret)

    def url(self, tenant_id: TenantId, connection_id: ConnectionId, *, renew: bool = False) -> str:
        """The connection's own URL with its key, to enter at the vendor. It is made the first time, then it stays.

        Args:
            tenant_id: whose connection.
            connection_id: which.
            renew: give it another key. The one before proves nothing any more.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ProviderNotSupportedError: its provider is not installed here.
            ConflictError: its provider has no URL for a single connection, this service has no public URL, or the
                connection has ended.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            provider = self.providers.get_stored(connection.provider)
            webhooks = provider.webhooks
            if webhooks is None or webhooks.url_scope is not SubscriptionScope.CONNECTION:
                raise ConflictError(f"{provider.name} has no webhook URL for a single connection.")
            if self.public_url is None:
                raise ConflictError("This service has no public URL.", next_step="Set POBLYSH_PUBLIC_URL.")
            if connection.status is ConnectionStatus.REVOKED:
                raise ConflictError("The connection has ended.")
            present = list_active(uow, connection, URL_KEY)
            if renew:
                for one in present:
                    self._end(uow, one)
                present = []
            keys = open_secrets(self.vault, present)
            key = keys[-1] if keys else self._store(uow, connection, URL_KEY)
        scope = SubscriptionScope.CONNECTION
        return webhook_url(self.public_url, scope, provider.slug, tenant_id, connection_id, key.reveal())

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
            live = list_active(uow, connection, BY_HAND)
            for one in live:
                self._end(uow, one)
            return len(live)

    def _store(self, uow: UnitOfWork, connection: Connection, target: str) -> Secret:
        """A new secret of the connection, stored sealed."""
        now = self.clock.now()
        secret = Secret(self.entropy.token())
        subscription_id = SubscriptionId(self.entropy.uuid7(now))
        uow.subscriptions.save(
            Subscription(
                id=subscription_id,
                tenant_id=connection.tenant_id,
                connection_id=connection.id,
                provider=connection.provider,
                target=target,
                status=SubscriptionStatus.ACTIVE,
                secret=self.vault.seal(secret, subscription_context(connection.tenant_id, subscription_id)),
                created_at=now,
                updated_at=now,
            )
        )
        return secret

    def _end(self, uow: UnitOfWork, subscription: Subscription) -> None:
        ended = attrs.evolve(subscription, status=SubscriptionStatus.ENDED, secret=None, updated_at=self.clock.now())
        uow.subscriptions.save(ended)


def list_active(uow: UnitOfWork, connection: Connection, target: str) -> Sequence[Subscription]:
    """The connection's active rows of this target, oldest first."""
    return [
        one
        for one in uow.subscriptions.list_of_connection(connection.tenant_id, connection.id)
        if one.target == target and one.status is SubscriptionStatus.ACTIVE
    ]


def open_secrets(vault: Vault, subscriptions: Sequence[Subscription]) -> tuple[Secret, ...]:
    """The secrets that these rows hold."""
    return tuple(
        vault.open(one.secret, subscription_context(one.tenant_id, one.id))
        for one in subscriptions
        if one.secret is not None
    )


def _require_manual(provider: Provider) -> tuple[Webhooks, SubscriptionScope]:
    webhooks = provider.webhooks
    if webhooks is None or webhooks.manual_secret_scope is None:
        raise ConflictError(f"{provider.name} takes no webhook secret for a single connection.")
    return webhooks, webhooks.manual_secret_scope
