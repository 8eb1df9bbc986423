"""Migrations."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from connectors.adapters.postgres import create_engine, migrate, postgres_unit_of_work
from connectors.adapters.postgres.tables import METADATA
from connectors.domain.model.errors import InfrastructureError, SettingsError


@pytest.fixture
def fresh_engine(postgres_engine):
    """An engine on a database without any table."""
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE fresh"))
        engine = create_engine(postgres_engine.url.set(database="fresh").render_as_string(hide_password=False))
        yield engine
        engine.dispose()
        connection.execute(text("DROP DATABASE fresh WITH (FORCE)"))


def test_processes_that_upgrade_at_once_take_turns(fresh_engine):
    """Of several upgrades at once one does the work, and all end with a current database."""
    assert migrate.current(fresh_engine) is None
    assert not migrate.is_current(fresh_engine)
    with ThreadPoolExecutor(4) as pool:
        done = [future.result() for future in [pool.submit(migrate.upgrade, fresh_engine) for _ in range(4)]]
    assert sorted(done) == [False, False, False, True]
    assert migrate.is_current(fresh_engine)
    assert not migrate.upgrade(fresh_engine)


def test_the_migrations_make_the_tables(postgres_engine):
    """What the migrations made is what `tables.py` says, and `HEAD` is their newest."""
    with postgres_engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_heads() == [migrate.HEAD]


def test_every_table_leads_with_the_tenant():
    """Each table's primary key begins with the tenant, so that data can be spread by it."""
    for table in METADATA.tables.values():
        assert next(iter(table.primary_key)).name == ("id" if table.name == "tenants" else "tenant_id")


def test_an_unreachable_server_is_an_infrastructure_error():
    """Neither message nor chain of the error holds the password or the URL."""
    engine = create_engine("postgresql://user:hunter2@127.0.0.1:9/x")
    for attempt in (lambda: migrate.current(engine), postgres_unit_of_work(engine)().__enter__):
        with pytest.raises(InfrastructureError) as caught:
            attempt()
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
    engine.dispose()


@pytest.mark.parametrize("url", ["", "hunter2", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d"])
def test_what_is_no_url_is_a_settings_error(url):
    """A wrong URL is refused without repeating it."""
    with pytest.raises(SettingsError) as caught:
        create_engine(url)
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_died_in_the_pool_is_replaced(postgres_url, postgres_engine, monkeypatch):
    """After the server dropped a resting connection the next unit of work just works."""
    monkeypatch.setattr("connectors.adapters.postgres.engine.REST", 0.0)
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with postgres_engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with postgres_unit_of_work(engine)() as work:
        assert list(work.grants.list_sealed()) == []
    engine.dispose()
