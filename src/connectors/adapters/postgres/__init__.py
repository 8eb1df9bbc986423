"""Every store in PostgreSQL 15 or newer: SQLAlchemy Core, psycopg 3, Alembic; and an embedded server."""

from connectors.adapters.postgres.engine import create_engine
from connectors.adapters.postgres.unit_of_work import PostgresUnitOfWork, postgres_unit_of_work

__all__ = ["PostgresUnitOfWork", "create_engine", "postgres_unit_of_work"]
