"""A worker in a thread of this process, for as long as a command waits."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs
import click

from connectors.domain.model.errors import InfrastructureError
from connectors.entrypoints.cli.system import System, Worker

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C has stopped: 128 + SIGINT."""

STOP_RETRY = 1.0
"""Seconds between two calls of a worker's `stop`: a worker that is starting may miss the first one."""


@attrs.define
class InlineWorker:
    """The state of the worker in the other thread."""

    error: BaseException | None = None

    def check(self) -> None:
        """Return if it has not crashed.

        Raises:
            InfrastructureError: it has crashed.
        """
        if self.error is not None:
            raise InfrastructureError(
                f"The worker has crashed: {type(self.error).__name__}.",
                next_step="Queued jobs stay queued; run the command again, or `connectors worker`.",
            ) from self.error


@contextmanager
def run_inline_worker(system: System) -> Iterator[InlineWorker]:
    """A worker in a thread of this process. It stops with the block, after its current pages.

    Like every worker, it takes any task that is due, and another worker may run the jobs that this command waits for.
    """
    worker, inline_worker = system.open_worker(), InlineWorker()
    stopping = system.connectors.tasks.is_stopping
    stopping.clear()

    def work() -> None:
        try:
            worker.run()
        except BaseException as error:
            logging.getLogger(__name__).exception("worker_crashed")
            inline_worker.error = error

    thread = threading.Thread(target=work, name="worker", daemon=True)
    with _fewer_logs():
        thread.start()
        try:
            yield inline_worker
        except KeyboardInterrupt:
            click.echo("Stopping after the current page. (Ctrl-C again: at once.)", err=True)
            raise
        finally:
            stopping.set()
            _end(worker, thread)


def _end(worker: Worker, thread: threading.Thread) -> None:
    try:
        while thread.is_alive():
            with suppress(RuntimeError):  # its event loop is already closed
                worker.stop()
            thread.join(STOP_RETRY)
    except KeyboardInterrupt:
        # This is like kill -9, which the queue has to survive: another worker reads the page again.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


@contextmanager
def _fewer_logs() -> Iterator[None]:
    """Hide log lines of level `info`: the display shows what they say. Level `debug` shows all of them."""
    root = logging.getLogger()
    level = root.level
    if level == logging.INFO:
        root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(level)
