"""`connectors worker`, except that the dead are noticed within seconds: tests kill many and wait for each.

Run as `python -m tests.support.quick_worker`, from the project's folder.
"""

from datetime import timedelta

from connectors.adapters.procrastinate.worker import WorkerOptions
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.production import prepare
from connectors.entrypoints.worker_process import run_worker


def main():
    settings = load_settings()
    database = prepare(settings)
    options = WorkerOptions(
        concurrency=settings.service.worker_concurrency,
        tick_seconds=1,
        heartbeat=timedelta(seconds=0.25),
        dead_after=timedelta(seconds=2),
        rescue_every=timedelta(seconds=0.5),
    )
    try:
        run_worker(settings, database, options=options)
    finally:
        database.stop()


if __name__ == "__main__":
    main()
