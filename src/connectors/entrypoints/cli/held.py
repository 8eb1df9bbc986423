"""`connectors held`."""

from typing import Any
from uuid import UUID

import attrs
import click

from connectors.domain.flows.endings.held import Held
from connectors.domain.model.ids import TenantId
from connectors.entrypoints.cli.output import Output, output_option, show_one, show_rows
from connectors.entrypoints.cli.system import any_tenant_option, open_connectors, tenant_option
from connectors.entrypoints.cli.time_options import show_instant


def show_held(held: Held) -> dict[str, Any]:
    """It as programs get it: what the flow says, and its state in one word."""
    shown = attrs.asdict(held)
    return {"id": shown.pop("id"), "state": "left" if shown.pop("is_left") else "ending", **shown}


COLUMNS = {
    "id": lambda one: one["id"],
    "state": lambda one: one["state"],
    "provider": lambda one: one["provider"],
    "kind": lambda one: one["kind"],
    "target": lambda one: one["target"],
    "since": lambda one: show_instant(one["since"]),
    "failures": lambda one: one["failures"],
    "next try": lambda one: "" if one["next_try_at"] is None else show_instant(one["next_try_at"]),
    "reason": lambda one: one["reason"],
    "remove it at": lambda one: one["remove_it_at"] if one["state"] == "left" else "",
    "tenant": lambda one: one["tenant_id"],
}


@click.group(name="held")
def command() -> None:
    """List what has to go at the providers and what may be left there, try again, give up."""


@command.command(name="list")
@any_tenant_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at the most.")
@output_option
def list_command(tenant_id: TenantId | None, limit: int, output: Output) -> None:
    """List tokens and webhooks that are being ended or could not be ended in the last seven days, oldest first.

    Workers try to end them for POBLYSH_ENDING_HOURS. What is left then has to be removed by a person.
    """
    with open_connectors() as connectors:
        found = connectors.held.list(tenant_id, limit=limit)
    show_rows([show_held(one) for one in found], output, COLUMNS, empty="Nothing is being ended, and nothing is left.")
    if output is Output.TABLE and len(found) == limit:
        click.echo(f"There may be more than {limit}: see --limit.", err=True)


@command.command(name="retry")
@tenant_option
@click.argument("held_id", type=click.UUID)
@output_option
@click.pass_context
def retry_command(context: click.Context, tenant_id: TenantId, held_id: UUID, output: Output) -> None:
    """Try now to end it, instead of at its next time. Exit code 1 if it is still there."""
    with open_connectors() as connectors:
        held = connectors.held.retry(tenant_id, held_id)
    if held is None:
        click.echo("Ended.", err=True)
        return
    show_one(show_held(held), output)
    context.exit(1)


@command.command(name="dismiss")
@tenant_option
@click.argument("held_id", type=click.UUID)
@click.confirmation_option(prompt="Destroy what could end it? It then has to be removed by hand.")
@output_option
def dismiss_command(tenant_id: TenantId, held_id: UUID, output: Output) -> None:
    """Give it up before its time: its secret is destroyed, and it counts as left at the provider."""
    with open_connectors() as connectors:
        held = connectors.held.dismiss(tenant_id, held_id)
    if held is None:
        click.echo("It had ended.", err=True)
        return
    show_one(show_held(held), output)
