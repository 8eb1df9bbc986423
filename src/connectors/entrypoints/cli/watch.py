"""Running `backfill` and `sync`: queue the jobs, run an inline worker, show the progress and the result."""

import time
from collections.abc import Callable, Sequence
from uuid import UUID

import click

from connectors.domain.flows.reading.stream_requests import StreamDetails
from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.domain.model.stream_state import StreamStatus
from connectors.entrypoints.cli.inline_worker import INTERRUPTED, run_inline_worker
from connectors.entrypoints.cli.output import Output, printable, show_one, show_rows
from connectors.entrypoints.cli.progress import open_display, state_of
from connectors.entrypoints.cli.read_targets import ReadRequest, ReadTarget, make_targets, refresh
from connectors.entrypoints.cli.system import System
from connectors.entrypoints.cli.time_options import show_instant
from connectors.entrypoints.library import Connectors

PARTIAL = 3
"""The exit code of a command that has read everything but for single streams, which are tried again."""

MOST_NAMED = 20
"""Streams that are named of one connection."""

POLL_INTERVAL = 0.5
"""Seconds between two checks of the jobs."""


def read_now(
    system: System,
    connections: Sequence[Connection],
    request: ReadRequest,
    output: Output,
    *,
    again: str,
    is_one: bool,
    is_detached: bool,
) -> None:
    """Queue a read of each connection, wait until all have ended, and print the result on standard output.

    Args:
        system: what to use.
        connections: what to read.
        request: what to read of each.
        output: the form of the result.
        again: the command that continues after an interruption.
        is_one: the caller has named one connection, so its job is printed alone and not as a list.
        is_detached: return once the reads are queued.

    Raises:
        click.exceptions.Exit: 1 if any connection was not read to the end, 3 if only single streams of them were not,
            130 after Ctrl-C.
    """
    targets = make_targets(system.connectors, connections, request)
    resumed = sum(target.is_resumed for target in targets)
    if resumed:
        jobs = "1 unfinished backfill" if resumed == 1 else f"{resumed} unfinished backfills"
        click.echo(f"Continuing {jobs}.", err=True)
    if is_detached:
        _print(targets, output, system.connectors, is_one=is_one)
        _report_detached(targets)
        return
    try:
        watch(system, targets)
    except KeyboardInterrupt:
        click.echo(f"Stopped. Unfinished reads stay queued; `{again}` continues them.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _print(targets, output, system.connectors, is_one=is_one)
    partial = [target for target in targets if target.is_partial]
    for target in partial:
        _report_aside(system.connectors, target)
    if not all(target.is_complete or target.is_partial for target in targets):
        _report_failures(targets)
        raise click.exceptions.Exit(1)
    if partial:
        raise click.exceptions.Exit(PARTIAL)


def command_line(command: str, tenant_id: TenantId | None, provider: str | None, connection_id: UUID | None) -> str:
    """The command that selects the same connections."""
    options = {"tenant": tenant_id, "provider": provider, "connection": connection_id}
    return " ".join(["connectors", command, *(f"--{name} {value}" for name, value in options.items() if value)])


def watch(system: System, targets: Sequence[ReadTarget], *, pause: Callable[[float], None] = time.sleep) -> None:
    """Run an inline worker and show the progress until every target's job has ended.

    Raises:
        InfrastructureError: the database or the worker failed; queued jobs stay queued.
        KeyboardInterrupt: the user pressed Ctrl-C. The worker has stopped by then.
    """
    if all(target.is_over for target in targets):
        return
    with run_inline_worker(system) as worker, open_display() as display:
        while True:
            refresh(system.connectors, targets)
            display.show(targets, system.connectors.clock.now())
            if all(target.is_over for target in targets):
                return
            worker.check()
            pause(POLL_INTERVAL)


def _print(targets: Sequence[ReadTarget], output: Output, connectors: Connectors, *, is_one: bool) -> None:
    if is_one:
        (target,) = targets
        show_one(target.summary(), output)
        return
    if output is not Output.TABLE:
        show_rows([target.summary() for target in targets], output, {})
        return
    now = connectors.clock.now()
    names = {target.connection.id: target.connection.account.name for target in targets}
    states = {target.connection.id: state_of(target, now) for target in targets}
    columns = {
        "job": lambda one: one["job"],
        "provider": lambda one: one["provider"],
        "account": lambda one: names[one["connection_id"]],
        "status": lambda one: states[one["connection_id"]],
        "streams": lambda one: "{done}/{total}".format(**one["streams"]) if one["streams"]["total"] else "",
        "pages": lambda one: one["pages"],
        "items": lambda one: one["items"],
        "signals": lambda one: one["signals"],
        "error": lambda one: one["error"],
    }
    show_rows([target.summary() for target in targets], output, columns)


def _report_detached(targets: Sequence[ReadTarget]) -> None:
    refused = [target for target in targets if target.job is None]
    if len(refused) < len(targets):
        click.echo("Workers run the jobs; `connectors jobs list` shows their progress.", err=True)
    if refused:
        _report_failures(refused)
        raise click.exceptions.Exit(1)


def _report_aside(connectors: Connectors, target: ReadTarget) -> None:
    """Name the streams that could not be read, and why."""
    connection = target.connection
    aside = _find_aside(connectors, connection)
    counts = "some" if target.job is None else f"{target.job.streams.aside} of {target.job.streams.total}"
    click.echo(f"{printable(target.name)}: partial. {counts} streams cannot be read now:", err=True)
    for one in aside[:MOST_NAMED]:
        again = "" if one.next_try is None else f" Next try {show_instant(one.next_try)}."
        reason = (one.state.reason or "unreadable").rstrip(".")
        click.echo(
            f"  {printable(one.key)} ({printable(one.state.stream.name)}): {printable(reason)}.{again}", err=True
        )
    if len(aside) > MOST_NAMED:
        click.echo(f"  and {len(aside) - MOST_NAMED} more.", err=True)
    options = f"{connection.id} -t {connection.tenant_id}"
    click.echo(
        f"  They are tried again without your help. `connectors connections streams {options}` shows them.", err=True
    )


def _find_aside(connectors: Connectors, connection: Connection) -> list[StreamDetails]:
    found: list[StreamDetails] = []
    for status in (StreamStatus.BLOCKED, StreamStatus.UNREADABLE):
        cursor, more = None, True
        while more and len(found) <= MOST_NAMED:
            listing = connectors.streams.list_page(
                connection.tenant_id, connection.id, status=status, limit=MAX_LIMIT, cursor=cursor
            )
            if listing.discovery is not None and listing.discovery.state.status is status and cursor is None:
                found.append(listing.discovery)
            found += listing.items
            cursor, more = listing.next_cursor, listing.has_more
    return found


def _report_failures(targets: Sequence[ReadTarget]) -> None:
    for target in targets:
        if target.is_complete or target.is_partial:
            continue
        connection = target.connection
        result = "refused" if target.job is None else target.job.status
        click.echo(
            f"{connection.provider} {connection.account.name}: {result}. {target.error or ''}".rstrip(), err=True
        )
        click.echo(
            f"  `connectors connections show {connection.id} -t {connection.tenant_id}` shows the connection. "
            "What was read is kept; run the same command to try again.",
            err=True,
        )
