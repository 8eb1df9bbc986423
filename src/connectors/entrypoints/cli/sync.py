"""`connectors sync`."""

from uuid import UUID

import click

from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import JobType
from connectors.entrypoints.cli.output import Output, output_option
from connectors.entrypoints.cli.read_targets import ReadRequest
from connectors.entrypoints.cli.system import any_tenant_option, open_system
from connectors.entrypoints.cli.watch import command_line, read_now


@click.command(name="sync")
@any_tenant_option
@click.option("--provider", help="Only this provider's connections.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection.")
@click.option("--detach", is_flag=True, help="Queue the reads and return; workers run them.")
@click.option("--now", is_flag=True, hidden=True, help="The default; kept for older scripts.")
@output_option
def command(
    tenant_id: TenantId | None,
    provider: str | None,
    connection_id: UUID | None,
    output: Output,
    *,
    detach: bool,
    now: bool,
) -> None:
    """Read new events now: of one connection, of all connections of a provider or of a tenant, or of all.

    Workers do this every few minutes; see `connectors connections schedule`. `connectors backfill` reads history.

    Exit code 1: a connection could not be read. 3: all could be read but for single streams, which are tried again.
    """
    del now
    if provider is not None and connection_id is not None:
        raise click.UsageError("Give --provider or --connection, not both.")
    with open_system() as system:
        connections = system.connectors.jobs.list_readable(
            tenant_id,
            provider_slug=provider,
            connection_id=None if connection_id is None else ConnectionId(connection_id),
        )
        if not connections:
            raise click.ClickException("There is no active connection to read. Start one with `connectors connect`.")
        read_now(
            system,
            connections,
            ReadRequest(type=JobType.INCREMENTAL),
            output,
            again=command_line("sync", tenant_id, provider, connection_id),
            is_one=connection_id is not None,
            is_detached=detach,
        )
