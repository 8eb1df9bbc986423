"""The root command. Subcommands are imported when they are called, so that `--help` is fast."""

import sys
from collections.abc import Mapping
from importlib import import_module

import click

from connectors.domain.model.errors import ConnectorsError

COMMANDS: Mapping[str, str] = {
    "demo": "Show the whole journey: connect, receive and read, against the built-in sandbox.",
    "serve": "Run the API and a background worker.",
    "worker": "Run background work: syncs, schedules, subscriptions.",
    "db": "Check and upgrade the database.",
    "settings": "Show every setting, its value and its source.",
    "providers": "Show the providers and how to set them up.",
    "connect": "Start connecting an account.",
    "connections": "List, show, schedule, refresh and end connections.",
    "held": "List what is being ended at the providers or left there, try again, give up.",
    "sync": "Read new events now.",
    "backfill": "Read history, with a progress bar.",
    "jobs": "List, show and cancel reads of the providers.",
    "signals": "List, show and follow signals.",
    "deliveries": "List, show and replay webhook deliveries.",
    "vault": "Generate keys for the vault.",
    "webhooks": "Renew and maintain subscriptions, manage secrets, find out why a signature fails.",
    "openapi": "Print the OpenAPI document.",
    "sandbox": "Simulate the providers on loopback.",
}
"""Command → its line in the help. Each is the `command` of the module of its name."""

MODULES: Mapping[str, str] = {"settings": "settings_command"}


class LazyGroup(click.Group):
    """A group that knows the names of its commands and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order in which they are needed."""
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
    """Run the command line. An error of ours is printed on one line, with what to do about it, and the exit code is 1.

    Args:
        system: a `System` (`system.py`) to use instead of the one that the settings describe.
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
        # `connectors signals list | head`: the reader has closed the pipe.
        sys.stderr.close()
        sys.exit(0)
