"""Running `backfill` and `sync`: queue, lend a hand, watch, and say how it ended."""

import time
from collections.abc import Callable, Sequence
from uuid import UUID

import click

from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import TenantId
from connectors.entrypoints.cli.lending import INTERRUPTED, lend_a_hand
from connectors.entrypoints.cli.output import Output, show_one, show_rows
from connectors.entrypoints.cli.progress import open_display, state_of
from connectors.entrypoints.cli.system import System
from connectors.entrypoints.cli.wishes import Order, Wish, make_wishes, refresh
from connectors.entrypoints.library import Connectors

LOOK_EVERY = 0.5
"""Seconds between two looks at the jobs."""


def read_now(
    system: System,
    connections: Sequence[Connection],
    order: Order,
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
        order: how.
        output: how the result is printed.
        again: the command that goes on with it after an interruption.
        is_one: the caller has named one connection: its job is printed as one thing.
        is_detached: only queue it.

    Raises:
        click.exceptions.Exit: 1 if any of it was not read, 130 after Ctrl-C.
    """
    wishes = make_wishes(system.connectors, connections, order)
    resumed = sum(wish.is_resumed for wish in wishes)
    if resumed:
        jobs = "1 backfill that has" if resumed == 1 else f"{resumed} backfills that have"
        click.echo(f"Going on with {jobs} not ended yet.", err=True)
    if is_detached:
        _print(wishes, output, system.connectors, is_one=is_one)
        _say_detached(wishes)
        return
    try:
        follow(system, wishes)
    except KeyboardInterrupt:
        click.echo(f"Stopped. What is unfinished stays queued; `{again}` goes on with it.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _print(wishes, output, system.connectors, is_one=is_one)
    if not all(wish.is_fulfilled for wish in wishes):
        _say_next_steps(wishes)
        raise click.exceptions.Exit(1)


def name_again(command: str, tenant_id: TenantId | None, provider: str | None, connection_id: UUID | None) -> str:
    """The command line that chooses the same connections."""
    options = {"tenant": tenant_id, "provider": provider, "connection": connection_id}
    return " ".join(["connectors", command, *(f"--{name} {value}" for name, value in options.items() if value)])


def follow(system: System, wishes: Sequence[Wish], *, pause: Callable[[float], None] = time.sleep) -> None:
    """Work, and show how it goes, until all of it is over.

    Raises:
        InfrastructureError: the database or the worker failed; what is queued stays queued.
        KeyboardInterrupt: the user has had enough. The worker has ended by then.
    """
    if all(wish.is_over for wish in wishes):
        return
    with lend_a_hand(system) as hand, open_display() as display:
        while True:
            refresh(system.connectors, wishes)
            display.show(wishes, system.connectors.clock.now())
            if all(wish.is_over for wish in wishes):
                return
            hand.check()
            pause(LOOK_EVERY)


def _print(wishes: Sequence[Wish], output: Output, connectors: Connectors, *, is_one: bool) -> None:
    if is_one:
        (wish,) = wishes
        show_one(wish.summary(), output)
        return
    if output is not Output.TABLE:
        show_rows([wish.summary() for wish in wishes], output, {})
        return
    now = connectors.clock.now()
    names = {wish.connection.id: wish.connection.account.name for wish in wishes}
    states = {wish.connection.id: state_of(wish, now) for wish in wishes}
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
    show_rows([wish.summary() for wish in wishes], output, columns)


def _say_detached(wishes: Sequence[Wish]) -> None:
    refused = [wish for wish in wishes if wish.job is None]
    if len(refused) < len(wishes):
        click.echo("Workers do the rest: `connectors jobs list` shows how far they are.", err=True)
    if refused:
        _say_next_steps(refused)
        raise click.exceptions.Exit(1)


def _say_next_steps(wishes: Sequence[Wish]) -> None:
    for wish in wishes:
        if wish.is_fulfilled:
            continue
        connection = wish.connection
        how = "refused" if wish.job is None else wish.job.status
        click.echo(f"{connection.provider} {connection.account.name}: {how}. {wish.trouble or ''}".rstrip(), err=True)
        click.echo(
            f"  `connectors connections show {connection.id} -t {connection.tenant_id}` says how the connection is. "
            "What was read stays; the same command reads it again.",
            err=True,
        )
