"""`connectors signals`."""

from datetime import datetime
from uuid import UUID

import click

from connectors.domain.model.ids import ConnectionId, SignalId, TenantId
from connectors.domain.model.instant import read_instant
from connectors.domain.model.paging import MAX_LIMIT
from connectors.domain.model.signal import SignalFilter, SignalKind
from connectors.entrypoints.cli.output import Output, output_option, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.flask.representing import show_signal
from connectors.entrypoints.flask.views import SignalView

COLUMNS = {
    "occurred": lambda one: one.occurred_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
    "provider": lambda one: one.provider,
    "kind": lambda one: one.kind,
    "title": lambda one: one.title,
    "actor": lambda one: one.actor.name if one.actor else "",
    "container": lambda one: one.container.name if one.container else "",
}


@click.group(name="signals")
def command() -> None:
    """List and show signals."""


def _instant(_context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    instant = read_instant(value)
    if instant is None:
        raise click.BadParameter("expected RFC 3339 with a zone, for example 2026-01-02T03:04:05Z", param=option)
    return instant


@command.command(name="list")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection's.")
@click.option("--kind", type=click.Choice([str(one) for one in SignalKind]), help="Only this kind.", metavar="KIND")
@click.option("--after", callback=_instant, help="Only what occurred after this instant.")
@click.option("--before", callback=_instant, help="Only what occurred before this instant.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@click.option("--payload", is_flag=True, help="With the provider's own objects (JSON output).")
@output_option
def list_command(
    tenant_id: TenantId,
    provider: str | None,
    connection_id: UUID | None,
    kind: str | None,
    after: datetime | None,
    before: datetime | None,
    limit: int,
    output: Output,
    *,
    payload: bool,
) -> None:
    """List a tenant's signals, newest first."""
    rows: list[SignalView] = []
    with open_connectors() as connectors:
        where = SignalFilter(
            provider=None if provider is None else connectors.providers.get(provider).slug,
            connection_id=None if connection_id is None else ConnectionId(connection_id),
            kind=None if kind is None else SignalKind(kind),
            occurred_after=after,
            occurred_before=before,
        )
        cursor, more = None, True
        while more and len(rows) < limit:
            listing = connectors.browse.list_signals(
                tenant_id, where, limit=min(MAX_LIMIT, limit - len(rows)), cursor=cursor, with_payload=payload
            )
            rows += [show_signal(one, with_payload=payload) for one in listing.items]
            cursor, more = listing.next_cursor, listing.has_more
    show_rows(rows, output, COLUMNS, empty="No signals.")


@command.command(name="show")
@tenant_option
@click.argument("signal_id", type=click.UUID)
@output_option
def show_command(tenant_id: TenantId, signal_id: UUID, output: Output) -> None:
    """Show one signal with the provider's own object."""
    with open_connectors() as connectors:
        signal = connectors.browse.get_signal(tenant_id, SignalId(signal_id))
    show_one(show_signal(signal, with_payload=True), output)
