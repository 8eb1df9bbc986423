"""Grants and subscriptions stay on record until their end at the vendor is proven."""

from alembic import op

revision = "0008"
down_revision = "0007"

_UP = (
    *(
        f"ALTER TABLE {table} ADD COLUMN {column}"
        for table in ("grants", "subscriptions")
        for column in (
            "end_since TIMESTAMP WITH TIME ZONE",
            "end_failures INTEGER NOT NULL DEFAULT 0",
            "end_error TEXT",
        )
    ),
    "ALTER TABLE grants ADD COLUMN state TEXT NOT NULL DEFAULT 'live'",
    "ALTER TABLE grants ALTER COLUMN state DROP DEFAULT",
    "ALTER TABLE grants ALTER COLUMN grant_key DROP NOT NULL",
    "ALTER TABLE grants ALTER COLUMN token_set_key_id DROP NOT NULL",
    "ALTER TABLE grants ALTER COLUMN token_set_nonce DROP NOT NULL",
    "ALTER TABLE grants ALTER COLUMN token_set_ciphertext DROP NOT NULL",
    "ALTER TABLE grants DROP CONSTRAINT grants_key",
    "CREATE UNIQUE INDEX grants_key ON grants (tenant_id, provider, grant_key) WHERE state = 'live'",
    "CREATE INDEX grants_ending ON grants (end_since) WHERE state = 'ending'",
    "CREATE INDEX grants_over ON grants (updated_at) WHERE state IN ('ended', 'left')",
    "ALTER TABLE subscriptions ADD COLUMN grant_id UUID",
    "ALTER TABLE subscriptions ADD COLUMN called_until TIMESTAMP WITH TIME ZONE",
    "CREATE INDEX subscriptions_grant ON subscriptions (tenant_id, grant_id)",
    "CREATE INDEX subscriptions_ending ON subscriptions (end_since) WHERE status = 'ending'",
    "CREATE INDEX subscriptions_over ON subscriptions (updated_at) WHERE status IN ('ended', 'left')",
    # Those that were set up by hand, or only hold the key of a URL, are nothing that tokens have made.
    """
    UPDATE subscriptions SET grant_id = connections.grant_id FROM connections
    WHERE connections.tenant_id = subscriptions.tenant_id AND connections.id = subscriptions.connection_id
    AND subscriptions.status <> 'ended' AND subscriptions.target NOT IN ('webhook', 'url')
    """,
    # Made while their connection ended: nobody has removed them.
    """
    UPDATE subscriptions SET status = 'ending', end_since = now() FROM connections
    WHERE connections.tenant_id = subscriptions.tenant_id AND connections.id = subscriptions.connection_id
    AND connections.status = 'revoked' AND subscriptions.status IN ('pending', 'active')
    AND subscriptions.grant_id IS NOT NULL
    """,
    # What the vendor has ended: until now such grants and their secrets were kept for ever.
    """
    UPDATE grants SET state = 'ending', end_since = now() WHERE NOT EXISTS (
        SELECT FROM connections WHERE connections.tenant_id = grants.tenant_id AND connections.grant_id = grants.id
        AND connections.status <> 'revoked'
    )
    """,
    """
    DELETE FROM schedules USING grants WHERE schedules.tenant_id = grants.tenant_id
    AND schedules.subject_id = grants.id AND schedules.kind = 'refresh' AND grants.state = 'ending'
    """,
    # Spread over a quarter of an hour: there may be many.
    """
    INSERT INTO schedules (tenant_id, subject_id, kind, next_at)
    SELECT tenant_id, id, 'end', now() + random() * interval '15 minutes'
    FROM (
        SELECT tenant_id, id FROM subscriptions WHERE status = 'ending'
        UNION ALL SELECT tenant_id, id FROM grants WHERE state = 'ending'
    ) AS ending
    """,
    "ALTER TABLE authorization_requests ADD COLUMN grant_id UUID",
    "ALTER TABLE tenants ADD COLUMN erased_at TIMESTAMP WITH TIME ZONE",
    "CREATE INDEX tenants_erased ON tenants (erased_at) WHERE erased_at IS NOT NULL",
)

_DOWN = (
    "DELETE FROM tenants WHERE erased_at IS NOT NULL",
    "DROP INDEX tenants_erased",
    "ALTER TABLE tenants DROP COLUMN erased_at",
    "ALTER TABLE authorization_requests DROP COLUMN grant_id",
    "DELETE FROM schedules WHERE kind = 'end'",
    "DELETE FROM grants WHERE state <> 'live'",
    # The former code takes a grant that a connection names for one that is there.
    """
    UPDATE connections SET grant_id = NULL WHERE status = 'revoked' AND NOT EXISTS (
        SELECT FROM grants WHERE grants.tenant_id = connections.tenant_id AND grants.id = connections.grant_id
    )
    """,
    """
    UPDATE subscriptions SET status = 'ended', secret_key_id = NULL, secret_nonce = NULL, secret_ciphertext = NULL
    WHERE status IN ('ending', 'left')
    """,
    # Statuses that the former code does not know.
    "UPDATE subscriptions SET status = 'failed' WHERE status = 'refused'",
    "DROP INDEX subscriptions_over",
    "DROP INDEX subscriptions_ending",
    "DROP INDEX subscriptions_grant",
    "ALTER TABLE subscriptions DROP COLUMN called_until",
    "ALTER TABLE subscriptions DROP COLUMN grant_id",
    "DROP INDEX grants_over",
    "DROP INDEX grants_ending",
    "DROP INDEX grants_key",
    "ALTER TABLE grants ADD CONSTRAINT grants_key UNIQUE (tenant_id, provider, grant_key)",
    "ALTER TABLE grants ALTER COLUMN grant_key SET NOT NULL",
    "ALTER TABLE grants ALTER COLUMN token_set_key_id SET NOT NULL",
    "ALTER TABLE grants ALTER COLUMN token_set_nonce SET NOT NULL",
    "ALTER TABLE grants ALTER COLUMN token_set_ciphertext SET NOT NULL",
    "ALTER TABLE grants DROP COLUMN state",
    *(
        f"ALTER TABLE {table} DROP COLUMN {column}"
        for table in ("grants", "subscriptions")
        for column in ("end_since", "end_failures", "end_error")
    ),
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
