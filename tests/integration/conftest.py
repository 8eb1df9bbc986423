"""One embedded PostgreSQL for all integration tests, in a folder of its own."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from connectors.adapters.postgres import create_engine
from connectors.adapters.postgres.embedded import start_embedded
from connectors.adapters.postgres.migrate import upgrade
from tests.support.queue import open_queue

MIGRATED = "migrated"
"""A migrated database that nobody connects to, so that it can be copied."""

CLEAN = (
    "DELETE FROM tenants WHERE id <> '00000000-0000-0000-0000-000000000000'",
    "DELETE FROM deliveries",
    "DELETE FROM schedules",
    "DELETE FROM rate_limits",
)


@pytest.fixture(scope="session")
def short_tmp():
    """A folder with a short path: the path of a socket must not be long."""
    folder = Path(tempfile.mkdtemp(prefix="poblysh-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(short_tmp):
    """The URL of a running server, its database migrated; tests get copies of it from `fresh_database`."""
    with start_embedded(short_tmp / "shared") as server:
        engine = create_engine(server.url)
        upgrade(engine)
        # Nobody kills this server, so no commit has to wait for the disk.
        run_outside_transactions(
            engine,
            "ALTER SYSTEM SET synchronous_commit = off",
            "SELECT pg_reload_conf()",
            f"CREATE DATABASE {MIGRATED}",
        )
        engine.dispose()
        template = create_engine(url_of(engine, MIGRATED))
        upgrade(template)
        template.dispose()
        yield server.url


@pytest.fixture(scope="session")
def postgres_engine(postgres_url):
    """An engine on it."""
    engine = create_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def own_database(postgres_engine):
    """The URL of a migrated database for this test alone: other services' workers take nothing out of its queue."""
    with fresh_database(postgres_engine) as url:
        yield url


@pytest.fixture
def own_engine(own_database):
    """An engine on it."""
    engine = create_engine(own_database)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def queue(postgres_url):
    """Its job queue."""
    with open_queue(postgres_url) as queue:
        yield queue


@pytest.fixture
def clean_engine(postgres_engine, queue):
    """The engine, on a database without rows, its queue empty."""
    empty_database(postgres_engine)
    queue.empty()
    return postgres_engine


def empty_database(engine):
    """Delete every row but the unrouted tenant."""
    with engine.begin() as connection:
        for statement in CLEAN:
            connection.execute(text(statement))


@contextmanager
def fresh_database(engine):
    """The URL of another database on the engine's server, migrated, for as long as the block lasts."""
    name = f"own_{uuid4().hex}"
    run_outside_transactions(engine, f"CREATE DATABASE {name} TEMPLATE {MIGRATED}")
    try:
        yield url_of(engine, name)
    finally:
        run_outside_transactions(engine, f"DROP DATABASE {name} WITH (FORCE)")


def run_outside_transactions(engine, *statements):
    """Run statements that PostgreSQL allows in no transaction."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))


def url_of(engine, database):
    """The URL of another database on the engine's server."""
    return engine.url.set(drivername="postgresql", database=database).render_as_string(hide_password=False)
