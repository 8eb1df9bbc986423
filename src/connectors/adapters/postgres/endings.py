"""The columns of an `Ending`: that something has to go at its vendor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Table, TextClause, delete, func, select, tuple_
from sqlalchemy.engine import Row

from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.ending import Ending
from connectors.domain.model.ids import TenantId


def ending_columns(ending: Ending | None) -> dict[str, Any]:
    """The columns' values, by name."""
    return {
        "end_since": None if ending is None else ending.since,
        "end_failures": 0 if ending is None else ending.failures,
        "end_error": None if ending is None else ending.error,
    }


def read_ending(row: Row[Any]) -> Ending | None:
    """The ending in these columns; None if there is none."""
    if row.end_since is None:
        return None
    return Ending(since=row.end_since, failures=row.end_failures, error=row.end_error)


def list_held(
    transaction: Transaction, table: Table, status: Column[str], tenant_id: TenantId | None, limit: int
) -> Sequence[Row[Any]]:
    """The rows that are ending or left, the longest first."""
    statement = select(table).where(status.in_(("ending", "left")))
    if tenant_id is not None:
        statement = statement.where(table.c.tenant_id == tenant_id)
    return transaction.all(statement.order_by(table.c.end_since, table.c.id).limit(limit))


def prune_ended(transaction: Transaction, table: Table, is_over: TextClause, before: datetime, limit: int) -> int:
    """Delete rows that have been ended or left since before that instant, at most `limit`; how many."""
    key = (table.c.tenant_id, table.c.id)
    old = select(*key).where(is_over, table.c.updated_at < before).order_by(table.c.updated_at).limit(limit)
    return transaction.count(delete(table).where(tuple_(*key).in_(old)))


def oldest_ending(transaction: Transaction, table: Table, is_ending: TextClause) -> datetime | None:
    """Since when the oldest row that is ending has been."""
    since: datetime | None = transaction.run(select(func.min(table.c.end_since)).where(is_ending)).scalar_one()
    return since
