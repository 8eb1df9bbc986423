"""The background worker as a process: run in this one, or supervised beside the API."""

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

CHECK_INTERVAL = 1.0
"""Seconds between two checks whether the other process is still alive."""

RESTART_PAUSES = (1, 2, 5, 10, 30)
"""Seconds before a worker that died is restarted; the last value holds for all further deaths in a row."""

STABLE_AFTER = 60.0
"""Seconds that a worker must live before its earlier deaths stop counting."""

STOP_GRACE = 30.0
"""Seconds that a worker may take to stop: its time slice and its current page."""

_STARTING = threading.Lock()
"""Held while a process is started. Popen waits until the new process closes a pipe. A process that is forked at that
moment, as gunicorn's workers are, would hold a copy of the pipe and keep Popen waiting for ever."""

log = logging.getLogger(__name__)


def run_worker(
    settings: Settings,
    database: Database,
    *,
    parent_pid: int | None = None,
    options: "WorkerOptions | None" = None,
) -> None:
    """Run a worker until SIGTERM, Ctrl-C, or the end of the parent.

    Args:
        settings: the operator's.
        database: whose queue to work on.
        parent_pid: stop when this process is gone; None to run without a parent.
        options: see `open_worker`.
    """
    # Imported here: sharing metrics between processes has to be set up before this module is loaded.
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
    """The worker's own `/metrics` if there is an address for it; beside an API, the API shows its metrics."""
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
    # A killed parent cannot tell us, but the system then gives us another one.
    while os.getppid() == parent_pid:
        time.sleep(CHECK_INTERVAL)
    stop()


@contextmanager
def supervised_worker() -> Iterator[None]:
    """A worker process beside this one: restarted when it dies, stopped with the block."""
    os.register_at_fork(before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_STARTING.release)
    supervisor = _Supervisor()
    thread = threading.Thread(target=supervisor.run, name="worker-supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join(STOP_GRACE + 5)


class _Supervisor:
    """Keeps one `connectors worker` running."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._pid = os.getpid()

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        deaths = 0
        while not self._ending.is_set():
            process = self._start()
            lived = self._wait(process)
            if self._ending.is_set():
                _end(process)
                return
            deaths = 1 if lived > STABLE_AFTER else deaths + 1
            pause = RESTART_PAUSES[min(deaths, len(RESTART_PAUSES)) - 1]
            log.error("worker_died", extra={"exit_code": process.returncode, "restart_in_seconds": pause})
            self._ending.wait(pause)

    def _start(self) -> "subprocess.Popen[bytes]":
        # A process of its own: a long read must not slow the API down, and a restart of the API must not cut it off.
        command = [sys.executable, "-m", "connectors", "worker", "--parent-pid", str(self._pid)]
        with _STARTING:
            # Outside our process group, so that Ctrl-C reaches it once, through us.
            return subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own command

    def _wait(self, process: "subprocess.Popen[bytes]") -> float:
        lived = 0.0
        while process.poll() is None and not self._ending.wait(CHECK_INTERVAL):
            lived += CHECK_INTERVAL
        return lived


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
