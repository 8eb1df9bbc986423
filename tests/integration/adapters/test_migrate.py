"""Migrations, ours and the job queue's."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from connectors.adapters.postgres import create_engine, migrate, postgres_unit_of_work, queue_schema
from connectors.adapters.postgres.tables import METADATA
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.errors import InfrastructureError, SettingsError
from connectors.domain.model.sync import JobStatus
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded
from tests.support.builders import NOW, TENANT, make_connection, make_grant, make_id, make_task, make_tenant
from tests.support.queue import open_queue


@pytest.fixture
def fresh_engine(postgres_engine):
    """An engine on a database without any table."""
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE fresh"))
        engine = create_engine(postgres_engine.url.set(database="fresh").render_as_string(hide_password=False))
        yield engine
        engine.dispose()
        connection.execute(text("DROP DATABASE fresh WITH (FORCE)"))


def test_processes_that_upgrade_at_once_do_so_one_after_another(fresh_engine):
    """Of several upgrades at once one does the work, and all end with a current database."""
    assert migrate.current(fresh_engine) is None
    assert not migrate.is_current(fresh_engine)
    with ThreadPoolExecutor(4) as pool:
        done = [future.result() for future in [pool.submit(migrate.upgrade, fresh_engine) for _ in range(4)]]
    assert sorted(done) == [False, False, False, True]
    assert migrate.is_current(fresh_engine)
    assert not migrate.upgrade(fresh_engine)


def is_ours(name, kind, parents):
    return kind != "table" or name is None or not name.startswith("procrastinate_")


def test_the_migrations_make_the_tables(postgres_engine):
    """What the migrations made is what `tables.py` says, the queue's own tables aside; `HEAD` is their newest."""
    with postgres_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, METADATA) == []
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_heads() == [migrate.HEAD]


LEADS = {
    "tenants": "id",
    "rate_limits": "key",  # limits of our app, or of an account, which several tenants may share
    "queue_migrations": "name",  # the service's own
}
"""What a table's primary key begins with where that is not the tenant."""


def test_every_table_leads_with_the_tenant():
    """Each table's primary key begins with the tenant, so that data can be spread by it, but for those of nobody."""
    for table in METADATA.tables.values():
        assert next(iter(table.primary_key)).name == LEADS.get(table.name, "tenant_id")


def url_of(engine):
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


QUEUE_OBJECTS = (
    """
    SELECT table_name, column_name, data_type, column_default FROM information_schema.columns
    WHERE table_name LIKE 'procrastinate_%' AND table_schema = current_schema()
    """,
    """
    SELECT proname, pg_get_function_identity_arguments(oid) FROM pg_proc WHERE proname LIKE 'procrastinate_%'
    """,
    """
    SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'procrastinate_%'
    """,
)


def queue_objects(engine):
    """The queue's columns, functions and indexes: all that its migrations made."""
    with engine.connect() as connection:
        return [sorted(map(tuple, connection.execute(text(statement)))) for statement in QUEUE_OBJECTS]


def test_a_fresh_database_gets_a_working_queue(fresh_engine):
    """After the upgrade a task can be put and seen; a second upgrade changes nothing and keeps it."""
    assert migrate.upgrade(fresh_engine)
    task = make_task()
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        assert work.queue.put(task) is Recorded.NEW
    before = queue_objects(fresh_engine)
    assert not migrate.upgrade(fresh_engine)
    assert queue_objects(fresh_engine) == before
    with open_queue(url_of(fresh_engine)) as queue:
        assert [one for one, _ in queue.waiting()] == [task]


def alembic(engine, verb, revision):
    """One of Alembic's own commands, as an operator might give it."""
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        getattr(command, verb)(config, revision)


FIRST_VERSION = """
    INSERT INTO tenants VALUES (:tenant, :now);
    INSERT INTO connections (tenant_id, id, provider, account_id, account_name, account_metadata, grant_id, status,
                             scopes, metadata, created_at, updated_at)
    VALUES (:tenant, :alive, 'github', 'a', 'octo', '{}', :grant, 'active', '{}', '{}', :now, :now),
           (:tenant, :ended, 'github', 'b', 'octo', '{}', NULL, 'revoked', '{}', '{}', :now, :now);
    INSERT INTO grants (tenant_id, id, provider, grant_key, token_set_key_id, token_set_nonce, token_set_ciphertext,
                        expires_at, version, created_at, updated_at)
    VALUES (:tenant, :grant, 'github', 'octo', 'key-1', 'nonce', 'sealed', :later, 1, :now, :now);
    INSERT INTO sync_states VALUES (:tenant, :alive, '', '{"page": 7}');
    INSERT INTO jobs (tenant_id, id, connection_id, provider, type, status, attempts, pages, items, signals,
                      scheduled_at, finished_at)
    VALUES (:tenant, :queued, :alive, 'github', 'backfill', 'queued', 0, 0, 0, 0, :now, NULL),
           (:tenant, :done, :alive, 'github', 'backfill', 'succeeded', 1, 2, 3, 4, :now, :later)
"""
"""What a database may hold at migration 0001."""


def test_a_database_of_the_first_version_comes_along(fresh_engine):
    """Its connections and jobs stay as they are; connections and grants come round from now on; ended ones do not."""
    alembic(fresh_engine, "upgrade", "0001")
    alive, ended, grant, queued, done = (make_id() for _ in range(5))
    later = NOW + timedelta(hours=1)
    values = {"tenant": TENANT, "now": NOW, "later": later, "alive": alive, "ended": ended, "grant": grant}
    values |= {"queued": queued, "done": done}
    with fresh_engine.begin() as connection:
        for statement in FIRST_VERSION.split(";"):
            given = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), given)
    assert migrate.current(fresh_engine) == "0001"
    assert not migrate.is_current(fresh_engine)
    begun = datetime.now(UTC)
    assert migrate.upgrade(fresh_engine)
    assert migrate.is_current(fresh_engine)

    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        kept = work.connections.get(TENANT, alive)
        assert kept == make_connection(id=alive, grant_id=grant, account=kept.account)
        assert (kept.account.id, kept.account.name) == ("a", "octo")
        assert work.grants.get(TENANT, grant) == make_grant(id=grant, grant_key="octo")
        waiting, finished = work.jobs.get(TENANT, queued), work.jobs.get(TENANT, done)
        assert (waiting.status, waiting.failures, waiting.run, waiting.updated_at) == (JobStatus.QUEUED, 0, 0, NOW)
        assert (finished.progress.signals, finished.updated_at) == (4, later)
        # It had no task: the schedule finds it.
        assert work.jobs.list_untouched(before=begun, limit=9) == [waiting]
        state = work.sync_states.load(TENANT, alive)
        assert state.cursor == {"page": 7}
        assert state.read_until >= begun - timedelta(seconds=1)
        soon = datetime.now(UTC) + timedelta(minutes=15)
        for kind in (TaskKind.SYNC, TaskKind.MAINTAIN):
            assert work.schedules.find(TENANT, alive, kind).next_at <= soon
            assert work.schedules.find(TENANT, ended, kind) is None
        assert work.schedules.find(TENANT, grant, TaskKind.REFRESH) is not None
        assert work.queue.put(make_task()) is Recorded.NEW


@pytest.mark.parametrize(
    ("status", "grant_id", "last_error", "errors"),
    [
        ("active", "grant", "The provider is down.", ("The provider is down.", None, None)),
        ("active", "grant", "Webhooks: No right: ask", (None, "No right: ask", None)),
        ("revoked", None, "revocation: refused", (None, None, "revocation: refused")),
        ("active", "grant", None, (None, None, None)),
    ],
)
def test_errors_go_into_columns_of_their_own(fresh_engine, status, grant_id, last_error, errors):
    """What was one text is told apart: of reading, of webhooks, of the end. A downgrade puts it together again."""
    alembic(fresh_engine, "upgrade", "0002")
    alive, grant = make_id(), make_id()
    with fresh_engine.begin() as connection:
        connection.execute(text("INSERT INTO tenants VALUES (:tenant, :now)"), {"tenant": TENANT, "now": NOW})
        connection.execute(
            text(
                """
                INSERT INTO connections (tenant_id, id, provider, account_id, account_name, account_metadata, grant_id,
                                         status, scopes, metadata, last_error, created_at, updated_at)
                VALUES (:tenant, :id, 'github', 'a', 'octo', '{}', :grant, :status, '{}', '{}', :error, :now, :now)
                """
            ),
            {
                "tenant": TENANT,
                "id": alive,
                "grant": grant if grant_id else None,
                "status": status,
                "error": last_error,
                "now": NOW,
            },
        )
    assert migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        kept = work.connections.get(TENANT, alive)
        assert (kept.sync_error, kept.webhook_error, kept.end_error) == errors
        assert kept.last_error == last_error
    alembic(fresh_engine, "downgrade", "0002")
    with fresh_engine.connect() as connection:
        assert connection.scalar(text("SELECT last_error FROM connections")) == last_error


def test_a_newer_database_is_left_alone(fresh_engine):
    """A program that is older than the database says so, and changes nothing."""
    migrate.upgrade(fresh_engine)
    with fresh_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(InfrastructureError, match="newer version"):
        migrate.upgrade(fresh_engine)
    assert migrate.current(fresh_engine) == "0999"


def test_a_downgraded_database_comes_back(fresh_engine):
    """Taken back to the first version and up again, everything is there, the queue with its tasks included."""
    migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        work.queue.put(make_task())
    alembic(fresh_engine, "downgrade", "0001")
    assert migrate.upgrade(fresh_engine)
    with fresh_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, METADATA) == []
    with open_queue(url_of(fresh_engine)) as queue:
        assert len(queue.waiting()) == 1


def test_an_older_queue_gets_what_it_lacks(fresh_engine, postgres_engine):
    """A queue that an earlier procrastinate made runs only the migrations since, and ends like a new one."""
    alembic(fresh_engine, "upgrade", "head")
    names = sorted(queue_schema._names())
    old = [name for name in names if name < "03.02"]
    for name in old:
        with fresh_engine.begin() as connection:
            queue_schema._run(connection, (queue_schema._folder() / "migrations" / name).read_text())
            connection.execute(text("INSERT INTO queue_migrations VALUES (:name, now())"), {"name": name})
    assert 0 < len(old) < len(names)
    assert not migrate.is_current(fresh_engine)
    assert migrate.upgrade(fresh_engine)
    assert migrate.is_current(fresh_engine)
    assert queue_objects(fresh_engine) == queue_objects(postgres_engine)


def test_a_queue_that_cannot_be_made_leaves_nothing(fresh_engine):
    """Where a table of somebody else is in the way the upgrade fails as a whole, in our words."""
    with fresh_engine.begin() as connection:
        connection.execute(text("CREATE TABLE procrastinate_events (id int)"))
    with pytest.raises(InfrastructureError, match="job queue"):
        migrate.upgrade(fresh_engine)
    assert migrate.current(fresh_engine) is None


def test_an_unreachable_server_is_an_infrastructure_error():
    """Neither message nor chain of the error holds the password or the URL."""
    engine = create_engine("postgresql://user:hunter2@127.0.0.1:9/x")
    for attempt in (lambda: migrate.current(engine), postgres_unit_of_work(engine, ProcrastinateJobQueue)().__enter__):
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


def test_a_connection_that_died_in_the_pool_is_replaced(postgres_url, clean_engine, monkeypatch):
    """After the server dropped a resting connection the next unit of work just works."""
    monkeypatch.setattr("connectors.adapters.postgres.engine.PROBE_AFTER_IDLE", 0.0)
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with clean_engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with postgres_unit_of_work(engine, ProcrastinateJobQueue)() as work:
        work.tenants.record(make_tenant())
    engine.dispose()
