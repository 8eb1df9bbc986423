"""Running `backfill` and `sync`: queue, lend a hand, watch, and say how it ended."""

import time
from collections.abc import Callable, Sequence
from uuid import UUID

import click

from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import TenantId
from connectors.entrypoints.cli.inline_worker import INTERRUPTED, run_inline_worker
from connectors.entrypoints.cli.output import Output, show_one, show_rows
from connectors.entrypoints.cli.progress import open_display, state_of
from connectors.entrypoints.cli.read_targets import ReadRequest, ReadTarget, make_targets, refresh
from connectors.entrypoints.cli.system import System
from connectors.entrypoints.library import Connectors

LOOK_EVERY = 0.5
"""Seconds between two looks at the jobs."""


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
    """Queue what is wanted and see it through; its result on standard output.

    Args:
        system: where.
        connections: what is to be read.
        request: how.
        output: how the result is printed.
        again: the command that goes on with it after an interruption.
        is_one: the caller has named one connection: its job is printed as one thing.
        is_detached: only queue it.

    Raises:
        click.exceptions.Exit: 1 if any of it was not read, 130 after Ctrl-C.
    """
    targets = make_targets(system.connectors, connections, request)
    resumed = sum(target.is_resumed for target in targets)
    if resumed:
        jobs = "1 backfill that has" if resumed == 1 else f"{resumed} backfills that have"
        click.echo(f"Going on with {jobs} not ended yet.", err=True)
    if is_detached:
        _print(targets, output, system.connectors, is_one=is_one)
        _say_detached(targets)
        return
    try:
        watch(system, targets)
    except KeyboardInterrupt:
        click.echo(f"Stopped. What is unfinished stays queued; `{again}` goes on with it.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _print(targets, output, system.connectors, is_one=is_one)
    if not all(target.is_fulfilled for target in targets):
        _say_next_steps(targets)
        raise click.exceptions.Exit(1)


def name_again(command: str, tenant_id: TenantId | None, provider: str | None, connection_id: UUID | None) -> str:
    """The command line that chooses the same connections."""
    options = {"tenant": tenant_id, "provider": provider, "connection": connection_id}
    return " ".join(["connectors", command, *(f"--{name} {value}" for name, value in options.items() if value)])


def watch(system: System, targets: Sequence[ReadTarget], *, pause: Callable[[float], None] = time.sleep) -> None:
    """Work, and show how it goes, until all of it is over.

    Raises:
        InfrastructureError: the database or the worker failed; what is queued stays queued.
        KeyboardInterrupt: the user has had enough. The worker has ended by then.
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
            pause(LOOK_EVERY)


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
        "pages": lambda one: one["pages"],
        "items": lambda one: one["items"],
        "signals": lambda one: one["signals"],
        "error": lambda one: one["error"],
    }
    show_rows([target.summary() for target in targets], output, columns)


def _say_detached(targets: Sequence[ReadTarget]) -> None:
    refused = [target for target in targets if target.job is None]
    if len(refused) < len(targets):
        click.echo("Workers do the rest: `connectors jobs list` shows how far they are.", err=True)
    if refused:
        _say_next_steps(refused)
        raise click.exceptions.Exit(1)


def _say_next_steps(targets: Sequence[ReadTarget]) -> None:
    for target in targets:
        if target.is_fulfilled:
            continue
        connection = target.connection
        how = "refused" if target.job is None else target.job.status
        click.echo(f"{connection.provider} {connection.account.name}: {how}. {target.error or ''}".rstrip(), err=True)
        click.echo(
            f"  `connectors connections show {connection.id} -t {connection.tenant_id}` says how the connection is. "
            "What was read stays; the same command reads it again.",
            err=True,
        )
