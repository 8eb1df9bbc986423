"""A rig for every test: GitHub's sandbox, a database, and worker processes that can be killed.

And, where months have to pass, a database and a clock of the test's own.
"""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.entrypoints import production
from connectors_sandbox.clock import SandboxClock
from tests.support.engine import open_rig
from tests.support.fleet import PromptQueue


@pytest.fixture
def folder():
    """A folder with a short path, for this test alone."""
    path = Path(tempfile.mkdtemp(prefix="poblysh-engine-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def rig(folder, own_database):
    """The rig on a database of its own: its workers take whatever is queued there."""
    with open_rig(folder, own_database, POBLYSH_BACKFILL_DAYS="1", POBLYSH_LOG_LEVEL="warning") as rig:
        yield rig


@pytest.fixture
def clock(monkeypatch):
    """The vendors' clock, which stands still until it is advanced. The queue keeps up with it."""
    monkeypatch.setattr(production, "ProcrastinateJobQueue", PromptQueue)
    return SandboxClock(datetime(2026, 3, 2, 9, tzinfo=UTC))
