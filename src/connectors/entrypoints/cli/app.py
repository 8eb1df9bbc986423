"""The root command. Subcommands are imported when they are called, so that `--help` is quick."""

import sys
from collections.abc import Mapping
from importlib import import_module

import click

from connectors.domain.model.errors import ConnectorsError

COMMANDS: Mapping[str, str] = {
    "demo": "Connect, receive and read in one go, against the built-in sandbox.",
    "serve": "Run the API and a background worker.",
    "worker": "Run the background work: syncs, schedules, subscriptions.",
    "db": "Look after the database.",
    "settings": "Show every setting, its value and where it came from.",
    "providers": "Show the providers and how to set them up.",
    "connect": "Start connecting an account.",
    "connections": "List, show, schedule, refresh and end connections.",
    "sync": "Read now what is new.",
    "backfill": "Read history, with a progress bar.",
    "jobs": "List, show and cancel reads of the providers.",
    "signals": "List, show and follow signals.",
    "deliveries": "List, show and replay webhook deliveries.",
    "vault": "Make keys for the vault.",
    "webhooks": "Renew subscriptions; secrets of single connections; why a signature fails.",
    "openapi": "Print the OpenAPI document.",
    "sandbox": "Play the providers on loopback.",
}
"""Command → its line in the help. Each lives in the module of its name, as `command`."""

MODULES: Mapping[str, str] = {"settings": "settings_command"}


class LazyGroup(click.Group):
    """A group that knows its commands' names, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the journey."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"connectors.entrypoints.cli.{MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="poblysh-connectors")
def cli() -> None:
    """Poblysh Connectors: connect accounts, receive webhooks, read Signals.

    Settings come from POBLYSH_… environment variables and a .env file; see `connectors settings`.
    """


def main(system: object = None) -> None:
    """Run the command line. Errors of ours end in one line that says what to do, and exit code 1.

    Args:
        system: a `System` (`system.py`) to work on, instead of the one that the settings name.
    """
    try:
        cli(obj=system)
    except ConnectorsError as error:
        click.echo(f"Error: {error.message}", err=True)
        for detail in error.details:
            click.echo("  " + " ".join(str(part) for part in detail.values()), err=True)
        if error.next_step:
            click.echo(error.next_step, err=True)
        sys.exit(1)
    except BrokenPipeError:
        # `connectors signals list | head`: the reader has seen enough.
        sys.stderr.close()
        sys.exit(0)
