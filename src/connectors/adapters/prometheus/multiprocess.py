"""Counters of several processes on one machine, shown by any of them.

`connectors serve` is several processes, and a scrape reaches one of them. prometheus_client can keep each process's
counters in files of one directory and add them up at the scrape. An environment variable decides this when the library
is imported. This module therefore imports it late, and is the only one that sets a variable. Only prometheus_client
reads it; our settings stay with `adapters.system.settings`.
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
"""Where Linux keeps files in memory: counters change thousands of times a second and end with the processes."""


@contextmanager
def share_between_processes(parent: Path | None = None) -> Iterator[Path]:
    """Make every process that starts within the block, forked or spawned, keep its counters in one directory.

    Enter it in the process that starts the others, before anything imports prometheus_client, and leave it when they
    have ended. It yields the directory, and removes it at the end.

    Args:
        parent: where to create the directory; None for memory if the system offers it, otherwise the folder for
            temporary files.

    Raises:
        RuntimeError: prometheus_client is already imported, and would count for this process alone.
        OSError: the directory cannot be created.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError("prometheus_client was imported before its counters could be shared")
    if parent is None and os.access(MEMORY, os.W_OK | os.X_OK):
        parent = MEMORY
    directory = Path(tempfile.mkdtemp(prefix="poblysh-metrics-", dir=parent))
    owner, before = os.getpid(), os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(directory)
    try:
        yield directory
    finally:
        if os.getpid() == owner:  # a forked child also leaves the block when it ends
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before
            shutil.rmtree(directory, ignore_errors=True)


def forget_process(directory: Path, process_id: int) -> None:
    """Remove an ended process from the metrics that count only live processes. Its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see above

    mark_process_dead(process_id, path=str(directory))  # type: ignore[no-untyped-call]  # it has no annotations
