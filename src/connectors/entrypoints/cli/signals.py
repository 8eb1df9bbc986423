"""`connectors signals`."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import click

from connectors.domain.flows.signals.feed import SignalFeed
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.ids import ConnectionId, SignalId, TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.domain.model.signal import SignalFilter, SignalKind
from connectors.entrypoints.cli.output import Output, output_option, print_json_line, print_line, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.cli.time_options import duration, instant, show_instant
from connectors.entrypoints.representation.signals import SignalView, show_signal

COLUMNS = {
    "occurred": lambda one: show_instant(one.occurred_at),
    "provider": lambda one: one.provider,
    "kind": lambda one: one.kind,
    "title": lambda one: one.title,
    "actor": lambda one: one.actor.name if one.actor else "",
    "container": lambda one: one.container.name if one.container else "",
}

KIND_WIDTH = max(len(kind) for kind in SignalKind)
PROVIDER_WIDTH = len("google-calendar")
"""Column widths of `tail`: its lines are printed before the next ones are known."""


@click.group(name="signals")
def command() -> None:
    """List, show and follow signals."""


@command.command(name="list")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection's.")
@click.option("--kind", type=click.Choice([str(one) for one in SignalKind]), help="Only this kind.", metavar="KIND")
@click.option("--after", type=instant, help="Only what occurred after this instant.")
@click.option("--before", type=instant, help="Only what occurred before this instant.")
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
            provider=None if provider is None else connectors.queries.provider_to_list(tenant_id, provider),
            connection_id=None if connection_id is None else ConnectionId(connection_id),
            kind=None if kind is None else SignalKind(kind),
            occurred_after=after,
            occurred_before=before,
        )
        cursor, more = None, True
        while more and len(rows) < limit:
            listing = connectors.queries.list_signals(
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
        signal = connectors.queries.get_signal(tenant_id, SignalId(signal_id))
    show_one(show_signal(signal, with_payload=True), output)


@command.command(name="tail")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection's.")
@click.option("--kind", type=click.Choice([str(one) for one in SignalKind]), help="Only this kind.", metavar="KIND")
@click.option("--since", type=instant, help="Start with what has arrived since then, instead of now.")
@click.option("--interval", type=duration, default="1s", show_default=True, help="Time between two checks.")
@output_option
def tail_command(
    tenant_id: TenantId,
    provider: str | None,
    connection_id: UUID | None,
    kind: str | None,
    since: datetime | None,
    interval: timedelta,
    output: Output,
) -> None:
    """Print signals as they arrive, a line each, until Ctrl-C. JSON output means JSON lines here.

    They are printed in the order of their arrival, whenever they occurred, each exactly once.
    """
    with open_connectors() as connectors:
        where = SignalFilter(
            provider=None if provider is None else connectors.queries.provider_to_list(tenant_id, provider),
            connection_id=None if connection_id is None else ConnectionId(connection_id),
            kind=None if kind is None else SignalKind(kind),
        )
        feed = connectors.queries.feed(tenant_id, where, since=since)
        try:
            follow(feed, output, lambda: time.sleep(interval.total_seconds()))
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)


def follow(feed: SignalFeed, output: Output, pause: Callable[[], None]) -> None:
    """Print the feed's signals for ever. If the database is unavailable, try again until it is back.

    Raises:
        BrokenPipeError: the reader has closed the pipe.
    """
    is_database_down = False
    while True:
        try:
            for signal in feed.poll():
                _print_arrival(show_signal(signal, with_payload=False), output)
            is_database_down = False
        except InfrastructureError as error:
            if not is_database_down:
                click.echo(f"{error.message} Retrying.", err=True)
            is_database_down = True
        pause()


def _print_arrival(signal: SignalView, output: Output) -> None:
    if output is not Output.TABLE:
        print_json_line(signal)
        return
    print_line(
        [
            show_instant(signal.received_at),
            f"{signal.provider:<{PROVIDER_WIDTH}}",
            f"{signal.kind:<{KIND_WIDTH}}",
            signal.title + (f" ({signal.actor.name})" if signal.actor and signal.actor.name else ""),
        ]
    )
