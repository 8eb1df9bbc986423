"""Migrations, ours and the job queue's."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import attrs
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
from connectors.domain.flows.reading.transitions import with_legacy
from connectors.domain.model.connection import ReasonCode
from connectors.domain.model.coverage import CoveragePath, GapCause, GapClosedBy
from connectors.domain.model.errors import InfrastructureError, SettingsError
from connectors.domain.model.instant import read_instant
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.spans import EPOCH, Span
from connectors.domain.model.stream_state import AccountState, HistoryRequest, ProvenSpan
from connectors.domain.model.streams import Stream
from connectors.domain.model.sync import JobStatus, Progress, StreamCounts
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded, SubscriptionStatus
from tests.contracts.stream_rows import make_stream_state
from tests.support.builders import (
    GITHUB,
    NOW,
    OTHER_TENANT,
    TENANT,
    make_connection,
    make_gap,
    make_grant,
    make_id,
    make_schedule_entry,
    make_sealed,
    make_task,
    make_tenant,
)
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
        assert [one.subject_id for one, _ in queue.waiting()] == [task.subject_id]


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
        assert (waiting.status, waiting.streams, waiting.updated_at) == (JobStatus.QUEUED, StreamCounts(), NOW)
        assert (finished.progress.signals, finished.updated_at) == (4, later)
        # It had no task: the schedule finds it.
        assert work.jobs.list_untouched(before=begun, limit=9) == [waiting]
        legacy = work.accounts.find(TENANT, alive).legacy
        assert (legacy["cursor"], legacy["proven"]) == ({"page": 7}, {})
        assert read_instant(legacy["read_until"]) >= begun - timedelta(seconds=1)
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


OLD_TABLES = ["tenants", "connections", "sync_states", "coverage", "coverage_gaps", "jobs", "schedules"]
CREATED = NOW - timedelta(days=10)
HOUR = timedelta(hours=1)


def old_database(engine, rows):
    """Fill a database at migration 0003. `rows`: for each table, its rows; what many have in common is left out."""
    common = {
        "connections": {
            "provider": "github",
            "account_name": "octo",
            "account_metadata": "{}",
            "status": "active",
            "scopes": [],
            "metadata": "{}",
            "created_at": CREATED,
            "updated_at": NOW,
        },
        "sync_states": {"target": ""},
        "coverage_gaps": {"reference": "", "reason": "It was lost.", "from_at": CREATED, "opened_at": NOW},
        "jobs": {
            "provider": "github",
            "type": "backfill",
            "attempts": 1,
            "failures": 0,
            "run": 1,
            "pages": 2,
            "items": 3,
            "signals": 4,
            "scheduled_at": NOW,
            "updated_at": NOW,
        },
    }
    with engine.begin() as connection:
        for table in OLD_TABLES:
            for row in rows.get(table, ()):
                owner = {} if table == "tenants" else {"tenant_id": TENANT}
                values = {**owner, **common.get(table, {}), **row}
                names = ", ".join(values)
                places = ", ".join(f":{name}" for name in values)
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)


def all_of(engine, table):
    """All rows of a table, in order, by their columns' names."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} AS one ORDER BY one")).mappings()]


@pytest.fixture
def carried(fresh_engine):
    """A database of the release before streams, with what it may hold; the connections by what they stand for."""
    alembic(fresh_engine, "upgrade", "0003")
    ids = {name: make_id() for name in ("read", "bare", "new", "untouched", "ended", "theirs")}
    jobs = {name: make_id() for name in ("running", "all", "done", "failed", "incremental", "first", "of_theirs")}
    proven = [
        ("read", "sync", "issues", CREATED, NOW - HOUR),
        ("read", "backfill", "issues", CREATED - 720 * HOUR, CREATED - 100 * HOUR),
        ("read", "backfill", "issues", CREATED - 50 * HOUR, CREATED + HOUR),
        ("read", "sync", "pushes", CREATED + HOUR, NOW - HOUR),
        ("read", "webhook", "issues", NOW - HOUR, None),
        ("bare", "backfill", "issues", CREATED - 24 * HOUR, CREATED),
        ("theirs", "sync", "issues", CREATED, NOW),
    ]
    old_database(
        fresh_engine,
        {
            "tenants": [{"id": one, "created_at": NOW} for one in (TENANT, OTHER_TENANT)],
            "connections": [
                {
                    "id": ids[name],
                    "account_id": name,
                    "status": "revoked" if name == "ended" else "active",
                    "tenant_id": OTHER_TENANT if name == "theirs" else TENANT,
                }
                for name in ids
            ],
            "sync_states": [
                {
                    "connection_id": ids["read"],
                    "cursor": '{"since": "2026-03-04T04:06:07Z", "tokens": [1, null]}',
                    "read_until": NOW - HOUR,
                },
                {"connection_id": ids["read"], "target": "octo/hello", "cursor": "{}", "read_until": NOW},
                {"connection_id": ids["ended"], "cursor": "{}", "read_until": CREATED.replace(microsecond=0)},
                {"connection_id": ids["theirs"], "cursor": '{"a": 1}', "read_until": NOW, "tenant_id": OTHER_TENANT},
                {"connection_id": make_id(), "cursor": "{}", "read_until": NOW},  # its connection is not there
            ],
            "coverage": [
                {
                    "connection_id": ids[name],
                    "path": path,
                    "family": family,
                    "from_at": from_at,
                    "to_at": to_at,
                    "tenant_id": OTHER_TENANT if name == "theirs" else TENANT,
                }
                for name, path, family, from_at, to_at in proven
            ],
            "coverage_gaps": [
                {"id": make_id(), "connection_id": ids["read"], "family": "issues", "cause": "history_lost"}
            ],
            "jobs": [
                {
                    "id": jobs["running"],
                    "connection_id": ids["read"],
                    "status": "running",
                    "since": CREATED - 720 * HOUR,
                    "until": CREATED,
                    "cursor": '{"page": 3}',
                    "started_at": NOW,
                },
                {
                    "id": jobs["all"],
                    "connection_id": ids["read"],
                    "status": "queued",
                    "target": "octo/hello",
                    "attempts": 0,
                    "scheduled_at": NOW + HOUR,
                },
                {"id": jobs["done"], "connection_id": ids["read"], "status": "succeeded", "finished_at": NOW},
                {"id": jobs["failed"], "connection_id": ids["bare"], "status": "failed", "error": "It was down."},
                {"id": jobs["incremental"], "connection_id": ids["read"], "type": "incremental", "status": "running"},
                {"id": jobs["first"], "connection_id": ids["new"], "status": "queued", "since": NOW - 24 * HOUR},
                {
                    "id": jobs["of_theirs"],
                    "connection_id": ids["theirs"],
                    "status": "queued",
                    "tenant_id": OTHER_TENANT,
                    "since": NOW,
                },
            ],
            "schedules": [{"subject_id": ids["read"], "kind": "sync", "next_at": NOW}],
        },
    )
    return ids, jobs


@pytest.mark.parametrize(
    ("status", "has_grant", "code", "is_since_refresh"),
    [
        ("active", True, None, True),
        ("reauthorization_required", True, None, True),
        ("revoked", True, ReasonCode.WITHDRAWN_AT_PROVIDER, True),
        ("revoked", False, ReasonCode.USER_DISCONNECTED, False),
        ("disabled", True, ReasonCode.OPERATOR, True),
    ],
)
def test_connections_get_the_time_of_their_consent(fresh_engine, status, has_grant, code, is_since_refresh):
    """It is the grant's last change, or the connection's creation; those that have ended say who ended them."""
    alembic(fresh_engine, "upgrade", "0004")
    owner = {"tenant": TENANT, "id": make_id(), "grant": make_id(), "status": status, "now": NOW, "later": NOW + HOUR}
    with fresh_engine.begin() as connection:
        connection.execute(text("INSERT INTO tenants VALUES (:tenant, :now)"), owner)
        connection.execute(
            text(
                """
                INSERT INTO connections (tenant_id, id, provider, account_id, account_name, account_metadata, grant_id,
                                         status, scopes, metadata, created_at, updated_at)
                VALUES (:tenant, :id, 'github', 'a', 'octo', '{}', :grant, :status, '{}', '{}', :now, :now)
                """
            ),
            owner if has_grant else {**owner, "grant": None},
        )
        connection.execute(
            text(
                """
                INSERT INTO grants (tenant_id, id, provider, grant_key, token_set_key_id, token_set_nonce,
                                    token_set_ciphertext, version, created_at, updated_at)
                VALUES (:tenant, :grant, 'github', 'g', 'k', '', '', 1, :now, :later)
                """
            ),
            owner,
        )
    assert migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        kept = work.connections.get(TENANT, owner["id"])
    assert (kept.reason_code, kept.suspected_at) == (code, None)
    assert kept.consented_at == (NOW + HOUR if is_since_refresh else NOW)
    alembic(fresh_engine, "downgrade", "0004")
    assert migrate.upgrade(fresh_engine)


OF_CONNECTIONS = {
    # name: (status, the grant that it names)
    "works": ("active", "works"),
    "is_off": ("disabled", "is_off"),
    "waits": ("reauthorization_required", "waits"),
    "shares": ("revoked", "works"),
    "withdrawn": ("revoked", "withdrawn"),
    "disconnected": ("revoked", None),
}
OF_SUBSCRIPTIONS = {
    # name: (connection, status, target)
    "active": ("works", "active", "repo:a"),
    "pending": ("works", "pending", "repo:b"),
    "over": ("works", "ended", "repo:c"),
    "by_hand": ("works", "active", "webhook"),
    "left_behind": ("withdrawn", "active", "repo:a"),
    "half_made": ("shares", "pending", "repo:d"),
    "of_nobody": ("disconnected", "active", "repo:e"),
}


@pytest.fixture
def held(fresh_engine):
    """A database at migration 0004 with what it may hold of consents and hooks; the ids by what they stand for."""
    alembic(fresh_engine, "upgrade", "0004")
    grants = {name: make_id() for name in ("works", "is_off", "waits", "withdrawn", "unused")}
    connections = {name: make_id() for name in OF_CONNECTIONS}
    subscriptions = {name: make_id() for name in OF_SUBSCRIPTIONS}
    times = {"created_at": CREATED, "updated_at": NOW}
    sealed = {"token_set_key_id": "key-1", "token_set_nonce": b"nonce", "token_set_ciphertext": b"sealed"}
    secret = {"secret_key_id": "key-1", "secret_nonce": b"nonce", "secret_ciphertext": b"sealed"}
    account = {"account_name": "octo", "account_metadata": "{}", "scopes": [], "metadata": "{}"}
    rows = {
        "tenants": [{"id": one, "created_at": NOW} for one in (TENANT, OTHER_TENANT)],
        "grants": [
            {"tenant_id": tenant_id, "id": grants[name], "provider": "github", "grant_key": name, "version": 1}
            | sealed
            | times
            # Nobody there uses the other tenant's grant, though somebody here uses one with the same id.
            for tenant_id, name in [*((TENANT, name) for name in grants), (OTHER_TENANT, "works")]
        ],
        "connections": [
            {"tenant_id": TENANT, "id": connections[name], "provider": "github", "account_id": name, "status": status}
            | {"grant_id": grants.get(grant)}
            | account
            | times
            for name, (status, grant) in OF_CONNECTIONS.items()
        ],
        "subscriptions": [
            {"tenant_id": TENANT, "id": subscriptions[name], "connection_id": connections[of], "provider": "github"}
            | {"target": target, "status": status, "metadata": "{}"}
            | secret
            | times
            for name, (of, status, target) in OF_SUBSCRIPTIONS.items()
        ],
        "schedules": [
            {"tenant_id": TENANT, "subject_id": one, "kind": "refresh", "next_at": NOW} for one in grants.values()
        ],
    }
    with fresh_engine.begin() as connection:
        for table, given in rows.items():
            for values in given:
                places = ", ".join(f":{name}" for name in values)
                connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})"), values)
    return grants, connections, subscriptions


def assert_endings_began(engine, held):
    """What nobody uses has to go, on record and on schedule; all else stays as it was."""
    grants, connections, subscriptions = held
    with postgres_unit_of_work(engine, ProcrastinateJobQueue)() as work:
        kept = {name: work.grants.get(TENANT, one) for name, one in grants.items()}
        assert {name: one.state for name, one in kept.items()} == {
            "works": GrantState.LIVE,
            "is_off": GrantState.LIVE,
            "waits": GrantState.LIVE,
            "withdrawn": GrantState.ENDING,
            "unused": GrantState.ENDING,
        }
        assert work.grants.get(OTHER_TENANT, grants["works"]).state is GrantState.ENDING
        assert work.grants.find_live(TENANT, GITHUB, "works") == kept["works"]
        for name, one in kept.items():
            is_ending = one.state is GrantState.ENDING
            assert (one.ending is not None) == is_ending
            assert one.token_set == make_sealed()
            assert (work.schedules.find(TENANT, grants[name], TaskKind.END) is not None) == is_ending
            assert (work.schedules.find(TENANT, grants[name], TaskKind.REFRESH) is None) == is_ending
        found = {name: work.subscriptions.get(TENANT, one) for name, one in subscriptions.items()}
        assert {name: (one.status, one.grant_id) for name, one in found.items()} == {
            "active": (SubscriptionStatus.ACTIVE, grants["works"]),
            "pending": (SubscriptionStatus.PENDING, grants["works"]),
            "over": (SubscriptionStatus.ENDED, None),
            "by_hand": (SubscriptionStatus.ACTIVE, None),
            "left_behind": (SubscriptionStatus.ENDING, grants["withdrawn"]),
            "half_made": (SubscriptionStatus.ENDING, grants["works"]),
            "of_nobody": (SubscriptionStatus.ACTIVE, None),
        }
        for name, one in found.items():
            assert (one.ending is not None) == one.is_ending
            assert (work.schedules.find(TENANT, subscriptions[name], TaskKind.END) is not None) == one.is_ending
        assert len(work.schedules.lock_due(TaskKind.END, now=datetime.now(UTC) + HOUR, limit=99)) == 5
        for name, (status, grant) in OF_CONNECTIONS.items():
            connection = work.connections.get(TENANT, connections[name])
            assert (connection.status, connection.grant_id) == (status, grants.get(grant))


def test_what_nobody_uses_begins_to_end(fresh_engine, held):
    """Grants without a connection, and hooks of ended connections, are ended from the upgrade on; the others stay."""
    assert migrate.upgrade(fresh_engine)
    assert_endings_began(fresh_engine, held)


@pytest.mark.parametrize("version", ["0005", "0006", "0007", "0008"])
def test_a_database_of_a_version_between_comes_along(fresh_engine, held, version):
    """From each version the upgrade gives the same."""
    alembic(fresh_engine, "upgrade", version)
    assert migrate.upgrade(fresh_engine)
    assert_endings_began(fresh_engine, held)


@pytest.mark.parametrize("version", ["0004", "0005", "0006", "0007"])
def test_endings_can_be_taken_back(fresh_engine, held, version):
    """A downgrade keeps what works and forgets what is ending or over; the next upgrade goes on with that."""
    grants, connections, subscriptions = held
    working = {grants[name] for name in ("works", "is_off", "waits")}
    migrate.upgrade(fresh_engine)
    statuses = {"active": SubscriptionStatus.REFUSED, "pending": SubscriptionStatus.LEFT}
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        for name, status in statuses.items():
            work.subscriptions.save(attrs.evolve(work.subscriptions.get(TENANT, subscriptions[name]), status=status))
        # What a consent has replaced has the same key.
        for state in (GrantState.NEW, GrantState.ENDING, GrantState.ENDED, GrantState.LEFT):
            bare = {"token_set": None} if state in {GrantState.ENDED, GrantState.LEFT} else {}
            work.grants.save(make_grant(grant_key="works", state=state, **bare))
        work.schedules.plan(make_schedule_entry(kind=TaskKind.PROVE))
        work.tenants.record(make_tenant(id=make_id()))
        work.tenants.mark_erased(OTHER_TENANT, at=NOW)
    alembic(fresh_engine, "downgrade", version)
    assert {row["id"] for row in all_of(fresh_engine, "grants")} == working
    assert {row["id"]: row["grant_id"] for row in all_of(fresh_engine, "connections")} == {
        connections[name]: grants[grant] if grants.get(grant) in working else None
        for name, (_, grant) in OF_CONNECTIONS.items()
    }
    assert {row["id"]: row["status"] for row in all_of(fresh_engine, "subscriptions")} == {
        subscriptions[name]: status
        for name, status in {
            **{name: status for name, (_, status, _) in OF_SUBSCRIPTIONS.items()},
            "active": "failed",
            "pending": "ended",
            "left_behind": "ended",
            "half_made": "ended",
        }.items()
    }
    kinds = {row["kind"] for row in all_of(fresh_engine, "schedules")}
    assert kinds == ({"refresh", "prove"} if version == "0007" else {"refresh"})
    assert OTHER_TENANT not in {row["id"] for row in all_of(fresh_engine, "tenants")}
    assert migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        assert work.grants.count_by_state() == {(GITHUB, GrantState.LIVE): 3}
        assert work.grants.find_live(TENANT, GITHUB, "works").token_set == make_sealed()
        assert work.subscriptions.get(TENANT, subscriptions["active"]).grant_id == grants["works"]
        assert work.subscriptions.oldest_ending() is None
    with fresh_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, METADATA) == []


def test_what_was_read_before_streams_stays_read(fresh_engine, carried):
    """Cursors, proven intervals and wanted history become each account's; jobs go on, and nothing else changes."""
    ids, jobs = carried
    before = {table: all_of(fresh_engine, table) for table in ("connections", "schedules")}
    alembic(fresh_engine, "upgrade", "0004")
    assert {table: all_of(fresh_engine, table) for table in before} == before
    assert migrate.upgrade(fresh_engine)
    since_created = HistoryRequest(since=CREATED)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        read = work.accounts.find(TENANT, ids["read"])
        assert read.requests == (
            since_created,
            HistoryRequest(since=CREATED - 720 * HOUR, until=CREATED + HOUR),
            HistoryRequest(since=CREATED - 720 * HOUR, until=CREATED, job_id=jobs["running"]),
            HistoryRequest(since=EPOCH, job_id=jobs["all"]),
        )
        assert read.legacy["cursor"] == {"since": "2026-03-04T04:06:07Z", "tokens": [1, None]}
        assert read_instant(read.legacy["read_until"]) == NOW - HOUR
        assert read_proven(read.legacy) == {
            "issues": [
                (CREATED - 720 * HOUR, CREATED - 100 * HOUR, "backfill"),
                (CREATED - 50 * HOUR, CREATED + HOUR, "backfill"),
                (CREATED, NOW - HOUR, "sync"),
            ],
            "pushes": [(CREATED + HOUR, NOW - HOUR, "sync")],
        }
        assert read == AccountState(
            tenant_id=TENANT,
            connection_id=ids["read"],
            provider=GITHUB,
            requests=read.requests,
            legacy=read.legacy,
            updated_at=read.updated_at,
        )
        ended = work.accounts.find(TENANT, ids["ended"])
        assert (ended.requests, read_proven(ended.legacy)) == ((since_created,), {})
        # What it had read no cursor tells: it is read again.
        bare = work.accounts.find(TENANT, ids["bare"])
        assert bare.requests == (since_created, HistoryRequest(since=CREATED - 24 * HOUR, until=CREATED))
        new = work.accounts.find(TENANT, ids["new"])
        assert new.requests == (since_created, HistoryRequest(since=NOW - 24 * HOUR, job_id=jobs["first"]))
        assert (bare.legacy, new.legacy) == (None, None)
        assert work.accounts.find(TENANT, ids["untouched"]) is None
        theirs = work.accounts.find(OTHER_TENANT, ids["theirs"])
        assert theirs.requests == (since_created, HistoryRequest(since=NOW, job_id=jobs["of_theirs"]))
        assert theirs.legacy["cursor"] == {"a": 1}
        assert work.accounts.count_running() == 0

        stored = {name: work.jobs.get(TENANT, jobs[name]) for name in jobs if name != "of_theirs"}
        assert {name: str(job.status) for name, job in stored.items()} == {
            "running": "queued",
            "all": "queued",
            "done": "succeeded",
            "failed": "failed",
            "incremental": "queued",
            "first": "queued",
        }
        assert all(job.streams == StreamCounts() and job.progress == Progress(2, 3, 4) for job in stored.values())
        assert [one.path for one in work.coverage.list_intervals(TENANT, ids["read"])] == [CoveragePath.WEBHOOK]
        (gap,) = work.coverage.list_gaps(TENANT, ids["read"], is_open=True)
        assert gap.stream is None


def read_proven(legacy):
    """What is proven, as instants."""
    return {
        family: [(read_instant(from_at), read_instant(to_at), path) for from_at, to_at, path in spans]
        for family, spans in legacy["proven"].items()
    }


@pytest.mark.parametrize("cursor", [None, "legacy"])
def test_old_proofs_are_divided_among_streams(fresh_engine, carried, cursor):
    """What the engine makes of an account that came along: a stream proves what all of its families did."""
    ids, _ = carried
    migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        legacy = work.accounts.find(TENANT, ids["read"]).legacy
    bookmarks = {} if cursor is None else {"issues:1": legacy["cursor"]}
    stream = Stream(key="issues:1", name="issues", families=frozenset({"issues", "pushes"}))
    state = with_legacy(make_stream_state(stream=stream), legacy, bookmarks, is_divided=cursor is not None)
    assert state.proven == (ProvenSpan(Span(CREATED + HOUR, NOW - HOUR), CoveragePath.SYNC),)
    assert (state.bookmark, state.read_until) == ((None, None) if cursor is None else (legacy["cursor"], NOW - HOUR))


def test_streams_can_be_taken_back(fresh_engine, carried):
    """A downgrade restores cursors and intervals that are not yet divided; what is new becomes what was known."""
    ids, jobs = carried
    tables = ("sync_states", "coverage", "coverage_gaps", "connections", "schedules")
    before = {table: all_of(fresh_engine, table) for table in tables}
    migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        work.jobs.save(attrs.evolve(work.jobs.get(TENANT, jobs["done"]), status=JobStatus.PARTIAL))
        work.streams.save([make_stream_state(connection_id=ids["read"])])
        work.schedules.plan(make_schedule_entry(subject_id=ids["read"], kind=TaskKind.READ))
        for cause in (GapCause.HISTORY_HIDDEN, GapCause.STREAM_GONE):
            gap = make_gap(connection_id=ids["new"], cause=cause, closed_at=NOW, closed_by=GapClosedBy.PERSON)
            work.coverage.open_gap(gap)
            work.coverage.open_gap(attrs.evolve(gap, id=make_id(), reference="x" * 460))
    alembic(fresh_engine, "downgrade", "0003")
    after = {table: all_of(fresh_engine, table) for table in tables}
    whole = [row for row in before["sync_states"] if row["connection_id"] in ids.values() and not row["target"]]
    assert after["sync_states"] == whole
    # What no cursor tells is read again.
    assert after["coverage"] == [
        row for row in before["coverage"] if row["path"] == "webhook" or row["connection_id"] != ids["bare"]
    ]
    assert (after["connections"], after["schedules"]) == (before["connections"], before["schedules"])
    new = [row for row in after["coverage_gaps"] if row["connection_id"] == ids["new"]]
    assert [(row["cause"], row["closed_by"]) for row in new] == [("history_lost", None)] * 4
    status = {row["id"]: row["status"] for row in all_of(fresh_engine, "jobs")}
    assert status[jobs["done"]] == "failed"
    assert migrate.upgrade(fresh_engine)
    with postgres_unit_of_work(fresh_engine, ProcrastinateJobQueue)() as work:
        again = work.accounts.find(TENANT, ids["read"])
        assert again.legacy["cursor"] == {"since": "2026-03-04T04:06:07Z", "tokens": [1, None]}
        assert work.streams.list(TENANT, ids["read"]) == []


OF_TABLES = {
    "options": "SELECT relname, reloptions[1] FROM pg_class WHERE relname = ANY(:names) AND reloptions IS NOT NULL",
    "collations": "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_name = ANY(:names) AND collation_name = 'C'",
    "partial": "SELECT tablename, indexname FROM pg_indexes WHERE tablename = ANY(:names) AND indexdef LIKE '% WHERE %'",
}


def test_what_alembic_does_not_compare_is_made_too(postgres_engine):
    """Fill factors, sort orders of keys, and which indexes are partial: all as `tables.py` says."""
    with postgres_engine.connect() as connection:
        made = {
            what: {tuple(row) for row in connection.execute(text(query), {"names": list(METADATA.tables)})}
            for what, query in OF_TABLES.items()
        }
    wanted = {"options": set(), "collations": set(), "partial": set()}
    for table in METADATA.tables.values():
        options = table.dialect_options["postgresql"]["with"] or {}
        wanted["options"] |= {(table.name, f"{name}={value}") for name, value in options.items()}
        wanted["collations"] |= {
            (table.name, column.name) for column in table.columns if getattr(column.type, "collation", None) == "C"
        }
        wanted["partial"] |= {
            (table.name, index.name)
            for index in table.indexes
            if index.dialect_options["postgresql"]["where"] is not None
        }
    assert made == wanted
    assert made["options"]
    assert made["collations"]


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
