"""`/readyz` on PostgreSQL."""

import pytest
from sqlalchemy import text

from connectors.adapters.postgres import create_engine, migrate
from connectors.entrypoints.production import readiness_of


@pytest.fixture
def empty_engine(postgres_engine):
    """An engine on a database without any table."""
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE unready"))
        engine = create_engine(postgres_engine.url.set(database="unready").render_as_string(hide_password=False))
        yield engine
        engine.dispose()
        connection.execute(text("DROP DATABASE unready WITH (FORCE)"))


def test_readiness_tells_the_queue_from_the_rest(empty_engine):
    """A database is ready once its own tables and the queue's are up to date; nobody need work on the queue."""
    assert readiness_of(empty_engine).checks["migrations"] != "ok"
    migrate.upgrade(empty_engine)
    assert readiness_of(empty_engine).checks == {"database": "ok", "migrations": "ok", "queue": "ok"}
    with empty_engine.begin() as connection:
        connection.execute(text("DELETE FROM queue_migrations WHERE name = (SELECT max(name) FROM queue_migrations)"))
    stale = readiness_of(empty_engine)
    assert not stale.is_ready
    assert (stale.checks["migrations"], "db upgrade" in stale.checks["queue"]) == ("ok", True)


def test_a_database_that_is_away_is_named():
    """Then nothing is known of the tables."""
    engine = create_engine("postgresql://user:hunter2@127.0.0.1:9/x")
    checks = readiness_of(engine).checks
    assert (checks["migrations"], checks["queue"]) == ("unknown", "unknown")
    assert "hunter2" not in checks["database"]
    engine.dispose()
