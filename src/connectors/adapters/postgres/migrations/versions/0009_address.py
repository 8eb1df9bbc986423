"""Subscriptions say where they deliver to, so that it is noticed when our public URL moves."""

from alembic import op

revision = "0009"
down_revision = "0008"

_UP = (
    "ALTER TABLE subscriptions ADD COLUMN address TEXT",
    # These two have always stored it. Where a row does not say, the provider is asked.
    "UPDATE subscriptions SET address = metadata->>'url' WHERE provider = 'jira'",
    "UPDATE subscriptions SET address = metadata->>'topic' WHERE provider = 'gmail'",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE subscriptions DROP COLUMN address")
