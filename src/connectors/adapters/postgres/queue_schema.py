"""The job queue's tables, created and upgraded by the SQL that procrastinate ships."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from connectors.adapters.postgres.tables import queue_migrations
from connectors.domain.model.errors import InfrastructureError

_HAS_QUEUE = text(
    "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'procrastinate_jobs' AND pg_table_is_visible(oid))"
)


def is_current(connection: Connection) -> bool:
    """Whether every migration that the installed procrastinate ships has been run."""
    return _names() <= _applied(connection)


def upgrade(connection: Connection) -> None:
    """Create the queue's tables, or run the missing migrations, in the connection's transaction.

    Raises:
        InfrastructureError: the database refused a statement.
    """
    missing = sorted(_names() - _applied(connection))
    if connection.scalar(_HAS_QUEUE):
        scripts = [(_folder() / "migrations" / name).read_text() for name in missing]
    else:
        scripts = [(_folder() / "schema.sql").read_text()]  # it includes all the migrations
    for script in scripts:
        _run(connection, script)
    if missing:
        connection.execute(
            insert(queue_migrations).values([{"name": name, "applied_at": text("now()")} for name in missing])
        )


def _names() -> set[str]:
    return {path.name for path in (_folder() / "migrations").glob("*.sql")}


def _applied(connection: Connection) -> set[str]:
    return set(connection.scalars(select(queue_migrations.c.name)))


def _folder() -> Path:
    # Located, not imported: importing procrastinate takes half a second, and most starts find everything up to date.
    spec = find_spec("procrastinate")
    assert spec is not None and spec.submodule_search_locations is not None  # noqa: S101, PT018 - it is a dependency
    return Path(spec.submodule_search_locations[0]) / "sql"


def _run(connection: Connection, script: str) -> None:
    # Through the driver and without parameters: the scripts have many statements each, and percent signs.
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            cursor.execute(script)
    except psycopg.Error as error:
        raise InfrastructureError(f"The job queue's tables cannot be created ({type(error).__name__}).") from None
