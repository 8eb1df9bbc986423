"""Commands on a system in memory, with an inline worker."""

import sys
import time
from threading import Event

import attrs

from connectors.entrypoints.cli import main, watch
from connectors.entrypoints.cli.system import System
from tests.support.builders import TENANT
from tests.support.world import World, item


class MemoryQueueWorker:
    """A worker that runs the tasks of the queue in memory until it is stopped."""

    def __init__(self, connectors, *, error=None):
        self._connectors = connectors
        self._error = error
        self._stopped = Event()

    def run(self):
        if self._error is not None:
            raise self._error
        while not self._stopped.is_set():
            self._connectors.run_pending()
            time.sleep(0.001)

    def stop(self):
        self._stopped.set()


class IdleWorker(MemoryQueueWorker):
    """A worker that runs no tasks."""

    def run(self):
        self._stopped.wait(10)


@attrs.frozen
class Finished:
    code: int
    out: str
    err: str


class Commands:
    """Runs commands on a world, as a shell would run them."""

    def __init__(self, monkeypatch, capsys, *, items=5, world=None):
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.world = world or World()
        self.world.vendor.add_items(*(item(number) for number in range(items)))
        self.connection = self.world.connect()
        self.open_worker = lambda: MemoryQueueWorker(self.world.connectors)
        monkeypatch.setattr(watch, "POLL_INTERVAL", 0.001)
        monkeypatch.setenv("NO_COLOR", "1")

    def settle(self):
        """Run all queued tasks that are due."""
        self.world.connectors.run_pending()

    def run(self, *arguments):
        """Exit code and output of `connectors` with these arguments."""
        system = System(self.world.connectors, self.open_worker)
        self._monkeypatch.setattr(sys, "argv", ["connectors", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            main(system)
            code = 0
        except SystemExit as end:
            code = end.code or 0
        captured = self._capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    def mine(self, *arguments):
        """The same, for the tenant."""
        return self.run(*arguments, "--tenant", TENANT)

    def jobs(self, **changes):
        """The tenant's jobs with these attributes, newest first."""
        return [job for job in self.world.jobs() if all(getattr(job, name) == x for name, x in changes.items())]
