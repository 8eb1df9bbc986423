"""Keeps webhook subscriptions from lapsing: the new arrangement stands before the old one goes."""

import logging
from collections.abc import Mapping
from datetime import timedelta

import attrs

from connectors.domain.flows.provider_access.tokens import GrantTokens, TokenKeeper
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ConnectorsError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Renewal:
    """What became of one subscription that was due."""

    subscription: Subscription
    """As it is now: the extended one, or the one that took its place; the old one where that failed."""
    error: str | None = None


@attrs.frozen(kw_only=True)
class RenewFlow:
    """Renews subscriptions across tenants."""

    unit_of_work: UnitOfWorkFactory
    subscriber: Subscriber
    keeper: TokenKeeper
    clock: Clock
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]

    def renew_due(self, within: timedelta) -> tuple[Renewal, ...]:
        """Renew every active subscription that ends within that time. One that fails does not hinder the others.

        Those of connections that are not active are left to lapse.
        """
        with self.unit_of_work() as uow:
            due = uow.subscriptions.list_expiring(before=self.clock.now() + within)
        renewals = (self._renew(subscription) for subscription in due)
        return tuple(renewal for renewal in renewals if renewal is not None)

    def _renew(self, subscription: Subscription) -> Renewal | None:
        with self.unit_of_work() as uow:
            connection = uow.connections.get(subscription.tenant_id, subscription.connection_id)
        app = self.apps.get(subscription.provider)
        if app is None or connection.grant_id is None or connection.status is not ConnectionStatus.ACTIVE:
            return None
        provider = self.providers.get(subscription.provider)
        tokens = GrantTokens(self.keeper, connection.tenant_id, connection.grant_id)
        try:
            renewed = self.subscriber.renew(provider, app, connection, subscription, tokens)
        except ConnectorsError as error:
            log.warning("renewal_failed", extra={"subscription_id": str(subscription.id), "reason": error.message})
            return Renewal(subscription=subscription, error=error.message)
        return Renewal(subscription=renewed, error=renewed.error)
