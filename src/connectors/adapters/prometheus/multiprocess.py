"""Counts of several processes on one machine, shown by any of them.

`connectors serve` is several processes, and a scrape reaches one of them. prometheus_client can keep each process's
counts in files of one directory and add them up at the scrape. Whether it does is decided when it is imported, by an
environment variable: so this module imports it late, and is the one place that sets a variable. Nothing reads it but
prometheus_client; our settings stay with `adapters.system.settings`.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

MEMORY = Path("/dev/shm")  # noqa: S108 - a fresh directory of our own below it
"""Where Linux keeps files in memory: counts change thousands of times a second and end with the processes."""


@contextmanager
def share_between_processes(parent: Path | None = None) -> Iterator[Path]:
    """Let every process that is started within the block, forked or spawned, put its counts into one directory.

    Enter it in the process that starts the others, before anything imports prometheus_client, and leave it when they
    have ended: that removes the directory, which it gives.

    Args:
        parent: where to make the directory; None for memory where the system offers it, else the folder for temporary
            files.

    Raises:
        RuntimeError: prometheus_client is imported already, and would count for this process alone.
        OSError: the directory cannot be made.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError("prometheus_client has been imported before its counts were to be shared")
    if parent is None and os.access(MEMORY, os.W_OK | os.X_OK):
        parent = MEMORY
    directory = Path(tempfile.mkdtemp(prefix="poblysh-metrics-", dir=parent))
    owner, before = os.getpid(), os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(directory)
    try:
        yield directory
    finally:
        if os.getpid() == owner:  # a forked child leaves the block too, on its way to its end
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before
            shutil.rmtree(directory, ignore_errors=True)


def forget_process(directory: Path, process_id: int) -> None:
    """Take a process that has ended out of what only counts while it lives. What it has counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see above

    mark_process_dead(process_id, path=str(directory))  # type: ignore[no-untyped-call]  # it has no annotations
