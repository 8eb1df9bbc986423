"""Lending a hand: a worker in this process, for as long as somebody watches."""

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
"""The exit code that shells give to what Ctrl-C has ended: 128 + SIGINT."""

STOP_AGAIN = 1.0
"""Seconds until a worker is told once more to stop: what it is told while it starts, it may forget."""


@attrs.define
class InlineWorker:
    """The worker that works beside the one who watches."""

    error: BaseException | None = None

    def check(self) -> None:
        """See that it is still at work.

        Raises:
            InfrastructureError: it is not.
        """
        if self.error is not None:
            raise InfrastructureError(
                f"The worker has ended: {type(self.error).__name__}.",
                next_step="What is queued stays queued; run the command again, or `connectors worker`.",
            ) from self.error


@contextmanager
def run_inline_worker(system: System) -> Iterator[InlineWorker]:
    """A worker in a thread of this process. It ends with the block, its present pages read.

    It takes whatever is due, like any worker: what is watched may just as well be done by another one.
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
            click.echo("Stopping after the page in work. (Ctrl-C again: at once.)", err=True)
            raise
        finally:
            stopping.set()
            _end(worker, thread)


def _end(worker: Worker, thread: threading.Thread) -> None:
    try:
        while thread.is_alive():
            with suppress(RuntimeError):  # its event loop has closed meanwhile
                worker.stop()
            thread.join(STOP_AGAIN)
    except KeyboardInterrupt:
        # Like kill -9, which a worker may suffer at any time: the page is read again by whoever takes over.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


@contextmanager
def _fewer_logs() -> Iterator[None]:
    """Without the worker's everyday log lines: what they tell is on the screen. With `debug`, all are shown."""
    root = logging.getLogger()
    level = root.level
    if level == logging.INFO:
        root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(level)
