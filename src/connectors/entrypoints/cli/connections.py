"""`connectors connections`."""

from uuid import UUID

import click

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.entrypoints.cli.output import Output, output_option, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.flask.representing import show_connection

COLUMNS = {
    "id": lambda one: one.id,
    "provider": lambda one: one.provider,
    "account": lambda one: one.account.name,
    "status": lambda one: one.status,
    "expires": lambda one: one.expires_at or "never",
    "last error": lambda one: one.last_error,
}


@click.group(name="connections")
def command() -> None:
    """List, show, refresh and end connections."""


@command.command(name="list")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--status", type=click.Choice([str(one) for one in ConnectionStatus]), help="Only those of this status.")
@output_option
def list_command(tenant_id: TenantId, provider: str | None, status: str | None, output: Output) -> None:
    """List a tenant's connections, newest first."""
    rows = []
    with open_connectors() as connectors:
        slug = None if provider is None else connectors.providers.get(provider).slug
        cursor, more = None, True
        while more:
            listing = connectors.browse.list_connections(
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
    """Show one connection with its webhook subscriptions."""
    with open_connectors() as connectors:
        connection = connectors.browse.get_connection(tenant_id, ConnectionId(connection_id))
        subscriptions = connectors.browse.list_subscriptions(tenant_id, connection.id)
    show_one(show_connection(connection, subscriptions), output)


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
        click.echo(f"The provider did not do all of it: {ended.last_error}", err=True)
