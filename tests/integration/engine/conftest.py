"""A rig for every test: GitHub's sandbox, a database, and worker processes that can be killed."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.engine import open_rig


@pytest.fixture
def folder():
    """A folder with a short path, for this test alone."""
    path = Path(tempfile.mkdtemp(prefix="poblysh-engine-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def rig(folder, postgres_url):
    """The rig on the database that all tests share."""
    with open_rig(folder, postgres_url, POBLYSH_BACKFILL_DAYS="1", POBLYSH_LOG_LEVEL="warning") as rig:
        yield rig
