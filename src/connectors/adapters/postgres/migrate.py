"""Bringing a database to the schema that this version needs."""

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from connectors.adapters.postgres import queue_schema
from connectors.adapters.postgres.engine import translate
from connectors.domain.model.errors import InfrastructureError

HEAD = "0009"
"""The newest migration. It is a constant so that checking a current database needs no Alembic; a test compares them."""
MIGRATIONS = Path(__file__).parent / "migrations"
"""The folder of the migrations, inside the installed package."""

_LOCK = 0x506F_626C_7973_68
"""The number of the advisory lock that an upgrade holds ("Poblysh" in ASCII)."""

_HAS_VERSION_TABLE = text(
    "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'alembic_version' AND pg_table_is_visible(oid))"
)


def current(engine: Engine) -> str | None:
    """The database's migration; None if it has none yet.

    Raises:
        InfrastructureError: the database cannot be reached.
    """
    try:
        with engine.connect() as connection:
            return _read_version(connection)
    except SQLAlchemyError as error:
        raise translate(error) from None


def is_current(engine: Engine) -> bool:
    """Whether the database has exactly the schema that this version needs, the job queue's included.

    Raises like `current`.
    """
    try:
        with engine.connect() as connection:
            return _is_current(connection)
    except SQLAlchemyError as error:
        raise translate(error) from None


def upgrade(engine: Engine) -> bool:
    """Run the missing migrations, all or none; False if there were none. Concurrent calls wait for each other.

    Raises:
        InfrastructureError: the database cannot be reached, refused a statement, or is newer than this program.
    """
    if is_current(engine):
        return False
    try:
        with engine.begin() as connection:
            # The process that holds the lock may be building indexes for a long time.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if _is_current(connection):
                return False
            version = _read_version(connection)
            if version is not None and version > HEAD:
                raise InfrastructureError(
                    f"The database's tables are of a newer version ({version}) than this program ({HEAD}).",
                    next_step="Install the version that made them, or restore a backup.",
                )
            if version != HEAD:
                _run(connection)
            queue_schema.upgrade(connection)
    except SQLAlchemyError as error:
        raise translate(error) from None
    return True


def _is_current(connection: Connection) -> bool:
    return _read_version(connection) == HEAD and queue_schema.is_current(connection)


def _read_version(connection: Connection) -> str | None:
    # Not to_regclass: inside a transaction it may answer from a cache that is older than the lock we waited for.
    if not connection.scalar(_HAS_VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _run(connection: Connection) -> None:
    # Imported here because it takes a tenth of a second, and most starts find the database current.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
