"""`connectors worker`, except that dead workers are noticed within seconds and failed reads are soon tried again.

Tests kill many workers, let many reads fail, and wait for each.

Run as `python -m tests.support.quick_worker`, from the project's folder.
"""

from datetime import timedelta

import attrs

from connectors.adapters.procrastinate.worker import WorkerOptions
from connectors.domain.providers import registry
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.production import prepare
from connectors.entrypoints.worker_process import run_worker

BACKOFF_BASE = timedelta(seconds=0.1)


def with_short_backoff(provider):
    """The provider, whose failed reads are soon tried again."""
    return attrs.evolve(provider, limits=attrs.evolve(provider.limits, backoff_base=BACKOFF_BASE))


def main():
    registry.BUILT_IN = tuple(with_short_backoff(provider) for provider in registry.BUILT_IN)
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
