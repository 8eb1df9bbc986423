"""The error message about a database that cannot be reached."""

import psycopg
import pytest
from sqlalchemy import exc

from connectors.adapters.postgres.engine import translate

DSN = "user=ada password=s3cret host=db.internal"


@pytest.mark.parametrize(
    ("kind", "cause", "reason"),
    [
        (exc.OperationalError, psycopg.OperationalError(f"{DSN}: Connection refused"), "connection refused"),
        (exc.OperationalError, psycopg.OperationalError(f"failed to resolve host {DSN}"), "unknown host"),
        (
            exc.OperationalError,
            psycopg.OperationalError(f'{DSN}: FATAL: password authentication failed for user "ada"'),
            "user or password refused",
        ),
        (exc.OperationalError, psycopg.errors.ConnectionTimeout(DSN), "no answer in time"),
        (exc.OperationalError, psycopg.OperationalError(DSN), "OperationalError"),
        (
            exc.ProgrammingError,
            psycopg.ProgrammingError(f"invalid URI query parameter: {DSN}"),
            "part of its URL is invalid",
        ),
    ],
)
def test_the_reason_has_no_names(kind, cause, reason):
    """It is in our own words, without host, user or password, because /readyz is public."""
    message = translate(kind("SELECT 1", None, cause)).message
    assert message.startswith("The database cannot be reached (")
    assert reason in message
    assert not any(word in message for word in ("s3cret", "db.internal", "ada"))
