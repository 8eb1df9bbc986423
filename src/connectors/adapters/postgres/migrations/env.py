"""Run by Alembic: the migrations, on the connection and in the transaction of `migrate.upgrade`."""

from alembic import context

from connectors.adapters.postgres.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
