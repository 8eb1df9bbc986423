"""`connectors settings`."""

import click

from connectors.entrypoints.cli.output import Output, output_option, show_rows
from connectors.entrypoints.cli.system import load_settings


@click.command(name="settings")
@click.option("--set", "only_set", is_flag=True, help="Leave out defaults.")
@output_option
def command(output: Output, *, only_set: bool) -> None:
    """Show every setting, its value (secrets masked) and its source."""
    rows = [row for row in load_settings().describe() if not only_set or row.source != "default"]
    show_rows(
        rows,
        output,
        {"name": lambda row: row.name, "value": lambda row: row.value, "source": lambda row: row.source},
        empty="Nothing is set.",
    )
