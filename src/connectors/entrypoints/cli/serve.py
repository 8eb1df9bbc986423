"""`connectors serve`."""

import click

from connectors.adapters.system.logs import configure_logs
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.production import prepare


@click.command(name="serve")
def command() -> None:
    """Run the API until SIGTERM or Ctrl-C.

    Without POBLYSH_DATABASE_URL it runs its own PostgreSQL in the data folder.
    """
    from connectors.entrypoints.server import ConnectorsServer  # noqa: PLC0415 - gunicorn does not exist on Windows

    settings = load_settings()
    _ = settings.operators  # no operator token, no service: say so before anything is started
    database = prepare(settings)

    def configure_worker() -> None:
        configure_logs(settings.service.log_level, settings.service.log_format)

    click.echo(f"Connectors listens on http://{settings.service.bind} (API explorer: /docs)", err=True)
    try:
        ConnectorsServer(settings, database, configure_worker).run()
    finally:
        database.stop()
