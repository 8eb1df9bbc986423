"""Keyset pages in SQL: newest first, no OFFSET."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.engine import Row

from connectors.adapters.postgres.transaction import Transaction
from connectors.domain.model.paging import Page, PageRequest, Position

T = TypeVar("T")


def page_of(
    statement: Select[Any], page: PageRequest, at: ColumnElement[Any], identifier: ColumnElement[Any]
) -> Select[Any]:
    """The statement, limited to one page and one further row."""
    if page.after is not None:
        # A row comparison, because an index on (…, at, id) starts reading exactly there.
        statement = statement.where(tuple_(at, identifier) < tuple_(page.after.at, page.after.id))
    return statement.order_by(at.desc(), identifier.desc()).limit(page.limit + 1)


def read_page(
    transaction: Transaction,
    statement: Select[Any],
    page: PageRequest,
    *,
    read: Callable[[Row[Any]], T],
    position: Callable[[T], Position],
) -> Page[T]:
    """The page of a statement made by `page_of`."""
    rows = transaction.all(statement)
    items = tuple(read(row) for row in rows[: page.limit])
    return Page(items, position(items[-1]) if len(rows) > page.limit else None)
