"""The pool of database connections, and the translation of its errors into ours."""

import time
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from connectors.adapters.storable import decode_json, encode_json
from connectors.domain.model.errors import (
    ConflictError,
    ConnectorsError,
    InfrastructureError,
    SettingsError,
    TenantNotFoundError,
)

CONNECT_TIMEOUT = 5
"""Seconds after which a server counts as unreachable: less than webhook senders wait for our response."""
POOL_TIMEOUT = 10
"""Seconds that a request waits for a free connection."""
POOL_SIZE = 10
"""Connections kept open per process."""
MAX_OVERFLOW = 10
"""Additional connections opened under load, per process."""
PROBE_AFTER_IDLE = 1.0
"""Seconds idle in the pool after which a connection is probed before use; a busy one is spared that round trip."""

SESSION_SETTINGS = (
    ("timezone", "UTC"),
    ("application_name", "poblysh-connectors"),
    # No statement of ours takes seconds; one that does is stuck, and its caller is long gone.
    ("statement_timeout", "30s"),
    # Rows are locked for milliseconds only.
    ("lock_timeout", "10s"),
    # A process that hangs inside a unit of work must not keep its rows locked for the others.
    ("idle_in_transaction_session_timeout", "60s"),
    # Every list is one range of an index that is already in the right order. Bitmaps lose that order and read whole
    # ranges, which looks cheap to the planner while its statistics are young.
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
)
"""The settings of every session."""

_REASONS = (
    ("Connection refused", "connection refused"),
    ("failed to resolve host", "unknown host"),
    ("password authentication failed", "user or password refused"),
    ("no password supplied", "it requires a password"),
    ("no pg_hba.conf entry", "the server does not accept us from this host"),
    ("does not exist", "no such database or user"),
    ("No such file or directory", "no server on that socket"),
    ("timeout expired", "no answer in time"),
    ("too many clients", "the server has too many connections"),
    ("the database system is", "the server is starting or stopping"),
    ("SSL", "TLS failed"),
    ("invalid URI", "a part of its URL is invalid"),
    ("invalid connection option", "a part of its URL is invalid"),
)
"""libpq's texts for a failed connection, and ours: libpq's name hosts and users, while anybody may read ours."""

_UNIQUE_VIOLATION = "23505"
_FOREIGN_KEY_VIOLATION = "23503"


def create_engine(url: str, *, pool_size: int = POOL_SIZE) -> Engine:
    """An engine for `postgresql://…`. It connects on first use.

    Raises:
        SettingsError: this is not a PostgreSQL URL. The message does not repeat it: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SettingsError("The database URL is not valid; expected postgresql://user:password@host:5432/database.")
    arguments = {} if "connect_timeout" in parsed.query else {"connect_timeout": CONNECT_TIMEOUT}
    engine = sqlalchemy.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args=arguments,
        pool_size=pool_size,
        max_overflow=MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT,
        # Last in, first out: under low load the other connections stay idle and are probed before use, so that none is
        # used half dead.
        pool_use_lifo=True,
        hide_parameters=True,
        json_serializer=encode_json,
        json_deserializer=decode_json,
    )
    event.listen(engine, "connect", _prepare_session)
    event.listen(engine, "checkin", _note_checkin)
    event.listen(engine, "checkout", _probe_idle)
    return engine


def translate(error: exc.SQLAlchemyError) -> ConnectorsError:
    """One of our errors for one of SQLAlchemy's, without DSN, statement or value."""
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None)
    if state == _FOREIGN_KEY_VIOLATION:
        # The only foreign keys are those that reference tenants.
        return TenantNotFoundError("The tenant is not known here.")
    if state == _UNIQUE_VIOLATION:
        return ConflictError("Another row has this identity already.")
    if isinstance(error, exc.TimeoutError):
        return InfrastructureError("The database is busy: no connection became free in time.")
    name = type(cause or error).__name__
    reason = None if state else _reason(cause)
    if reason or (state is None and isinstance(error, exc.OperationalError | exc.InterfaceError)):
        return InfrastructureError(f"The database cannot be reached ({reason or name}).")
    return InfrastructureError(f"The database failed ({name}{f', SQLSTATE {state}' if state else ''}).")


def _reason(cause: BaseException | None) -> str | None:
    if isinstance(cause, psycopg.errors.ConnectionTimeout):
        return "no answer in time"
    text = str(cause)
    return next((ours for words, ours in _REASONS if words in text), None)


def _prepare_session(connection: Any, _record: ConnectionPoolEntry) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, setting, false) FROM unnest(%s::text[], %s::text[]) AS given (name, setting)",
            ([name for name, _ in SESSION_SETTINGS], [setting for _, setting in SESSION_SETTINGS]),
        )
    connection.commit()


def _note_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _probe_idle(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    idle_since = record.info.pop("idle_since", None)
    if idle_since is None or time.monotonic() - idle_since < PROBE_AFTER_IDLE:
        return
    try:
        connection.autocommit = True
        connection.execute("")
        connection.autocommit = False
    except Exception as error:  # whatever error the driver raises on a dead socket, the pool replaces the connection
        raise exc.DisconnectionError from error
