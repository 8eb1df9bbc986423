"""`connectors connections`."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import click
import msgspec

from connectors.domain.flows.reading.coverage import FamilyCoverage
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.domain.model.spans import FAR, Span, union
from connectors.domain.model.stream_state import StreamStatus
from connectors.entrypoints.cli.output import Output, output_option, print_table, printable, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.cli.time_options import duration, show_instant
from connectors.entrypoints.representation.connections import show_connection, show_details
from connectors.entrypoints.representation.coverage import show_coverage
from connectors.entrypoints.representation.streams import StreamView, show_stream

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


def what_is_wrong(stream: StreamView) -> str:
    """Why it cannot be read, and how many things of it cannot, with the first of them."""
    lines = [] if stream.reason is None else [stream.reason]
    if stream.parked:
        first = stream.parked[0]
        lines.append(f"{stream.parked_count} parked: {first.reference} ({first.reason.rstrip('.')})")
    return "\n".join(lines)


STREAM_COLUMNS = {
    "stream": lambda one: one.key,
    "status": lambda one: f"{one.status}, dismissed" if one.is_dismissed else one.status,
    "name": lambda one: one.name,
    "reason": what_is_wrong,
    "next try": lambda one: "" if one.next_try is None else show_instant(one.next_try),
    "read until": lambda one: "never" if one.read_until is None else show_instant(one.read_until),
    "families": lambda one: ", ".join(one.families),
}


@click.group(name="connections")
def command() -> None:
    """List, show, schedule, refresh and end connections, and see to what they read."""


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
    headings = ["events", "complete from", "until", "may be missing"]
    if any(one.pending for one in families):
        headings.append("not read yet")
    print_table(headings, [_coverage_row(one)[: len(headings)] for one in families])


def _coverage_row(coverage: FamilyCoverage) -> list[str]:
    """The family's latest complete period, by any path, its open gaps, and what will be read by itself."""
    periods = union(Span(one.from_at, one.to_at or FAR) for one in coverage.intervals)
    gaps = "\n".join(
        f"{show_instant(gap.from_at)} to {'now' if gap.to_at is None else show_instant(gap.to_at)}: "
        f"{'' if gap.stream is None else f'{gap.stream}: '}{gap.reason}"
        for gap in coverage.open_gaps
    )
    pending = "\n".join(
        f"{show_instant(one.from_at)} to {'now' if one.to_at == FAR else show_instant(one.to_at)}"
        for one in coverage.pending
    )
    if not periods:
        return [coverage.family.name, "not proven yet", "", gaps, pending]
    last = periods[-1]
    until = "now (webhooks)" if last.to_at == FAR else show_instant(last.to_at)
    return [coverage.family.name, show_instant(last.from_at), until, gaps, pending]


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


@command.command(name="streams")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.option("--status", type=click.Choice([str(one) for one in StreamStatus]), help="Only those in this status.")
@click.option("--family", help="Only those that this family of events needs.")
@output_option
def streams_command(
    tenant_id: TenantId, connection_id: UUID, status: str | None, family: str | None, output: Output
) -> None:
    """List the parts of an account that are read each by itself, and what is in their way.

    The first row is `discovery`, which finds the others, unless the list is filtered.
    """
    rows: list[StreamView] = []
    with open_connectors() as connectors:
        cursor, more = None, True
        while more:
            listing = connectors.streams.list_page(
                tenant_id,
                ConnectionId(connection_id),
                status=None if status is None else StreamStatus(status),
                family=family,
                limit=MAX_LIMIT,
                cursor=cursor,
            )
            if not rows and status is None and family is None and listing.discovery is not None:
                rows.append(show_stream(listing.discovery))
            rows += [show_stream(one) for one in listing.items]
            cursor, more = listing.next_cursor, listing.has_more
    show_rows(rows, output, STREAM_COLUMNS, empty="No streams.")
    if output is not Output.TABLE:
        return
    if listing.uncounted:
        click.echo(f"({listing.uncounted} more cannot be read and never could.)", err=True)
    if listing.paused_until is not None:
        reason = f" {printable(listing.pause_reason)}" if listing.pause_reason else ""
        click.echo(f"Nothing is read before {show_instant(listing.paused_until)}.{reason}", err=True)


@command.command(name="retry")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.argument("stream")
@output_option
def retry_command(tenant_id: TenantId, connection_id: UUID, stream: str, output: Output) -> None:
    """Have workers read a stream and its parked items as soon as they can. `discovery` looks for new streams."""
    with open_connectors() as connectors:
        details = connectors.streams.retry(tenant_id, ConnectionId(connection_id), stream)
    show_one(show_stream(details), output)


@command.command(name="dismiss")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.argument("stream")
@output_option
def dismiss_command(tenant_id: TenantId, connection_id: UUID, stream: str, output: Output) -> None:
    """Give up what could not be read of a stream: its gaps and parked items are closed.

    It is still tried, and counts again once it can be read; its history that was given up stays unproven.
    """
    with open_connectors() as connectors:
        details = connectors.streams.dismiss(tenant_id, ConnectionId(connection_id), stream)
    show_one(show_stream(details), output)


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
        click.echo("`connectors held list` shows what is still there, and when it is tried again.", err=True)
