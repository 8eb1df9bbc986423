"""When a refresh token of unknown outcome was sent for the last time."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE grants ADD COLUMN refresh_sent_at TIMESTAMP WITH TIME ZONE")
    op.execute("UPDATE grants SET refresh_sent_at = refresh_attempted_at")


def downgrade() -> None:
    op.execute("ALTER TABLE grants DROP COLUMN refresh_sent_at")
