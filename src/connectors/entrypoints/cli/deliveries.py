"""`connectors deliveries`."""

from uuid import UUID

import click

from connectors.domain.model.errors import NotFoundError, ProviderNotSupportedError
from connectors.domain.model.ids import ConnectionId, DeliveryId, TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.domain.model.webhook import DeliveryFilter, DeliveryStatus, WebhookDelivery
from connectors.entrypoints.cli.output import Output, output_option, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.representation.deliveries import show_delivery

COLUMNS = {
    "received": lambda one: one.received_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
    "id": lambda one: one.id,
    "provider": lambda one: one.provider,
    "event": lambda one: one.event,
    "status": lambda one: one.status,
    "signals": lambda one: one.signal_count,
    "error": lambda one: one.error,
}


@click.group(name="deliveries")
def command() -> None:
    """List, show and replay webhook deliveries."""


@command.command(name="list")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection's.")
@click.option("--status", type=click.Choice([str(one) for one in DeliveryStatus]), help="Only those of this status.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@output_option
def list_command(
    tenant_id: TenantId,
    provider: str | None,
    connection_id: UUID | None,
    status: str | None,
    limit: int,
    output: Output,
) -> None:
    """List a tenant's deliveries, newest first."""
    with open_connectors() as connectors:
        where = _where(connectors, tenant_id, provider, connection_id, status)
        rows = [show_delivery(one, whole=False) for one in _find(connectors, tenant_id, where, limit)]
    show_rows(rows, output, COLUMNS, empty="No deliveries.")


@command.command(name="show")
@tenant_option
@click.argument("delivery_id", type=click.UUID)
@output_option
def show_command(tenant_id: TenantId, delivery_id: UUID, output: Output) -> None:
    """Show one delivery with its headers and body."""
    with open_connectors() as connectors:
        delivery = connectors.queries.get_delivery(tenant_id, DeliveryId(delivery_id))
    show_one(show_delivery(delivery, whole=True), output)


@command.command(name="replay")
@tenant_option
@click.argument("delivery_ids", type=click.UUID, nargs=-1)
@click.option("--failed", is_flag=True, help="All failed deliveries, instead of named ones.")
@click.option("--provider", help="With --failed: only this provider.")
@output_option
@click.pass_context
def replay_command(
    context: click.Context,
    tenant_id: TenantId,
    delivery_ids: tuple[UUID, ...],
    provider: str | None,
    output: Output,
    *,
    failed: bool,
) -> None:
    """Process deliveries again from their stored bytes. Exit code 1 if any fails again. Repeating it is harmless."""
    if failed == bool(delivery_ids):
        raise click.UsageError("Give delivery ids or --failed.")
    with open_connectors() as connectors:
        selected = [DeliveryId(one) for one in delivery_ids]
        if failed:
            where = _where(connectors, tenant_id, provider, None, DeliveryStatus.FAILED)
            selected = [one.id for one in _find(connectors, tenant_id, where, None)]
        replayed, refused = [], False
        for one in selected:
            try:
                replayed.append(connectors.ingest.replay(tenant_id, one))
            except (NotFoundError, ProviderNotSupportedError) as error:
                if not failed:
                    raise
                # Deleted meanwhile, or its provider is not installed: the others are still replayed.
                click.echo(f"{one}: {error.message}", err=True)
                refused = True
    show_rows([show_delivery(one, whole=False) for one in replayed], output, COLUMNS, empty="Nothing to replay.")
    if refused or any(one.status is DeliveryStatus.FAILED for one in replayed):
        context.exit(1)


def _where(
    connectors: Connectors,
    tenant_id: TenantId,
    provider: str | None,
    connection_id: UUID | None,
    status: str | None,
) -> DeliveryFilter:
    return DeliveryFilter(
        provider=None if provider is None else connectors.queries.provider_to_list(tenant_id, provider),
        connection_id=None if connection_id is None else ConnectionId(connection_id),
        status=None if status is None else DeliveryStatus(status),
    )


def _find(
    connectors: Connectors, tenant_id: TenantId, where: DeliveryFilter, limit: int | None
) -> list[WebhookDelivery]:
    found: list[WebhookDelivery] = []
    cursor, more = None, True
    while more and (limit is None or len(found) < limit):
        size = MAX_LIMIT if limit is None else min(MAX_LIMIT, limit - len(found))
        listing = connectors.queries.list_deliveries(tenant_id, where, limit=size, cursor=cursor)
        found += listing.items
        cursor, more = listing.next_cursor, listing.has_more
    return found
