"""Why connections are not active, when their users last consented, and which of them are said to have ended."""

from alembic import op

revision = "0007"
down_revision = "0006"

_UP = (
    "ALTER TABLE connections ADD COLUMN reason_code TEXT",
    "ALTER TABLE connections ADD COLUMN suspected_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE connections ADD COLUMN consented_at TIMESTAMP WITH TIME ZONE",
    # The last refresh is the latest proof that the consent was alive. Events from before do not end it.
    """
    UPDATE connections SET consented_at = coalesce(
        (SELECT updated_at FROM grants WHERE tenant_id = connections.tenant_id AND id = connections.grant_id),
        created_at
    )
    """,
    "ALTER TABLE connections ALTER COLUMN consented_at SET NOT NULL",
    "UPDATE connections SET reason_code = 'user_disconnected' WHERE status = 'revoked' AND grant_id IS NULL",
    "UPDATE connections SET reason_code = 'withdrawn_at_provider' WHERE status = 'revoked' AND grant_id IS NOT NULL",
    "UPDATE connections SET reason_code = 'operator' WHERE status = 'disabled'",
)

_DOWN = (
    "DELETE FROM schedules WHERE kind = 'prove'",
    *(f"ALTER TABLE connections DROP COLUMN {column}" for column in ("reason_code", "suspected_at", "consented_at")),
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
