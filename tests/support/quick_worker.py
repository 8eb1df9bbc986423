"""`connectors worker`, except that dead workers are noticed within seconds and failed reads are soon tried again.

Tests kill many workers, let many reads fail, and wait for each.

Run as `python -m tests.support.quick_worker`, from the project's folder.
"""

from datetime import timedelta

from connectors.adapters.procrastinate.worker import WorkerOptions
from connectors.domain.flows.reading import failures
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.production import prepare
from connectors.entrypoints.worker_process import run_worker


def main():
    failures.SHORTEST_OUTAGE = timedelta(seconds=0.1)
    settings = load_settings()
    database = prepare(settings)
    options = WorkerOptions(
        concurrency=settings.service.worker_concurrency,
        tick_seconds=1,
        poll=timedelta(seconds=0.05),
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
