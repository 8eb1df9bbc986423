"""`connectors demo`."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from connectors.adapters.system.logs import configure_logs
from connectors.entrypoints.cli.output import print_json, print_table

TABLE_ROWS = 50
"""Signals in the table; the others are only counted."""


@click.command(name="demo")
@click.option("--once", is_flag=True, help="Exit when it is done, instead of keeping the API running.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, or one JSON object for programs.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The API's port; a free one if left out.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its database is stored; `demo` in POBLYSH_DATA_DIR if left out.",
)
def command(output: str, port: int, data_dir: Path | None, *, once: bool) -> None:
    """Show the whole journey: connect, receive and read, with a database of its own and the built-in sandbox.

    It needs no account, no credentials and no network. The API and its explorer keep running until Ctrl-C.
    """
    # Imported here: these modules import the whole service.
    from connectors.entrypoints.demo.run import Result, play  # noqa: PLC0415
    from connectors.entrypoints.demo.scenes import SCENES  # noqa: PLC0415
    from connectors.entrypoints.demo.stage import open_stage  # noqa: PLC0415
    from connectors.entrypoints.production import load  # noqa: PLC0415

    configure_logs("error")
    folder = data_dir or load().service.data_dir / "demo"
    as_json = output == "json"

    def show(result: Result) -> None:
        if as_json:
            print_json(result.summary())
            return
        for connection in reversed(result.connections):  # the oldest first, as it happened
            click.echo(f"Connected {connection['provider']} as {connection['account']['name']}.")
        counts = result.deliveries
        click.echo(
            f"Webhooks: {counts['accepted']} accepted, {counts['duplicate']} recognised as duplicates, "
            f"{counts['rejected']} rejected for a bad signature."
        )
        click.echo(f"GET /signals gave {len(result.signals)} signals:\n")
        print_table(
            ["occurred", "provider", "kind", "title", "actor"], [_row(one) for one in result.signals[:TABLE_ROWS]]
        )
        if len(result.signals) > TABLE_ROWS:
            click.echo(f"… and {len(result.signals) - TABLE_ROWS} more.")

    if not as_json:
        click.echo("Starting a database, the API and a sandbox that simulates the providers …", err=True)
    with open_stage(SCENES, folder, port) as stage:
        result = play(stage, SCENES)
        show(result)
        if once:
            return
        click.echo(f"\nAPI explorer:   {stage.api_url}/docs", err=True)
        click.echo(f"Operator token: {stage.operator_token}   (under Authorize)", err=True)
        click.echo(f"X-Tenant-Id:    {result.tenant_id}", err=True)
        click.echo(f"Sandbox:        {stage.sandbox.url}/_sandbox", err=True)
        click.echo("Ctrl-C stops it.", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)


def _row(signal: Mapping[str, Any]) -> list[str | None]:
    # Everything happens today, so the time of day is enough: in RFC 3339 it begins at the twelfth character.
    time_of_day = signal["occurred_at"][11:19] + "Z"
    return [time_of_day, signal["provider"], signal["kind"], signal["title"], (signal["actor"] or {}).get("name")]
