"""`connectors serve`."""

import os
import socket
from contextlib import nullcontext

import click

from connectors.adapters.system.logs import configure_logs
from connectors.adapters.system.values import Bind
from connectors.domain.model.errors import SettingsError
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.production import prepare


@click.command(name="serve")
@click.option(
    "--api-only", is_flag=True, help="Start no background worker: workers run elsewhere (`connectors worker`)."
)
def command(*, api_only: bool) -> None:
    """Run the API and a background worker until SIGTERM or Ctrl-C.

    Without POBLYSH_DATABASE_URL it runs its own PostgreSQL in the data folder.
    """
    from connectors.adapters.prometheus.multiprocess import share_between_processes  # noqa: PLC0415 - as below
    from connectors.entrypoints.worker_process import supervised_worker  # noqa: PLC0415 - as below

    settings = load_settings()
    _ = settings.operators  # raises without an operator token, before anything is started
    _check_free(settings.service.bind)
    database = prepare(settings)

    def configure_worker() -> None:
        configure_logs(settings.service.log_level, settings.service.log_format)

    click.echo(f"Connectors listens on http://{settings.service.bind} (API explorer: /docs)", err=True)
    try:
        # All processes of this machine write metrics into one folder, which has to exist before any of them starts.
        with share_between_processes() as metrics_directory:
            # gunicorn does not exist on Windows.
            from connectors.entrypoints.server import ConnectorsServer  # noqa: PLC0415

            with nullcontext() if api_only else supervised_worker():
                ConnectorsServer(settings, database, configure_worker, metrics_directory).run()
    finally:
        database.stop()


def _check_free(bind: Bind) -> None:
    """Check the address before anything is started: gunicorn would retry for seconds.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
        raise SettingsError(
            f"POBLYSH_BIND is {bind} ({reason.lower()}), expected an address of this machine and a port that is free"
        ) from None
