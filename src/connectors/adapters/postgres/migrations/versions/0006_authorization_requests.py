"""Authorization requests that live until they expire: who has taken one, and how it ended."""

from alembic import op

revision = "0006"
down_revision = "0005"

_COLUMNS = {
    "connection_id": "UUID",
    "taken_at": "TIMESTAMP WITH TIME ZONE",
    "leased_until": "TIMESTAMP WITH TIME ZONE",
    "code_hash": "BYTEA",
    "finished_at": "TIMESTAMP WITH TIME ZONE",
    "connection_ids": "UUID[] NOT NULL DEFAULT '{}'",
    "problem_code": "TEXT",
    "problem": "JSONB",
}


def upgrade() -> None:
    for name, kind in _COLUMNS.items():
        op.execute(f"ALTER TABLE authorization_requests ADD COLUMN {name} {kind}")


def downgrade() -> None:
    # The former code takes whatever is there for pending.
    op.execute("DELETE FROM authorization_requests WHERE taken_at IS NOT NULL")
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE authorization_requests DROP COLUMN {name}")
