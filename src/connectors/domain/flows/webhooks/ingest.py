"""The life of a webhook: verified over its raw bytes, normalized, durable, and only then acknowledged."""

import json
import logging
from collections.abc import Mapping, Sequence

import attrs

from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.webhooks.signing_keys import SigningKeyCache
from connectors.domain.flows.webhooks.verification import DeliveryVerifier, Sender, Trust
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.errors import (
    ConflictError,
    ConnectionNotFoundError,
    ConnectorsError,
    DeliveryRejectedError,
    InfrastructureError,
    NotFoundError,
    ProviderFailedError,
    TenantNotFoundError,
)
from connectors.domain.model.ids import UNROUTED, DeliveryId, ProviderSlug, SignalId, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.signal import Origin, Signal
from connectors.domain.model.sync import JobType
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import (
    DeliveryHints,
    DeliveryStatus,
    Ignored,
    Lifecycle,
    Recorded,
    VerifiedDelivery,
    WebhookDelivery,
    WebhookEvent,
    WebhookReply,
    WebhookRequest,
)
from connectors.domain.providers.contract import (
    Provider,
    ReadContext,
    SigningKeys,
    Webhooks,
    is_unknown_key,
)
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

SENSITIVE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"})
"""Never stored, whoever sends them. Each package adds its own in `Webhooks.secret_headers`."""

NO_CONNECTION = "no connection"

REPLAY = "replay"
"""What proves a delivery that is run again: it was proven when it came."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Acceptance:
    """What a sender gets to know."""

    recorded: Recorded
    reply: WebhookReply | None = None
    """What the vendor wants to read instead of our usual answer."""
    success_status: int = 202
    deliveries: tuple[DeliveryId, ...] = ()


@attrs.frozen(kw_only=True)
class _Outcome:
    """What one delivery means for one tenant: the row to keep and what follows from it."""

    row: WebhookDelivery
    connections: tuple[tuple[Connection, WebhookEvent], ...] = ()
    is_foreign: bool = False
    """It named the tenant's account, and yet is for none of its connections."""


@attrs.frozen(kw_only=True)
class IngestFlow:
    """Receives webhooks and replays them."""

    unit_of_work: UnitOfWorkFactory
    verifier: DeliveryVerifier
    signing_keys: SigningKeyCache
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    jobs: SyncJobs
    ledger: Ledger
    telemetry: Telemetry

    def accept_delivery(self, request: WebhookRequest, *, trust: Trust = Trust.NONE) -> Acceptance:
        """Keep one delivery and what it says. When this returns, it is durable.

        Raises:
            ProviderNotSupportedError: no such provider, or it sends no webhooks.
            TenantNotFoundError: the path names a tenant that is not known here. Webhooks never make one.
            ConnectionNotFoundError: the path names a connection that the tenant does not have.
            DeliveryRejectedError: the sender is not proven. Nothing is kept.
            InfrastructureError: it could not be kept: the sender should try again.
        """
        provider = self.providers.get(request.provider)
        webhooks = provider.webhooks
        if webhooks is None:
            raise NotFoundError(f"{provider.name} sends no webhooks.")
        hints = webhooks.read_hints(request)
        keys = None if trust is Trust.OPERATOR else self._keys(provider, webhooks)
        try:
            return self._accept(provider, webhooks, request, hints, trust, keys)
        except DeliveryRejectedError as error:
            if not is_unknown_key(error):
                raise
            # The vendor has rotated its keys since we last looked.
            return self._accept(provider, webhooks, request, hints, trust, self._keys(provider, webhooks, refetch=True))

    def _accept(
        self,
        provider: Provider,
        webhooks: Webhooks,
        request: WebhookRequest,
        hints: DeliveryHints,
        trust: Trust,
        keys: SigningKeys | None,
    ) -> Acceptance:
        with self.unit_of_work() as uow:
            path_connection = self._check_path(uow, request)
            if path_connection is not None and self.verifier.shake_hands(uow, webhooks, request, path_connection):
                return Acceptance(recorded=Recorded.NEW, success_status=webhooks.success_status)
            sender = self.verifier.identify(uow, provider, webhooks, request, hints, trust, keys, path_connection)
            reading = self._read(provider, webhooks, sender, path_connection)
            outcomes = self._outcomes(uow, provider, webhooks, sender, reading, path_connection)
            recorded = Recorded.DUPLICATE
            for outcome in outcomes:
                if self._keep(uow, outcome) is Recorded.NEW:
                    recorded = Recorded.NEW
            self.verifier.learn_external_id(uow, sender, hints)
        self._report(outcomes, recorded)
        reply = reading.reply if isinstance(reading, WebhookEvent | Ignored) else None
        return Acceptance(
            recorded=recorded,
            reply=reply,
            success_status=webhooks.success_status,
            deliveries=tuple(outcome.row.id for outcome in outcomes),
        )

    def replay(self, tenant_id: TenantId, delivery_id: DeliveryId) -> WebhookDelivery:
        """The delivery, run again from its stored bytes. Running it twice changes nothing more.

        What it does to its connection, and the sync that it asks for, follow only if it was not processed before: an
        old "access withdrawn" must not end a connection that the user has made again. One that found no owner is kept
        for every tenant that has connected its account by now.

        Raises:
            NotFoundError: the tenant has no such delivery.
            ProviderNotSupportedError: its provider is not installed here.
        """
        with self.unit_of_work() as uow:
            row = uow.deliveries.get(tenant_id, delivery_id, lock=True)
            provider = self.providers.get_stored(row.provider)
            webhooks = provider.webhooks
            if webhooks is None:
                raise NotFoundError(f"{provider.name} sends no webhooks.")
            connection = _find_connection(uow, tenant_id, row)
            request = WebhookRequest(
                provider=row.provider,
                tenant_id=None if tenant_id == UNROUTED else tenant_id,
                connection_id=row.connection_id,
                headers=row.headers,
                body=row.body,
                received_at=row.received_at,
            )
            delivery = VerifiedDelivery(request=request, delivery_id=row.delivery_id, via=REPLAY)
            sender = Sender(delivery=delivery)
            reading = self._read(provider, webhooks, sender, connection)
            outcomes = self._outcomes(uow, provider, webhooks, sender, reading, connection)
            added = 0
            for outcome in outcomes:
                if outcome.row.tenant_id != tenant_id:
                    self._keep(uow, outcome)
                    continue
                added += self._record_signals(uow, outcome)
                if row.status is not DeliveryStatus.PROCESSED:
                    self._follow_up(uow, outcome)
            settled = attrs.evolve(
                outcomes[0].row,
                id=row.id,
                tenant_id=tenant_id,
                connection_id=outcomes[0].row.connection_id if tenant_id != UNROUTED else None,
                headers=row.headers,
                signal_count=row.signal_count + added,
            )
            uow.deliveries.settle(settled)
            self._close_gap(uow, settled)
            return settled

    # --- who is it -----------------------------------------------------------------------------------------------

    def _check_path(self, uow: UnitOfWork, request: WebhookRequest) -> Connection | None:
        if request.tenant_id is None:
            return None
        if uow.tenants.find(request.tenant_id) is None:
            raise TenantNotFoundError("There is no such tenant.")
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
            # Without the keys nobody can tell whether it is genuine. Asked to come again, the vendor will.
            raise InfrastructureError(f"{provider.name}'s signing keys cannot be had at present.") from error

    # --- what does it say ----------------------------------------------------------------------------------------

    def _read(
        self, provider: Provider, webhooks: Webhooks, sender: Sender, connection: Connection | None
    ) -> WebhookEvent | Ignored | str:
        """The event, or why it could not be read: foreign data must never cost us the delivery."""
        context = ReadContext(app=self.apps.get(provider.slug), connections=() if connection is None else (connection,))
        try:
            return webhooks.read_event(sender.delivery, context)
        except InfrastructureError:
            raise
        except ConnectorsError as error:
            return _explain(error)
        except Exception as error:
            # A bug of the package. The delivery is kept as failed and can be replayed once the package is mended.
            log.exception("normalization_crashed", extra={"provider": provider.slug})
            return f"internal error: {type(error).__name__}"

    def _outcomes(
        self,
        uow: UnitOfWork,
        provider: Provider,
        webhooks: Webhooks,
        sender: Sender,
        reading: WebhookEvent | Ignored | str,
        path_connection: Connection | None,
    ) -> tuple[_Outcome, ...]:
        tenant_id = sender.delivery.request.tenant_id
        if tenant_id is not None:
            return (self._outcome(uow, provider, webhooks, sender, reading, tenant_id, path_connection),)
        # An app-level URL: the event's accounts say whose it is, possibly several tenants'.
        account_ids = reading.account_ids if isinstance(reading, WebhookEvent) else ()
        tenants = dict.fromkeys(
            one.tenant_id
            for one in uow.connections.list_by_accounts(provider.slug, account_ids)
            if one.status is not ConnectionStatus.REVOKED
        )
        if not tenants:
            return (self._unrouted(uow, sender, reading),)
        outcomes = [
            self._outcome(uow, provider, webhooks, sender, reading, owner, path_connection) for owner in tenants
        ]
        # A tenant whom the event turns out not to be for gets nothing of it: it may be another tenant's secret.
        return tuple(one for one in outcomes if not one.is_foreign) or (self._unrouted(uow, sender, reading),)

    def _outcome(
        self,
        uow: UnitOfWork,
        provider: Provider,
        webhooks: Webhooks,
        sender: Sender,
        reading: WebhookEvent | Ignored | str,
        tenant_id: TenantId,
        path_connection: Connection | None,
    ) -> _Outcome:
        row = self._row(sender.delivery, webhooks, tenant_id)
        if sender.subscription is not None:
            # A replay has no other way to know it.
            row = attrs.evolve(row, connection_id=sender.subscription.connection_id)
        if isinstance(reading, str):
            return _Outcome(row=attrs.evolve(row, status=DeliveryStatus.FAILED, error=reading))
        if isinstance(reading, Ignored):
            return _Outcome(
                row=attrs.evolve(row, event=reading.event, status=DeliveryStatus.IGNORED, error=reading.reason)
            )
        row = attrs.evolve(row, event=reading.event)
        connections = self._connections(uow, tenant_id, provider, sender, reading, path_connection)
        if not connections:
            return _Outcome(row=attrs.evolve(row, status=DeliveryStatus.FAILED, error=NO_CONNECTION))
        return self._finished(uow, webhooks, sender, reading, row, connections)

    def _finished(
        self,
        uow: UnitOfWork,
        webhooks: Webhooks,
        sender: Sender,
        event: WebhookEvent,
        row: WebhookDelivery,
        connections: Sequence[Connection],
    ) -> _Outcome:
        """The event, finished for each connection that it is for."""
        finished: list[tuple[Connection, WebhookEvent]] = []
        failure: str | None = None
        foreign: str | None = None
        for connection in connections:
            try:
                finished.append((connection, _finish(webhooks, sender.delivery, event, connection)))
            except InfrastructureError:
                raise
            except DeliveryRejectedError as error:
                foreign = error.message
            except ConnectorsError as error:
                failure = _explain(error)
            except Exception as error:
                log.exception("normalization_crashed", extra={"provider": row.provider})
                failure = f"internal error: {type(error).__name__}"
        if failure is not None:
            # What the others got is kept; a replay, for all of them, completes it.
            row = attrs.evolve(row, status=DeliveryStatus.FAILED, error=failure)
        elif finished:
            row = attrs.evolve(row, connection_id=finished[0][0].id)
        else:
            row = attrs.evolve(row, status=DeliveryStatus.IGNORED, error=foreign)
        if any(one.lifecycle is not None for _, one in finished) and self._was_unrouted(uow, row):
            # It was news when nobody was connected. Sent again, it must not end a connection that was made since.
            finished = [(connection, attrs.evolve(one, lifecycle=None)) for connection, one in finished]
        return _Outcome(row=row, connections=tuple(finished), is_foreign=failure is None and not finished)

    @staticmethod
    def _was_unrouted(uow: UnitOfWork, row: WebhookDelivery) -> bool:
        return uow.deliveries.find_by_delivery_id(UNROUTED, row.provider, row.delivery_id) is not None

    def _connections(
        self,
        uow: UnitOfWork,
        tenant_id: TenantId,
        provider: Provider,
        sender: Sender,
        event: WebhookEvent,
        path_connection: Connection | None,
    ) -> Sequence[Connection]:
        """Whose event it is: the path's, the subscription's, the accounts' that it names, or the only one there is."""
        if path_connection is None and sender.subscription is not None:
            path_connection = uow.connections.get(tenant_id, sender.subscription.connection_id)
        if path_connection is not None:
            ended = path_connection.status is ConnectionStatus.REVOKED and sender.delivery.via != REPLAY
            return () if ended else (path_connection,)
        named = [
            one
            for one in uow.connections.list_by_accounts(provider.slug, event.account_ids)
            if one.tenant_id == tenant_id and one.status is not ConnectionStatus.REVOKED
        ]
        if named:
            return named
        active = uow.connections.list_of_provider(tenant_id, provider.slug, ConnectionStatus.ACTIVE)
        return active if len(active) == 1 else ()

    def _unrouted(self, uow: UnitOfWork, sender: Sender, reading: WebhookEvent | Ignored | str) -> _Outcome:
        uow.tenants.record(Tenant(id=UNROUTED, created_at=self.clock.now()))
        webhooks = self.providers.get(sender.delivery.request.provider).webhooks
        assert webhooks is not None  # noqa: S101 - accept_delivery has looked
        row = self._row(sender.delivery, webhooks, UNROUTED)
        if isinstance(reading, str):
            return _Outcome(row=attrs.evolve(row, status=DeliveryStatus.FAILED, error=reading))
        reason = reading.reason if isinstance(reading, Ignored) else "no connection to this account"
        return _Outcome(row=attrs.evolve(row, event=reading.event, status=DeliveryStatus.IGNORED, error=reason))

    def _row(self, delivery: VerifiedDelivery, webhooks: Webhooks, tenant_id: TenantId) -> WebhookDelivery:
        request = delivery.request
        hidden = SENSITIVE_HEADERS | webhooks.secret_headers
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

    # --- keep it -------------------------------------------------------------------------------------------------

    def _keep(self, uow: UnitOfWork, outcome: _Outcome) -> Recorded:
        """Write the signals, the delivery, and, unless the delivery was there already, what follows from it."""
        self._lock_changed(uow, outcome)
        added = self._record_signals(uow, outcome)
        row = attrs.evolve(outcome.row, signal_count=added)
        recorded = uow.deliveries.record(row)
        if recorded is Recorded.NEW:
            self._follow_up(uow, outcome)
            if row.status is DeliveryStatus.FAILED:
                self._open_gap(uow, row)
            else:
                self._close_missed(uow, row)
        elif row.status is DeliveryStatus.PROCESSED:
            self._heal(uow, outcome, row)
        return recorded

    def _lock_changed(self, uow: UnitOfWork, outcome: _Outcome) -> None:
        # A sync locks the connection and then writes signals. In the other order, the two could wait for each other.
        for connection, event in outcome.connections:
            if event.lifecycle is not None or event.connection_metadata:
                uow.connections.get(connection.tenant_id, connection.id, lock=True)

    def _heal(self, uow: UnitOfWork, outcome: _Outcome, row: WebhookDelivery) -> None:
        """A redelivery of what failed the first time, and does not any more, settles it."""
        present = uow.deliveries.find_by_delivery_id(row.tenant_id, row.provider, row.delivery_id, lock=True)
        if present is not None and present.status is DeliveryStatus.FAILED:
            uow.deliveries.settle(
                attrs.evolve(row, id=present.id, signal_count=present.signal_count + row.signal_count)
            )
            self._follow_up(uow, outcome)
            self._close_gap(uow, attrs.evolve(row, id=present.id))

    def _open_gap(self, uow: UnitOfWork, row: WebhookDelivery) -> None:
        """What an unread delivery tells of may be missing, until it is replayed or a sync has gone over it."""
        connection = _find_connection(uow, row.tenant_id, row)
        if connection is None:
            return  # nobody's, so nobody misses it
        provider = self.providers.get(row.provider)
        self.ledger.open_gap(
            uow,
            connection,
            self.ledger.family_names(provider, row.event),
            GapCause.DELIVERY_FAILED,
            "A webhook delivery could not be read.",
            from_at=row.received_at,
            to_at=row.received_at,
            reference=str(row.id),
        )

    def _close_gap(self, uow: UnitOfWork, row: WebhookDelivery) -> None:
        if row.status is not DeliveryStatus.FAILED:
            self._close(uow, row, GapCause.DELIVERY_FAILED, str(row.id))

    def _close_missed(self, uow: UnitOfWork, row: WebhookDelivery) -> None:
        """What the provider's log had as lost has come after all."""
        webhooks = self.providers.get(row.provider).webhooks
        if webhooks is not None and webhooks.subscriptions is not None and webhooks.subscriptions.missed is not None:
            self._close(uow, row, GapCause.DELIVERY_MISSED, row.delivery_id)

    def _close(self, uow: UnitOfWork, row: WebhookDelivery, cause: GapCause, reference: str) -> None:
        if row.connection_id is None:
            return
        for gap in uow.coverage.list_gaps(row.tenant_id, row.connection_id, is_open=True):
            if gap.cause is cause and gap.reference == reference:
                self.ledger.close(uow, gap, CoveragePath.WEBHOOK)

    def _report(self, outcomes: Sequence[_Outcome], recorded: Recorded) -> None:
        now = self.clock.now()
        for outcome in outcomes:
            self.telemetry.delivery_accepted(outcome.row.provider, outcome.row.status, recorded)
            if recorded is Recorded.NEW:
                for _, event in outcome.connections:
                    for draft in event.signals:
                        self.telemetry.signal_visible(outcome.row.provider, Origin.WEBHOOK, now - draft.occurred_at)

    def _record_signals(self, uow: UnitOfWork, outcome: _Outcome) -> int:
        signals = [
            Signal.from_draft(
                draft,
                connection,
                # Of now: after a replay they arrive now, and who follows the arrivals goes by ids.
                SignalId(self.entropy.uuid7(self.clock.now())),
                received_at=outcome.row.received_at,
                origin=Origin.WEBHOOK,
            )
            for connection, event in outcome.connections
            for draft in event.signals
        ]
        return len(uow.signals.record_all(signals)) if signals else 0

    def _follow_up(self, uow: UnitOfWork, outcome: _Outcome) -> None:
        for connection, event in outcome.connections:
            if event.needs_sync:
                self._enqueue(uow, connection, event)
            self._change_connection(uow, connection, event)

    def _enqueue(self, uow: UnitOfWork, connection: Connection, event: WebhookEvent) -> None:
        try:
            self.jobs.enqueue(uow, connection, JobType.WEBHOOK, target=event.sync_target)
        except ConflictError as error:
            # It needs its user first. What changed meanwhile is read when it works again.
            log.info("sync_not_queued", extra={"connection_id": str(connection.id), "reason": error.message})

    def _change_connection(self, uow: UnitOfWork, connection: Connection, event: WebhookEvent) -> None:
        if event.lifecycle is None and not event.connection_metadata:
            return
        now = self.clock.now()
        present = uow.connections.get(connection.tenant_id, connection.id, lock=True)
        changed = attrs.evolve(present, metadata={**present.metadata, **event.connection_metadata}, updated_at=now)
        if event.lifecycle is Lifecycle.REVOKED:
            reason = f"withdrawn at the provider ({event.event})"
            changed = changed.moved_to(ConnectionStatus.REVOKED, at=now, reason=reason)
            # Nobody tells us any more, and what comes after a new consent proves nothing of the time until then.
            self.ledger.note_stream_ended(uow, changed)
            log.warning("connection_revoked", extra={"connection_id": str(connection.id), "reason": reason})
        uow.connections.save(changed)


def _finish(
    webhooks: Webhooks, delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection
) -> WebhookEvent:
    return event if webhooks.to_signals is None else webhooks.to_signals(delivery, event, connection)


def _find_connection(uow: UnitOfWork, tenant_id: TenantId, row: WebhookDelivery) -> Connection | None:
    if row.connection_id is None:
        return None
    try:
        return uow.connections.get(tenant_id, row.connection_id)
    except ConnectionNotFoundError:
        return None


def _explain(error: ConnectorsError) -> str:
    if not error.details:
        return error.message
    return f"{error.message} {json.dumps(list(error.details), default=str)}"[:1000]
