"""Sync errors and webhook errors in columns of their own, and the schedule's kind of task under its own name."""

from alembic import op

revision = "0003"
down_revision = "0002"

_UP = (
    "ALTER TABLE schedules RENAME COLUMN errand TO kind",
    "DROP INDEX subscriptions_external",
    "ALTER TABLE connections RENAME COLUMN last_error TO sync_error",
    "ALTER TABLE connections ADD COLUMN webhook_error TEXT",
    "ALTER TABLE connections ADD COLUMN end_error TEXT",
    # On a connection disconnected here, the error is what the provider refused; otherwise the prefix gives its kind.
    """
    UPDATE connections SET end_error = sync_error, sync_error = NULL
    WHERE status = 'revoked' AND grant_id IS NULL AND sync_error IS NOT NULL
    """,
    """
    UPDATE connections SET webhook_error = substr(sync_error, length('Webhooks: ') + 1), sync_error = NULL
    WHERE sync_error LIKE 'Webhooks: %'
    """,
)

_DOWN = (
    "CREATE INDEX subscriptions_external ON subscriptions (provider, external_id)",
    """
    UPDATE connections SET sync_error = coalesce(sync_error, 'Webhooks: ' || webhook_error, end_error)
    WHERE webhook_error IS NOT NULL OR end_error IS NOT NULL
    """,
    "ALTER TABLE connections DROP COLUMN end_error",
    "ALTER TABLE connections DROP COLUMN webhook_error",
    "ALTER TABLE connections RENAME COLUMN sync_error TO last_error",
    "ALTER TABLE schedules RENAME COLUMN kind TO errand",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
