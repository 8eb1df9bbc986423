"""Streams, parked items and accounts instead of one cursor for each connection.

What was read stays read: `accounts.legacy` holds the cursor and the proven intervals until the first discovery divides
them among the streams.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = (
    """
    CREATE TABLE accounts (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        provider TEXT NOT NULL,
        requests JSONB NOT NULL,
        paused_until TIMESTAMP WITH TIME ZONE,
        pause_reason TEXT,
        limits INTEGER NOT NULL,
        outages INTEGER NOT NULL,
        suspects TEXT[] NOT NULL,
        last_turn TEXT NOT NULL,
        run BIGINT NOT NULL,
        running_since TIMESTAMP WITH TIME ZONE,
        heartbeat_at TIMESTAMP WITH TIME ZONE,
        is_history_only BOOLEAN NOT NULL,
        legacy JSONB,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, connection_id),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX accounts_running ON accounts (running_since) WHERE running_since IS NOT NULL",
    """
    CREATE TABLE streams (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        key TEXT COLLATE "C" NOT NULL,
        stream JSONB NOT NULL,
        status TEXT NOT NULL,
        reason TEXT,
        status_since TIMESTAMP WITH TIME ZONE NOT NULL,
        incremental JSONB NOT NULL,
        backfill JSONB NOT NULL,
        requested_at TIMESTAMP WITH TIME ZONE,
        served_at TIMESTAMP WITH TIME ZONE,
        bookmark JSONB,
        read_until TIMESTAMP WITH TIME ZONE,
        proven JSONB NOT NULL,
        read_once JSONB NOT NULL,
        is_dismissed BOOLEAN NOT NULL,
        given_up JSONB NOT NULL,
        found_at TIMESTAMP WITH TIME ZONE NOT NULL,
        listed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, connection_id, key),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX streams_blocked ON streams (connection_id) WHERE status = 'blocked'",
    """
    CREATE TABLE parked (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        stream_key TEXT COLLATE "C" NOT NULL,
        reference TEXT COLLATE "C" NOT NULL,
        reason TEXT NOT NULL,
        from_at TIMESTAMP WITH TIME ZONE NOT NULL,
        to_at TIMESTAMP WITH TIME ZONE NOT NULL,
        failures INTEGER NOT NULL,
        next_at TIMESTAMP WITH TIME ZONE NOT NULL,
        opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
        closed_at TIMESTAMP WITH TIME ZONE,
        closed_by TEXT,
        PRIMARY KEY (tenant_id, connection_id, stream_key, reference),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX parked_open ON parked (connection_id) WHERE closed_at IS NULL",
    "CREATE INDEX parked_closed ON parked (closed_at)",
)

# Instants become ISO 8601 texts in JSON; `adapters/stream_documents.py` reads them.
#
# Wanted is all since the account was connected, what finished backfills had read (also of streams that are found
# later), and what unfinished ones ask for. One with a target asks for all streams now: its target was no stream key.
# A backfill may have ended before there was a cursor. Then nobody can say which streams it had read: it is read again.
_CARRY_OVER = """
    INSERT INTO accounts (tenant_id, connection_id, provider, requests, limits, outages, suspects, last_turn, run,
                          is_history_only, legacy, updated_at)
    SELECT owner.tenant_id, owner.id, owner.provider,
           jsonb_build_array(jsonb_build_object('since', owner.created_at))
               || coalesce(finished.requests, '[]') || coalesce(unfinished.requests, '[]'),
           0, 0, '{}', '', 0, false,
           CASE WHEN state.cursor IS NOT NULL THEN jsonb_build_object(
               'cursor', state.cursor, 'read_until', state.read_until, 'proven', coalesce(proven.families, '{}')
           ) END,
           now()
    FROM connections owner
    LEFT JOIN sync_states state
        ON state.tenant_id = owner.tenant_id AND state.connection_id = owner.id AND state.target = ''
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(family, spans) AS families
        FROM (
            SELECT family, jsonb_agg(jsonb_build_array(from_at, to_at, path) ORDER BY from_at, path) AS spans
            FROM coverage
            WHERE tenant_id = owner.tenant_id AND connection_id = owner.id AND path IN ('sync', 'backfill')
                AND to_at > from_at
            GROUP BY family
        ) AS of_families
    ) AS proven ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_build_array(jsonb_build_object('since', min(from_at), 'until', max(to_at))) AS requests
        FROM coverage
        WHERE tenant_id = owner.tenant_id AND connection_id = owner.id AND path = 'backfill' AND to_at > from_at
        HAVING min(from_at) < owner.created_at
    ) AS finished ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(
            jsonb_strip_nulls(
                jsonb_build_object('since', coalesce(since, 'epoch'), 'until', until, 'job_id', id)
            ) ORDER BY scheduled_at, id
        ) AS requests
        FROM jobs
        WHERE tenant_id = owner.tenant_id AND connection_id = owner.id AND type = 'backfill'
            AND status IN ('queued', 'running')
    ) AS unfinished ON true
    WHERE state.cursor IS NOT NULL OR finished.requests IS NOT NULL OR unfinished.requests IS NOT NULL
"""

_UP = (
    *_TABLES,
    _CARRY_OVER,
    "DROP TABLE sync_states",
    "DELETE FROM coverage WHERE path IN ('sync', 'backfill')",
    "ALTER TABLE coverage_gaps ADD COLUMN stream TEXT",
    # Their workers are gone. They have begun: others like them may wait beside them.
    "UPDATE jobs SET status = 'queued', attempts = greatest(attempts, 1) WHERE status = 'running'",
    *(f"ALTER TABLE jobs DROP COLUMN {column}" for column in ("cursor", "failures", "run")),
    *(
        statement
        for column in ("streams_total", "streams_done", "streams_aside")
        for statement in (
            f"ALTER TABLE jobs ADD COLUMN {column} INTEGER DEFAULT 0 NOT NULL",
            f"ALTER TABLE jobs ALTER COLUMN {column} DROP DEFAULT",
        )
    ),
)

# Where the cursor has been divided among streams, the older version takes a new baseline, and claims nothing yet.
_DOWN = (
    """
    CREATE TABLE sync_states (
        tenant_id UUID NOT NULL,
        connection_id UUID NOT NULL,
        target TEXT NOT NULL,
        cursor JSONB NOT NULL,
        read_until TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant_id, connection_id, target),
        FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
    )
    """,
    """
    INSERT INTO sync_states (tenant_id, connection_id, target, cursor, read_until)
    SELECT tenant_id, connection_id, '', legacy -> 'cursor', CAST(legacy ->> 'read_until' AS timestamptz)
    FROM accounts WHERE legacy IS NOT NULL
    """,
    """
    INSERT INTO coverage (tenant_id, connection_id, path, family, from_at, to_at)
    SELECT tenant_id, connection_id, span ->> 2, family,
           CAST(span ->> 0 AS timestamptz), CAST(span ->> 1 AS timestamptz)
    FROM accounts, jsonb_each(legacy -> 'proven') AS proven (family, spans), jsonb_array_elements(spans) AS span
    WHERE legacy IS NOT NULL
    """,
    *(f"DROP TABLE {table}" for table in ("parked", "streams", "accounts")),
    "ALTER TABLE coverage_gaps DROP COLUMN stream",
    # What the older version cannot read gets the nearest that it knows. The cause goes into the reference, so that no
    # two gaps become one.
    """
    UPDATE coverage_gaps SET cause = 'history_lost', reference = left(cause || ' ' || reference, 465)
    WHERE cause IN ('history_hidden', 'stream_gone', 'stream_blocked', 'item_unreadable')
    """,
    "UPDATE coverage_gaps SET closed_by = NULL WHERE closed_by = 'person'",
    "DELETE FROM schedules WHERE kind = 'read'",
    "UPDATE jobs SET status = 'failed' WHERE status = 'partial'",
    *(f"ALTER TABLE jobs DROP COLUMN {column}" for column in ("streams_total", "streams_done", "streams_aside")),
    "ALTER TABLE jobs ADD COLUMN cursor JSONB",
    *(
        statement
        for column in ("failures", "run")
        for statement in (
            f"ALTER TABLE jobs ADD COLUMN {column} INTEGER DEFAULT 0 NOT NULL",
            f"ALTER TABLE jobs ALTER COLUMN {column} DROP DEFAULT",
        )
    ),
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
