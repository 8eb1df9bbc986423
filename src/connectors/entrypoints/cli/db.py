"""`connectors db`."""

import click

from connectors.adapters.postgres.migrate import current, is_current, upgrade
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.production import open_database, open_engine


@click.group(name="db")
def command() -> None:
    """Check and upgrade the database."""


@command.command(name="upgrade")
def upgrade_command() -> None:
    """Bring the tables up to date. It is safe to run this on several machines at once, and repeatedly."""
    settings = load_settings()
    url, stop = open_database(settings)
    try:
        with open_engine(settings, url) as engine:
            changed = upgrade(engine)
            click.echo(f"{'Upgraded' if changed else 'Already up to date'}: {current(engine)}")
    finally:
        stop()


@command.command(name="check")
@click.pass_context
def check_command(context: click.Context) -> None:
    """Say whether the database can be reached and its tables are up to date; exit code 1 if not."""
    settings = load_settings()
    url, stop = open_database(settings)
    try:
        with open_engine(settings, url) as engine:
            if is_current(engine):
                click.echo(f"Up to date: {current(engine)}")
            else:
                click.echo("Not up to date. Run `connectors db upgrade`.", err=True)
                context.exit(1)
    finally:
        stop()
