"""A rig for every test: GitHub's sandbox, a database, and worker processes that can be killed.

And, where months have to pass, a database and a clock of the test's own.
"""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from connectors.adapters.postgres import create_engine
from connectors.adapters.postgres.migrate import upgrade
from connectors.entrypoints import production
from connectors.entrypoints.sandbox.clock import SandboxClock
from tests.support.engine import open_rig
from tests.support.fleet import PromptQueue


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


@pytest.fixture
def own_database(postgres_url, postgres_engine):
    """The URL of a fresh database: other tests' connections come round, too."""
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE own"))
    url = postgres_engine.url.set(drivername="postgresql", database="own").render_as_string(hide_password=False)
    engine = create_engine(url)
    upgrade(engine)
    engine.dispose()
    yield url
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE own WITH (FORCE)"))


@pytest.fixture
def clock(monkeypatch):
    """The vendors' clock, which stands still until it is advanced. The queue keeps up with it."""
    monkeypatch.setattr(production, "ProcrastinateJobQueue", PromptQueue)
    return SandboxClock(datetime(2026, 3, 2, 9, tzinfo=UTC))
