"""The first schema."""

from alembic import op

revision = "0001"
down_revision = None

# The owner of deliveries that belong to nobody (`ids.UNROUTED`): with it the foreign key holds for them too.
_UNROUTED = "INSERT INTO tenants (id, created_at) VALUES ('00000000-0000-0000-0000-000000000000', 'epoch')"

_STATEMENTS = (
    """
    CREATE TABLE tenants (
        id UUID NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE authorization_requests (
        tenant_id UUID NOT NULL,
        state_hash BYTEA NOT NULL,
        provider TEXT NOT NULL,
        redirect_uri TEXT NOT NULL,
        scopes TEXT[] NOT NULL,
        verifier_id UUID NOT NULL,
        code_verifier_key_id TEXT,
        code_verifier_nonce BYTEA,
        code_verifier_ciphertext BYTEA,
        options JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, state_hash),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX authorization_requests_expiry ON authorization_requests (expires_at)",
    "CREATE INDEX authorization_requests_state ON authorization_requests (state_hash)",
    """
    CREATE TABLE connections (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        provider TEXT NOT NULL,
        account_id TEXT NOT NULL,
        account_name TEXT NOT NULL,
        account_url TEXT,
        account_metadata JSONB NOT NULL,
        account_host TEXT,
        account_email TEXT,
        grant_id UUID,
        status TEXT NOT NULL,
        status_reason TEXT,
        scopes TEXT[] NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        metadata JSONB NOT NULL,
        last_synced_at TIMESTAMP WITH TIME ZONE,
        last_error TEXT,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT connections_account UNIQUE (tenant_id, provider, account_id),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX connections_by_account ON connections (provider, account_id)",
    "CREATE INDEX connections_by_email ON connections (provider, account_email)",
    "CREATE INDEX connections_by_host ON connections (provider, account_host)",
    "CREATE INDEX connections_grant ON connections (tenant_id, grant_id)",
    "CREATE INDEX connections_newest ON connections (tenant_id, created_at, id)",
    """
    CREATE TABLE deliveries (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        provider TEXT NOT NULL,
        connection_id UUID,
        delivery_id TEXT NOT NULL,
        event TEXT,
        headers JSONB NOT NULL,
        body BYTEA NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        status TEXT NOT NULL,
        error TEXT,
        signal_count INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT deliveries_identity UNIQUE (tenant_id, provider, delivery_id),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX deliveries_by_status ON deliveries (tenant_id, status, received_at, id)",
    "CREATE INDEX deliveries_newest ON deliveries (tenant_id, received_at, id)",
    """
    CREATE TABLE grants (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        provider TEXT NOT NULL,
        grant_key TEXT NOT NULL,
        token_set_key_id TEXT NOT NULL,
        token_set_nonce BYTEA NOT NULL,
        token_set_ciphertext BYTEA NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        refresh_expires_at TIMESTAMP WITH TIME ZONE,
        version INTEGER NOT NULL,
        refresh_attempted_at TIMESTAMP WITH TIME ZONE,
        leased_until TIMESTAMP WITH TIME ZONE,
        fencing_token BIGINT DEFAULT 0 NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT grants_key UNIQUE (tenant_id, provider, grant_key),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX grants_consent ON grants (grant_key)",
    """
    CREATE TABLE jobs (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        connection_id UUID NOT NULL,
        provider TEXT NOT NULL,
        type TEXT NOT NULL,
        status TEXT NOT NULL,
        since TIMESTAMP WITH TIME ZONE,
        until TIMESTAMP WITH TIME ZONE,
        target TEXT,
        cursor JSONB,
        attempts INTEGER NOT NULL,
        pages BIGINT NOT NULL,
        items BIGINT NOT NULL,
        signals BIGINT NOT NULL,
        error TEXT,
        scheduled_at TIMESTAMP WITH TIME ZONE NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE,
        finished_at TIMESTAMP WITH TIME ZONE,
        retry_after TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX jobs_by_connection ON jobs (tenant_id, connection_id, scheduled_at, id)",
    "CREATE INDEX jobs_by_status ON jobs (tenant_id, status, scheduled_at, id)",
    "CREATE INDEX jobs_newest ON jobs (tenant_id, scheduled_at, id)",
    """
    CREATE UNIQUE INDEX jobs_queued ON jobs (tenant_id, connection_id, type, target)
    NULLS NOT DISTINCT WHERE status = 'queued'
    """,
    """
    CREATE TABLE signals (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        connection_id UUID NOT NULL,
        provider TEXT NOT NULL,
        kind TEXT NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        title TEXT NOT NULL,
        url TEXT,
        actor JSONB,
        subject JSONB NOT NULL,
        container JSONB,
        dedupe_key TEXT NOT NULL,
        origin TEXT NOT NULL,
        payload JSONB,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT signals_happening UNIQUE (tenant_id, provider, dedupe_key),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX signals_by_connection ON signals (tenant_id, connection_id, occurred_at, id)",
    "CREATE INDEX signals_by_connection_kind ON signals (tenant_id, connection_id, kind, occurred_at, id)",
    "CREATE INDEX signals_by_kind ON signals (tenant_id, kind, occurred_at, id)",
    "CREATE INDEX signals_by_provider ON signals (tenant_id, provider, occurred_at, id)",
    "CREATE INDEX signals_by_provider_kind ON signals (tenant_id, provider, kind, occurred_at, id)",
    "CREATE INDEX signals_newest ON signals (tenant_id, occurred_at, id)",
    """
    CREATE TABLE snapshots (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        key TEXT NOT NULL,
        state JSONB NOT NULL,
        PRIMARY KEY (tenant_id, connection_id, key),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE subscriptions (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        connection_id UUID NOT NULL,
        provider TEXT NOT NULL,
        target TEXT NOT NULL,
        status TEXT NOT NULL,
        external_id TEXT,
        secret_key_id TEXT,
        secret_nonce BYTEA,
        secret_ciphertext BYTEA,
        expires_at TIMESTAMP WITH TIME ZONE,
        metadata JSONB NOT NULL,
        error TEXT,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX subscriptions_connection ON subscriptions (tenant_id, connection_id, created_at)",
    "CREATE INDEX subscriptions_expiry ON subscriptions (status, expires_at)",
    "CREATE INDEX subscriptions_external ON subscriptions (provider, external_id)",
    "CREATE INDEX subscriptions_named ON subscriptions (tenant_id, provider, external_id)",
    "CREATE INDEX subscriptions_pending ON subscriptions (tenant_id, provider) WHERE status = 'pending'",
    """
    CREATE TABLE sync_states (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        target TEXT NOT NULL,
        cursor JSONB NOT NULL,
        PRIMARY KEY (tenant_id, connection_id, target),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    _UNROUTED,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "sync_states",
        "subscriptions",
        "snapshots",
        "signals",
        "jobs",
        "grants",
        "deliveries",
        "connections",
        "authorization_requests",
        "tenants",
    ):
        op.execute(f"DROP TABLE {table}")
