"""One open transaction, as the stores use it; its errors are ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import Connection, CursorResult, Row
from sqlalchemy.exc import SQLAlchemyError

from connectors.adapters.postgres.engine import translate


class Transaction:
    """Runs statements on one connection, inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, statement: Executable, values: Mapping[str, Any] | None = None) -> CursorResult[Any]:
        """The statement's result, or one of our errors."""
        try:
            return self._connection.execute(statement, values)
        except SQLAlchemyError as error:
            raise translate(error) from None

    def all(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Every row."""
        return self.run(statement, values).all()

    def first(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """The first row, or None."""
        return self.run(statement, values).first()

    def count(self, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
        """How many rows the statement changed."""
        # SQLAlchemy forgets the number for an INSERT unless told otherwise.
        return self.run(statement.execution_options(preserve_rowcount=True), values).rowcount
