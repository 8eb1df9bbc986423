"""The background worker as a process: run here, or kept running beside the API."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING

from connectors.adapters.system.settings import Settings
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import Database, open_worker, production_container

if TYPE_CHECKING:
    from connectors.adapters.procrastinate.worker import WorkerOptions

PARENT_LOOK = 1.0
"""Seconds between two looks whether the process that we work for is still there."""

RESTART_PAUSES = (1, 2, 5, 10, 30)
"""Seconds before a worker that died is started again, the last ones for all further deaths in a row."""

STEADY = 60.0
"""Seconds that a worker has to live for its earlier deaths to be forgotten."""

STOP_GRACE = 30.0
"""Seconds that it may take to end: a turn and its present page."""

_STARTING = threading.Lock()
"""Held while a process is started. Popen waits for the end of a pipe that the new process closes; a copy of it in a
process that is forked at that very moment (gunicorn's workers are) would keep it waiting for ever."""

log = logging.getLogger(__name__)


def run_worker(
    settings: Settings,
    database: Database,
    *,
    parent_pid: int | None = None,
    options: "WorkerOptions | None" = None,
) -> None:
    """Work until SIGTERM, Ctrl-C, or the end of the parent.

    Args:
        settings: how.
        database: on whose queue.
        parent_pid: the process for which we work; None for nobody.
        options: see `open_worker`.
    """
    # Imported late: whoever shares its figures between processes has to say so before this is loaded.
    from connectors.adapters.prometheus.telemetry import PrometheusTelemetry  # noqa: PLC0415

    container = production_container(database, settings, telemetry=PrometheusTelemetry())
    with (
        Connectors.assemble(container) as connectors,
        _exporter(settings, connectors, parent_pid),
    ):
        worker = open_worker(database, settings, connectors.tasks, options)

        def stop(_number: int | None = None, _frame: FrameType | None = None) -> None:
            connectors.tasks.is_stopping.set()
            worker.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if parent_pid is not None:
            threading.Thread(target=_watch, args=(parent_pid, stop), name="parent-watch", daemon=True).start()
        log.info("worker_started", extra={"concurrency": settings.service.worker_concurrency})
        worker.run()
        log.info("worker_stopped", extra={"tasks": worker.tasks_done})


@contextmanager
def _exporter(settings: Settings, connectors: Connectors, parent_pid: int | None) -> Iterator[None]:
    """The worker's own `/metrics`, where one is wanted; beside an API its figures are in the API's."""
    bind = settings.service.metrics_bind
    if bind is None or parent_pid is not None:
        yield
        return
    from connectors.adapters.prometheus.exposition import create_registry, start_exporter  # noqa: PLC0415 - as above

    registry = create_registry(
        connectors.telemetry,
        connectors.statistics.collect,
        version=version("poblysh-connectors"),
        providers=tuple(connectors.apps),
    )
    stop = start_exporter(bind, registry)
    try:
        yield
    finally:
        stop()


def _watch(parent_pid: int, stop: Callable[[], None]) -> None:
    # Killed, it can tell nobody; but then we have another parent.
    while os.getppid() == parent_pid:
        time.sleep(PARENT_LOOK)
    stop()


@contextmanager
def worker_beside() -> Iterator[None]:
    """A worker process beside this one, started again when it dies, and ended with the block."""
    os.register_at_fork(before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_STARTING.release)
    keeper = _Keeper()
    thread = threading.Thread(target=keeper.keep, name="worker-keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.stop()
        thread.join(STOP_GRACE + 5)


class _Keeper:
    """Keeps one `connectors worker` alive."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._pid = os.getpid()

    def stop(self) -> None:
        self._ending.set()

    def keep(self) -> None:
        deaths = 0
        while not self._ending.is_set():
            process = self._start()
            lived = self._wait(process)
            if self._ending.is_set():
                _end(process)
                return
            deaths = 1 if lived > STEADY else deaths + 1
            pause = RESTART_PAUSES[min(deaths, len(RESTART_PAUSES)) - 1]
            log.error("worker_died", extra={"exit_code": process.returncode, "restart_in_seconds": pause})
            self._ending.wait(pause)

    def _start(self) -> "subprocess.Popen[bytes]":
        # A process of its own: a long read must not take the API's time, nor the API's end the read.
        command = [sys.executable, "-m", "connectors", "worker", "--parent-pid", str(self._pid)]
        with _STARTING:
            # Out of our process group: Ctrl-C is for us to pass on, once.
            return subprocess.Popen(command, start_new_session=True)  # noqa: S603 - ourselves

    def _wait(self, process: "subprocess.Popen[bytes]") -> float:
        lived = 0.0
        while process.poll() is None and not self._ending.wait(PARENT_LOOK):
            lived += PARENT_LOOK
        return lived


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
