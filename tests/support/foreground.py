"""Commands on a system in memory, with a worker that lends a hand."""

import sys
import time
from threading import Event

import attrs

from connectors.entrypoints.cli import main
from connectors.entrypoints.cli import watch as following
from connectors.entrypoints.cli.system import System
from tests.support.builders import TENANT
from tests.support.world import World, item


class MemoryHand:
    """A worker that works off the queue in memory until it is told to stop."""

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


class IdleHand(MemoryHand):
    """A worker that finds nothing to do."""

    def run(self):
        self._stopped.wait(10)


@attrs.frozen
class Finished:
    code: int
    out: str
    err: str


class Commands:
    """Runs commands on a world, as a shell would."""

    def __init__(self, monkeypatch, capsys, *, items=5):
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.world = World()
        self.world.vendor.add_items(*(item(number) for number in range(items)))
        self.connection = self.world.connect()
        self.open_worker = lambda: MemoryHand(self.world.connectors)
        monkeypatch.setattr(following, "LOOK_EVERY", 0.001)
        monkeypatch.setenv("NO_COLOR", "1")

    def settle(self):
        """Let everything that is queued be done."""
        self.world.connectors.run_pending()

    def run(self, *arguments):
        """What `connectors` with these arguments leaves."""
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
        """The tenant's jobs, the newest first, that have these attributes."""
        return [job for job in self.world.jobs() if all(getattr(job, name) == x for name, x in changes.items())]
