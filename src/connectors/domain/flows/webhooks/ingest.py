"""Ingest: a webhook is verified over its raw bytes, normalized, stored, and only then acknowledged."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from connectors.domain.flows.webhooks.inbox import Inbox
from connectors.domain.flows.webhooks.routing import REPLAY, DeliveryRouter
from connectors.domain.flows.webhooks.signing_keys import SigningKeyCache
from connectors.domain.flows.webhooks.verification import DeliveryVerifier, Incoming, Sender, Trust
from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import (
    ConnectionNotFoundError,
    DeliveryRejectedError,
    InfrastructureError,
    NotFoundError,
    ProviderFailedError,
)
from connectors.domain.model.ids import UNROUTED, DeliveryId, ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import (
    Ignored,
    Recorded,
    VerifiedDelivery,
    WebhookDelivery,
    WebhookEvent,
    WebhookReply,
    WebhookRequest,
)
from connectors.domain.providers.contract import Provider, SigningKeys, Webhooks, is_unknown_key
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

Admit = Callable[[Sequence[TenantId]], None]
"""Raises TooManyDeliveriesError if none of the tenants may get another delivery now."""


@attrs.frozen(kw_only=True)
class Acceptance:
    """What to answer the sender."""

    recorded: Recorded
    reply: WebhookReply | None = None
    """What the vendor expects instead of our usual answer."""
    success_status: int = 202
    deliveries: tuple[DeliveryId, ...] = ()


@attrs.frozen(kw_only=True)
class IngestFlow:
    """Receives webhooks and replays them."""

    unit_of_work: UnitOfWorkFactory
    verifier: DeliveryVerifier
    signing_keys: SigningKeyCache
    router: DeliveryRouter
    inbox: Inbox
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]

    def accept_delivery(
        self, request: WebhookRequest, *, trust: Trust = Trust.NONE, admit: Admit = lambda tenants: None
    ) -> Acceptance:
        """Store one delivery and what it says. It is durable when this returns.

        Args:
            request: what came.
            trust: how far the sender is trusted before the signature is checked.
            admit: called with the delivery's tenants once it is verified; if it raises, nothing is stored.

        Raises:
            ProviderNotSupportedError: there is no such provider.
            NotFoundError: the provider sends no webhooks.
            TenantNotFoundError: the path names a tenant that is not known here. Webhooks never create one.
            ConnectionNotFoundError: the path names a connection that the tenant does not have.
            DeliveryRejectedError: the sender is not proven. Nothing is stored.
            InfrastructureError: it could not be verified or stored; the sender should try again.
        """
        provider = self.providers.get(request.provider)
        webhooks = _webhooks(provider)
        incoming = Incoming(
            provider=provider,
            webhooks=webhooks,
            request=request,
            hints=webhooks.read_hints(request),
            trust=trust,
            keys=None if trust is Trust.OPERATOR else self._keys(provider, webhooks),
        )
        try:
            return self._accept(incoming, admit)
        except DeliveryRejectedError as error:
            if not is_unknown_key(error):
                raise
            # The vendor has rotated its keys since they were fetched.
            return self._accept(attrs.evolve(incoming, keys=self._keys(provider, webhooks, refetch=True)), admit)

    def _accept(self, incoming: Incoming, admit: Admit) -> Acceptance:
        provider, webhooks = incoming.provider, incoming.webhooks
        with self.unit_of_work() as uow:
            connection = self._check_path(uow, incoming.request)
            incoming = attrs.evolve(incoming, connection=connection)
            if self.verifier.shake_hands(uow, incoming):
                return Acceptance(recorded=Recorded.NEW, success_status=webhooks.success_status)
            sender = self.verifier.verify(uow, incoming)
            reading = self.router.read(provider, webhooks, sender, connection)
            outcomes = self.router.route(uow, reading)
            admit([outcome.row.tenant_id for outcome in outcomes])
            self.verifier.lock_to_learn(uow, sender)
            recorded = [self.inbox.keep(uow, outcome) for outcome in outcomes]
            self.verifier.learn(uow, webhooks, sender, incoming.hints)
        is_new = Recorded.NEW if Recorded.NEW in recorded else Recorded.DUPLICATE
        self.inbox.report(outcomes, is_new)
        return Acceptance(
            recorded=is_new,
            reply=reading.says.reply if isinstance(reading.says, WebhookEvent | Ignored) else None,
            success_status=webhooks.success_status,
            deliveries=tuple(outcome.row.id for outcome in outcomes),
        )

    def replay(self, tenant_id: TenantId, delivery_id: DeliveryId) -> WebhookDelivery:
        """The delivery, processed again from its stored bytes. A second replay changes nothing more.

        It changes its connection and requests a sync only if it was not processed before: an old "access revoked" must
        not end a connection that the user has made again. A delivery without an owner is stored for every tenant that
        has connected its account by now.

        Raises:
            NotFoundError: the tenant has no such delivery.
            ProviderNotSupportedError: its provider is not installed here.
        """
        with self.unit_of_work() as uow:
            row = uow.deliveries.get(tenant_id, delivery_id, lock=True)
            provider = self.providers.get_stored(row.provider)
            webhooks = _webhooks(provider)
            request = WebhookRequest(
                provider=row.provider,
                tenant_id=None if tenant_id == UNROUTED else tenant_id,
                connection_id=row.connection_id,
                headers=row.headers,
                body=row.body,
                received_at=row.received_at,
            )
            sender = Sender(delivery=VerifiedDelivery(request=request, delivery_id=row.delivery_id, via=REPLAY))
            reading = self.router.read(provider, webhooks, sender, self.inbox.find_connection(uow, row))
            return self.inbox.settle(uow, row, self.router.route(uow, reading))

    # --- before it is verified -----------------------------------------------------------------------------------

    @staticmethod
    def _check_path(uow: UnitOfWork, request: WebhookRequest) -> Connection | None:
        if request.tenant_id is None:
            return None
        uow.tenants.get(request.tenant_id)  # raises if it is not known: webhooks never create a tenant
        if request.connection_id is None:
            return None
        connection = uow.connections.get(request.tenant_id, request.connection_id)
        if connection.provider != request.provider:
            raise ConnectionNotFoundError("There is no such connection.")
        return connection

    def _keys(self, provider: Provider, webhooks: Webhooks, *, refetch: bool = False) -> SigningKeys | None:
        app = self.apps.get(provider.slug)
        if webhooks.signing_keys is None or app is None:
            return None
        try:
            return self.signing_keys.get(provider, app, refetch=refetch)
        except ProviderFailedError as error:
            # Without the keys we cannot check whether it is genuine. The vendor will send it again.
            raise InfrastructureError(f"{provider.name}'s signing keys are not available now.") from error


def _webhooks(provider: Provider) -> Webhooks:
    if provider.webhooks is None:
        raise NotFoundError(f"{provider.name} sends no webhooks.")
    return provider.webhooks
