"""Sync errors and webhook errors in columns of their own, and the schedule's kind of task under its own name."""

from alembic import op

revision = "0003"
down_revision = "0002"

_UP = ("ALTER TABLE schedules RENAME COLUMN errand TO kind",)

_DOWN = ("ALTER TABLE schedules RENAME COLUMN kind TO errand",)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
