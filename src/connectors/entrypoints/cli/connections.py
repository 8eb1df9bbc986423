"""`connectors connections`."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import click
import msgspec

from connectors.domain.flows.reading.coverage import FamilyCoverage, merge
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.entrypoints.cli.output import Output, output_option, print_table, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.cli.time_options import duration, show_instant
from connectors.entrypoints.representation.connections import show_connection, show_details
from connectors.entrypoints.representation.coverage import show_coverage

COLUMNS = {
    "id": lambda one: one.id,
    "provider": lambda one: one.provider,
    "account": lambda one: one.account.name,
    "status": lambda one: one.status,
    "health": lambda one: one.health,
    "last synced": lambda one: "never" if one.last_synced_at is None else show_instant(one.last_synced_at),
    "expires": lambda one: "never" if one.expires_at is None else show_instant(one.expires_at),
    "last error": lambda one: one.last_error,
}


@click.group(name="connections")
def command() -> None:
    """List, show, schedule, refresh and end connections."""


@command.command(name="list")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--status", type=click.Choice([str(one) for one in ConnectionStatus]), help="Only those of this status.")
@output_option
def list_command(tenant_id: TenantId, provider: str | None, status: str | None, output: Output) -> None:
    """List a tenant's connections, newest first."""
    rows = []
    with open_connectors() as connectors:
        slug = None if provider is None else connectors.queries.provider_to_list(tenant_id, provider)
        cursor, more = None, True
        while more:
            listing = connectors.queries.list_connections(
                tenant_id,
                provider=slug,
                status=None if status is None else ConnectionStatus(status),
                limit=MAX_LIMIT,
                cursor=cursor,
            )
            rows += [show_connection(one) for one in listing.items]
            cursor, more = listing.next_cursor, listing.has_more
    show_rows(rows, output, COLUMNS, empty="No connections. Start one with `connectors connect`.")


@command.command(name="show")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@output_option
def show_command(tenant_id: TenantId, connection_id: UUID, output: Output) -> None:
    """Show one connection: its health, its subscriptions, its next read, and what is proven complete."""
    with open_connectors() as connectors:
        details = connectors.queries.inspect_connection(tenant_id, ConnectionId(connection_id))
        families = connectors.coverage.show(tenant_id, ConnectionId(connection_id))
    shown: dict[str, Any] = msgspec.to_builtins(show_details(details))
    if output is not Output.TABLE:
        coverage = show_coverage(details.connection.id, families)
        show_one({**shown, "coverage": msgspec.to_builtins(coverage)}, output)
        return
    show_one(shown, output)
    click.echo()
    print_table(["events", "complete from", "until", "may be missing"], [_coverage_row(one) for one in families])


def _coverage_row(coverage: FamilyCoverage) -> list[str]:
    """The family's latest complete period, by any path, and its open gaps."""
    periods = merge(coverage.intervals)
    gaps = "\n".join(
        f"{show_instant(gap.from_at)} to {'now' if gap.to_at is None else show_instant(gap.to_at)}: {gap.reason}"
        for gap in coverage.open_gaps
    )
    if not periods:
        return [coverage.family.name, "not proven yet", "", gaps]
    last = periods[-1]
    until = "now (webhooks)" if last.to_at is None else show_instant(last.to_at)
    return [coverage.family.name, show_instant(last.from_at), until, gaps]


@command.command(name="schedule")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.option("--every", type=duration, help="Time between two reads, give or take a fifth; a minute at least.")
@click.option("--default", "is_default", is_flag=True, help="The provider's own, or POBLYSH_SYNC_INTERVAL_SECONDS.")
@output_option
def schedule_command(
    tenant_id: TenantId, connection_id: UUID, every: timedelta | None, output: Output, *, is_default: bool
) -> None:
    """Set how often a connection is read. Its next read is scheduled again."""
    if (every is None) is not is_default:
        raise click.UsageError("Give either --every or --default.")
    with open_connectors() as connectors:
        connectors.connection_settings.set_sync_interval(tenant_id, ConnectionId(connection_id), every)
        details = connectors.queries.inspect_connection(tenant_id, ConnectionId(connection_id))
    show_one(show_details(details), output)


@command.command(name="refresh")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@output_option
def refresh_command(tenant_id: TenantId, connection_id: UUID, output: Output) -> None:
    """Refresh a connection's tokens now."""
    with open_connectors() as connectors:
        connection = connectors.connect.refresh(tenant_id, ConnectionId(connection_id))
    show_one(show_connection(connection), output)


@command.command(name="delete")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.confirmation_option(prompt="Unsubscribe, revoke at the provider and destroy the tokens?")
def delete_command(tenant_id: TenantId, connection_id: UUID) -> None:
    """End a connection: unsubscribe, revoke at the provider, destroy the tokens. Its signals stay."""
    with open_connectors() as connectors:
        ended = connectors.disconnect.end_connection(tenant_id, ConnectionId(connection_id))
    click.echo(f"Ended {ended.provider} connection of {ended.account.name}.")
    if ended.last_error:
        click.echo(f"The provider refused a part of it: {ended.last_error}", err=True)
