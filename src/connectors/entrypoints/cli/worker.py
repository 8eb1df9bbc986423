"""`connectors worker`."""

import click

from connectors.entrypoints.cli.system import load_settings


@click.command(name="worker")
@click.option("--parent-pid", type=int, hidden=True, help="Stop when this process is gone.")
def command(parent_pid: int | None) -> None:
    """Run background work until SIGTERM or Ctrl-C: syncs, schedules, subscriptions, tokens.

    Any number of workers may run, on any number of machines that can connect to the database. `connectors serve` runs
    one by itself.
    """
    from connectors.entrypoints.production import prepare  # noqa: PLC0415
    from connectors.entrypoints.worker_process import run_worker  # noqa: PLC0415 - the queue takes half a second to import

    settings = load_settings()
    database = prepare(settings)
    try:
        run_worker(settings, database, parent_pid=parent_pid)
    finally:
        database.stop()
