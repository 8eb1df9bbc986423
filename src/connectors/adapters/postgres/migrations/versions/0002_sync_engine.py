"""The tables of the sync engine."""

from alembic import op

revision = "0002"
down_revision = "0001"

_UP = (
    "ALTER TABLE subscriptions ADD COLUMN failures INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE subscriptions ADD COLUMN checked_at TIMESTAMP WITH TIME ZONE",
    # How far existing cursors have read is unknown: nothing before now counts as proven by them.
    "ALTER TABLE sync_states ADD COLUMN read_until TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL",
    "ALTER TABLE sync_states ALTER COLUMN read_until DROP DEFAULT",
    "ALTER TABLE jobs ADD COLUMN failures INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE jobs ALTER COLUMN failures DROP DEFAULT",
    "ALTER TABLE jobs ADD COLUMN run INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE jobs ALTER COLUMN run DROP DEFAULT",
    "ALTER TABLE jobs ADD COLUMN trace_id TEXT",
    "ALTER TABLE jobs ADD COLUMN updated_at TIMESTAMP WITH TIME ZONE",
    "UPDATE jobs SET updated_at = coalesce(finished_at, started_at, scheduled_at)",
    "ALTER TABLE jobs ALTER COLUMN updated_at SET NOT NULL",
    "DROP INDEX jobs_queued",
    """
    CREATE UNIQUE INDEX jobs_queued ON jobs (tenant_id, connection_id, type, target)
    NULLS NOT DISTINCT WHERE status = 'queued' AND attempts = 0
    """,
    "CREATE INDEX jobs_unfinished ON jobs (updated_at) WHERE status IN ('queued', 'running')",
    "CREATE INDEX jobs_finished ON jobs (finished_at) WHERE status NOT IN ('queued', 'running')",
    """
    CREATE TABLE schedules (
        tenant_id UUID NOT NULL,
        subject_id UUID NOT NULL,
        errand TEXT NOT NULL,
        next_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, subject_id, errand),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX schedules_due ON schedules (errand, next_at)",
    """
    CREATE TABLE coverage (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        path TEXT NOT NULL,
        family TEXT NOT NULL,
        from_at TIMESTAMP WITH TIME ZONE NOT NULL,
        to_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (tenant_id, connection_id, path, family, from_at),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE coverage_gaps (
        tenant_id UUID NOT NULL,
        id UUID NOT NULL,
        connection_id UUID NOT NULL,
        family TEXT NOT NULL,
        cause TEXT NOT NULL,
        reference TEXT NOT NULL,
        reason TEXT NOT NULL,
        from_at TIMESTAMP WITH TIME ZONE NOT NULL,
        to_at TIMESTAMP WITH TIME ZONE,
        opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
        closed_at TIMESTAMP WITH TIME ZONE,
        closed_by TEXT,
        PRIMARY KEY (tenant_id, id),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE UNIQUE INDEX coverage_gaps_open ON coverage_gaps (tenant_id, connection_id, family, cause, reference)
    WHERE closed_at IS NULL OR reference <> ''
    """,
    "CREATE INDEX coverage_gaps_connection ON coverage_gaps (tenant_id, connection_id, from_at)",
    "CREATE INDEX coverage_gaps_closed ON coverage_gaps (closed_at)",
    """
    CREATE TABLE idempotency_keys (
        tenant_id UUID NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        job_ids UUID[] NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, key),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at)",
    """
    CREATE TABLE rate_limits (
        key TEXT NOT NULL,
        next_at TIMESTAMP WITH TIME ZONE NOT NULL,
        paused_until TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (key)
    )
    """,
    # It still exists after a downgrade: it belongs to the queue, to which we only ever add.
    """
    CREATE TABLE IF NOT EXISTS queue_migrations (
        name TEXT NOT NULL,
        applied_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    # Existing connections become due from now on, spread over a quarter of an hour.
    """
    INSERT INTO schedules (tenant_id, subject_id, errand, next_at)
    SELECT tenant_id, id, errand, now() + random() * interval '15 minutes'
    FROM connections, (VALUES ('sync'), ('tend')) AS errands (errand)
    WHERE status <> 'revoked'
    """,
    """
    INSERT INTO schedules (tenant_id, subject_id, errand, next_at)
    SELECT tenant_id, id, 'refresh', now() + random() * interval '1 day' FROM grants
    """,
)

_DOWN = (
    *(f"DROP TABLE {table}" for table in ("rate_limits", "idempotency_keys", "coverage_gaps", "coverage", "schedules")),
    "DROP INDEX jobs_finished",
    "DROP INDEX jobs_unfinished",
    "DROP INDEX jobs_queued",
    """
    CREATE UNIQUE INDEX jobs_queued ON jobs (tenant_id, connection_id, type, target)
    NULLS NOT DISTINCT WHERE status = 'queued'
    """,
    *(f"ALTER TABLE jobs DROP COLUMN {column}" for column in ("updated_at", "trace_id", "run", "failures")),
    "ALTER TABLE sync_states DROP COLUMN read_until",
    *(f"ALTER TABLE subscriptions DROP COLUMN {column}" for column in ("checked_at", "failures")),
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
