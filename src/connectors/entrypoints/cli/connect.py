"""`connectors connect`."""

from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import click

from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.entrypoints.cli.output import Output, output_option, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.representation.connections import show_connection


@click.command(name="connect")
@tenant_option
@click.argument("provider")
@click.option("--repository", "repositories", multiple=True, help="GitHub: only this one, owner/name. Repeatable.")
@click.option("--organization", "organizations", multiple=True, help="GitHub: this organization. Repeatable.")
@click.option("--connection", "connection_id", type=click.UUID, help="Connect this connection again, and no other.")
@output_option
def command(
    tenant_id: TenantId,
    provider: str,
    repositories: tuple[str, ...],
    organizations: tuple[str, ...],
    connection_id: UUID | None,
    output: Output,
) -> None:
    """Connect an account: open the printed URL, consent, and paste the address that you are sent to."""
    options = {"repositories": list(repositories), "organizations": list(organizations)}
    with open_connectors() as connectors:
        start = connectors.connect.start_authorization(
            tenant_id,
            provider,
            options={name: value for name, value in options.items() if value},
            connection_id=None if connection_id is None else ConnectionId(connection_id),
        )
        click.echo(f"Open this in a browser:\n\n  {start.authorize_url}\n", err=True)
        # Hidden, because the address holds an authorization code that is still valid.
        landed = click.prompt("The address that you were sent to", hide_input=True, err=True)
        query = dict(parse_qsl(urlsplit(landed.strip()).query))
        connected = connectors.connect.complete_authorization(provider, query, tenant_id=tenant_id)
    show_rows(
        [show_connection(one) for one in connected],
        output,
        {"id": lambda one: one.id, "account": lambda one: one.account.name, "status": lambda one: one.status},
    )
