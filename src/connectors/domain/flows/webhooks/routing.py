"""Routing: what a verified delivery says, and to which tenants and connections."""

import json
import logging
from collections.abc import Mapping, Sequence

import attrs

from connectors.domain.flows.webhooks.verification import Sender
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import (
    ConnectorsError,
    DeliveryRejectedError,
    InfrastructureError,
    error_text,
)
from connectors.domain.model.ids import UNROUTED, DeliveryId, ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import DeliveryStatus, Ignored, WebhookDelivery, WebhookEvent
from connectors.domain.providers.contract import Provider, ReadContext, Webhooks
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork

SENSITIVE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"})
"""Never stored, for any provider. Each provider package adds its own in `Webhooks.secret_headers`."""

NO_CONNECTION = "no connection"

IS_ENDING = "the subscription is ending"
"""Why a delivery is ignored whose connection has ended: the vendor has not confirmed yet that it sends no more."""

OLDER_THAN_CONSENT = "older than the consent"
"""Why an event that tells the end of a former consent is ignored."""

REPLAY = "replay"
"""`VerifiedDelivery.via` of a stored delivery that runs again: it was verified when it arrived."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Reading:
    """A verified delivery and what it says."""

    provider: Provider
    webhooks: Webhooks
    sender: Sender
    connection: Connection | None
    """The connection that the URL names."""
    says: WebhookEvent | Ignored | str
    """A text says why the delivery could not be read."""
    account_ids: tuple[str, ...] = ()
    """The accounts that the delivery names, readable or not."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What one delivery means for one tenant: the row to store, and the events for its connections."""

    row: WebhookDelivery
    connections: tuple[tuple[Connection, WebhookEvent], ...] = ()
    missed_by: tuple[Connection, ...] = ()
    """Connections that it concerns and that got nothing of it, because it could not be read."""
    is_foreign: bool = False
    """It names the tenant's account but concerns none of the tenant's connections, or none any more."""


@attrs.frozen(kw_only=True)
class DeliveryRouter:
    """Reads deliveries and finds their connections."""

    clock: Clock
    entropy: Entropy
    apps: Mapping[ProviderSlug, ProviderApp]

    def read(
        self, provider: Provider, webhooks: Webhooks, sender: Sender, connection: Connection | None = None
    ) -> Reading:
        """What the delivery says, or a text why it cannot be read: such a delivery is kept too.

        Raises:
            InfrastructureError: our database failed.
        """
        context = ReadContext(app=self.apps.get(provider.slug), connections=() if connection is None else (connection,))
        says: WebhookEvent | Ignored | str
        try:
            says = webhooks.read_event(sender.delivery, context)
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            says = _explain(error)
        except Exception as error:
            # A bug of the provider package. The delivery is kept as failed and can be replayed once the bug is fixed.
            log.exception("normalization_crashed", extra={"provider": provider.slug})
            says = error_text(error)
        return Reading(
            provider=provider,
            webhooks=webhooks,
            sender=sender,
            connection=connection,
            says=says,
            account_ids=says.account_ids if isinstance(says, WebhookEvent) else _read_accounts(webhooks, sender),
        )

    def route(self, uow: UnitOfWork, reading: Reading) -> tuple[Outcome, ...]:
        """What the delivery means, for each tenant that it concerns; at least one outcome.

        A delivery that concerns no tenant is kept for the tenant `UNROUTED`.
        """
        tenant_id = reading.sender.delivery.request.tenant_id
        if tenant_id is not None:
            return (self._outcome(uow, reading, tenant_id),)
        # An app-level URL: the accounts determine the tenants, which may be several. What is ignored is nobody's.
        account_ids = () if isinstance(reading.says, Ignored) else reading.account_ids
        tenants = dict.fromkeys(
            one.tenant_id
            for one in uow.connections.list_by_accounts(reading.provider.slug, account_ids)
            if one.status is not ConnectionStatus.REVOKED
        )
        outcomes = [self._outcome(uow, reading, owner) for owner in tenants]
        # If the event is for none of a tenant's connections, the tenant gets nothing of it: it may be another tenant's.
        return tuple(one for one in outcomes if not one.is_foreign) or (self._unrouted(uow, reading),)

    def _outcome(self, uow: UnitOfWork, reading: Reading, tenant_id: TenantId) -> Outcome:
        row = self._row(reading, tenant_id)
        says, subscription = reading.says, reading.sender.subscription
        if subscription is not None:
            row = attrs.evolve(row, connection_id=subscription.connection_id)  # a replay cannot find it otherwise
        if isinstance(says, Ignored):
            row = attrs.evolve(row, event=says.event, status=DeliveryStatus.IGNORED, error=says.reason)
            return Outcome(row=row)
        connections = self._connections(uow, reading, tenant_id)
        if not connections and subscription is not None and subscription.is_ending:
            event = None if isinstance(says, str) else says.event
            return Outcome(row=attrs.evolve(row, event=event, status=DeliveryStatus.IGNORED, error=IS_ENDING))
        # On an app's URL the tenant had a connection a moment ago. It has ended: the delivery is nobody's now.
        is_app_url = reading.sender.delivery.request.tenant_id is None
        if isinstance(says, str):
            owners = tuple(one for one in connections if _is_for(reading, one))
            row = attrs.evolve(row, status=DeliveryStatus.FAILED, error=says)
            return Outcome(row=row, missed_by=owners, is_foreign=is_app_url and not owners)
        row = attrs.evolve(row, event=says.event)
        if not connections:
            failed = attrs.evolve(row, status=DeliveryStatus.FAILED, error=NO_CONNECTION)
            return Outcome(row=failed, is_foreign=is_app_url)
        return self._finished(reading, says, row, connections)

    @staticmethod
    def _finished(reading: Reading, event: WebhookEvent, row: WebhookDelivery, owners: Sequence[Connection]) -> Outcome:
        """The event, with its signals, for each connection that it concerns."""
        finished: list[tuple[Connection, WebhookEvent]] = []
        missed_by: list[Connection] = []
        failure: str | None = None
        foreign: str | None = None
        for connection in owners:
            try:
                finished.append((connection, _finish(reading, event, connection)))
            except InfrastructureError:
                raise
            except DeliveryRejectedError as error:
                foreign = error.message
            except ConnectorsError as error:
                failure = _explain(error)
                missed_by.append(connection)
            except Exception as error:
                log.exception("normalization_crashed", extra={"provider": row.provider})
                failure = error_text(error)
                missed_by.append(connection)
        if failure is not None:
            # What the other connections got is kept. A replay for all of them completes it.
            row = attrs.evolve(row, status=DeliveryStatus.FAILED, error=failure)
        elif finished:
            row = attrs.evolve(row, connection_id=finished[0][0].id)
        else:
            row = attrs.evolve(row, status=DeliveryStatus.IGNORED, error=foreign)
        if finished and all(is_outdated(event, connection) for connection, event in finished):
            row = attrs.evolve(row, status=DeliveryStatus.IGNORED, error=OLDER_THAN_CONSENT)
        return Outcome(
            row=row,
            connections=tuple(finished),
            missed_by=tuple(missed_by),
            is_foreign=failure is None and not finished,
        )

    @staticmethod
    def _connections(uow: UnitOfWork, reading: Reading, tenant_id: TenantId) -> Sequence[Connection]:
        """The delivery's connections: the path's, the subscription's, its accounts', or the only active one."""
        named, sender, slug = reading.connection, reading.sender, reading.provider.slug
        if named is None and sender.subscription is not None:
            named = uow.connections.get(tenant_id, sender.subscription.connection_id)
        if named is not None:
            has_ended = named.status is ConnectionStatus.REVOKED and sender.delivery.via != REPLAY
            return () if has_ended else (named,)
        by_account = [
            one
            for one in uow.connections.list_by_accounts(slug, reading.account_ids)
            if one.tenant_id == tenant_id and one.status is not ConnectionStatus.REVOKED
        ]
        if by_account:
            return by_account
        active = uow.connections.list_of_provider(tenant_id, slug, ConnectionStatus.ACTIVE)
        return active if len(active) == 1 else ()

    def _unrouted(self, uow: UnitOfWork, reading: Reading) -> Outcome:
        uow.tenants.record(Tenant(id=UNROUTED, created_at=self.clock.now()))
        row, says = self._row(reading, UNROUTED), reading.says
        if isinstance(says, str):
            return Outcome(row=attrs.evolve(row, status=DeliveryStatus.FAILED, error=says))
        reason = says.reason if isinstance(says, Ignored) else "no connection to this account"
        return Outcome(row=attrs.evolve(row, event=says.event, status=DeliveryStatus.IGNORED, error=reason))

    def _row(self, reading: Reading, tenant_id: TenantId) -> WebhookDelivery:
        delivery = reading.sender.delivery
        request = delivery.request
        hidden = SENSITIVE_HEADERS | reading.webhooks.secret_headers
        return WebhookDelivery(
            id=DeliveryId(self.entropy.uuid7(request.received_at)),
            tenant_id=tenant_id,
            provider=request.provider,
            connection_id=request.connection_id,
            delivery_id=delivery.delivery_id,
            event=None,
            headers={name: value for name, value in request.headers.items() if name not in hidden},
            body=request.body,
            received_at=request.received_at,
            status=DeliveryStatus.PROCESSED,
        )


def _read_accounts(webhooks: Webhooks, sender: Sender) -> tuple[str, ...]:
    try:
        return webhooks.read_accounts(sender.delivery)
    except Exception:
        log.exception("accounts_crashed", extra={"provider": sender.delivery.request.provider})
        return ()


def _is_for(reading: Reading, connection: Connection) -> bool:
    """Whether a delivery that could not be read is for the connection."""
    try:
        reading.webhooks.verify_owner(reading.sender.delivery, connection)
    except DeliveryRejectedError:
        return False
    except Exception:
        # It may be another tenant's: without proof nobody gets it.
        log.exception("owner_crashed", extra={"provider": reading.provider.slug})
        return False
    return True


def _finish(reading: Reading, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    webhooks = reading.webhooks
    webhooks.verify_owner(reading.sender.delivery, connection)
    return event if webhooks.to_signals is None else webhooks.to_signals(reading.sender.delivery, event, connection)


def is_outdated(event: WebhookEvent, connection: Connection) -> bool:
    """Whether it tells the end of a former consent: the user has consented again since."""
    return event.lifecycle is not None and event.at is not None and event.at < connection.consented_at


def _explain(error: ConnectorsError) -> str:
    if not error.details:
        return error.message
    return f"{error.message} {json.dumps(list(error.details), default=str)}"[:1000]
