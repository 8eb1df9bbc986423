"""The tables. Each key starts with `tenant_id`, so that sharding or partitioning by tenant needs no redesign.

The migrations create them; a test compares the two.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect

from connectors.adapters.storable import clean_text, key_text


class CleanText(TypeDecorator[str]):
    """Text without the characters that PostgreSQL refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The text as it is stored."""
        return None if value is None else clean_text(value)


class KeyText(TypeDecorator[str]):
    """Text that fits into an index, however long the foreign text is."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The text as it is stored and looked up."""
        return None if value is None else key_text(value)


METADATA = MetaData()


def _tenant_id() -> Column[Any]:
    return Column("tenant_id", Uuid, ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False)


def _id(name: str = "id", *, nullable: bool = False) -> Column[Any]:
    return Column(name, Uuid, nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, CleanText, nullable=nullable)


def _key(name: str, *, nullable: bool = False, collation: str | None = None) -> Column[Any]:
    return Column(name, KeyText(collation=collation), nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=nullable)


def _sealed(prefix: str, *, nullable: bool = False) -> tuple[Column[Any], Column[Any], Column[Any]]:
    return (
        Column(f"{prefix}_key_id", Text, nullable=nullable),
        Column(f"{prefix}_nonce", LargeBinary, nullable=nullable),
        Column(f"{prefix}_ciphertext", LargeBinary, nullable=nullable),
    )


def _ending() -> tuple[Column[Any], Column[Any], Column[Any]]:
    return (
        _at("end_since", nullable=True),
        Column("end_failures", Integer, nullable=False, server_default=text("0")),
        _text("end_error", nullable=True),
    )


# One row, `ids.UNROUTED`, exists from the first migration on: it owns deliveries without an owner.
tenants = Table(
    "tenants",
    METADATA,
    Column("id", Uuid, primary_key=True),
    _at("created_at"),
    _at("erased_at", nullable=True),
    Index("tenants_erased", "erased_at", postgresql_where=text("erased_at IS NOT NULL")),
)

connections = Table(
    "connections",
    METADATA,
    _tenant_id(),
    _id(),
    _text("provider"),
    _key("account_id"),
    _text("account_name"),
    _text("account_url", nullable=True),
    _json("account_metadata"),
    # Derived from the account when it is saved: app-level webhooks name the account by these.
    _key("account_host", nullable=True),
    _key("account_email", nullable=True),
    Column("grant_id", Uuid),
    _text("status"),
    _text("status_reason", nullable=True),
    _text("reason_code", nullable=True),
    Column("scopes", ARRAY(CleanText), nullable=False),
    _at("expires_at", nullable=True),
    _json("metadata"),
    _at("last_synced_at", nullable=True),
    _text("sync_error", nullable=True),
    _text("webhook_error", nullable=True),
    _text("end_error", nullable=True),
    _at("suspected_at", nullable=True),
    _at("created_at"),
    _at("consented_at"),
    _at("updated_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "provider", "account_id", name="connections_account"),
    Index("connections_newest", "tenant_id", "created_at", "id"),
    Index("connections_grant", "tenant_id", "grant_id"),
    Index("connections_by_account", "provider", "account_id"),
    Index("connections_by_host", "provider", "account_host"),
    Index("connections_by_email", "provider", "account_email"),
)

grants = Table(
    "grants",
    METADATA,
    _tenant_id(),
    _id(),
    _text("provider"),
    _text("state"),
    _key("grant_key", nullable=True),
    *_sealed("token_set", nullable=True),
    _at("expires_at", nullable=True),
    _at("refresh_expires_at", nullable=True),
    Column("version", Integer, nullable=False),
    # A refresh of unknown outcome: when its token was sent for the first and for the last time.
    _at("refresh_attempted_at", nullable=True),
    _at("refresh_sent_at", nullable=True),
    # The refresh lease: null if nobody holds it; the fencing token counts all leases so far.
    _at("leased_until", nullable=True),
    Column("fencing_token", BigInteger, nullable=False, server_default=text("0")),
    *_ending(),
    _at("created_at"),
    _at("updated_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("grants_key", "tenant_id", "provider", "grant_key", unique=True, postgresql_where=text("state = 'live'")),
    Index("grants_consent", "grant_key"),
    Index("grants_ending", "end_since", postgresql_where=text("state = 'ending'")),
    Index("grants_over", "updated_at", postgresql_where=text("state IN ('ended', 'left')")),
)

authorization_requests = Table(
    "authorization_requests",
    METADATA,
    _tenant_id(),
    Column("state_hash", LargeBinary, nullable=False),
    _text("provider"),
    _text("redirect_uri"),
    Column("scopes", ARRAY(CleanText), nullable=False),
    _id("verifier_id"),
    *_sealed("code_verifier", nullable=True),
    _json("options"),
    _id("connection_id", nullable=True),
    _at("created_at"),
    _at("expires_at"),
    _at("taken_at", nullable=True),
    _at("leased_until", nullable=True),
    Column("code_hash", LargeBinary),
    _id("grant_id", nullable=True),
    _at("finished_at", nullable=True),
    Column("connection_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    _text("problem_code", nullable=True),
    _json("problem", nullable=True),
    PrimaryKeyConstraint("tenant_id", "state_hash"),
    Index("authorization_requests_state", "state_hash"),
    Index("authorization_requests_expiry", "expires_at"),
)

subscriptions = Table(
    "subscriptions",
    METADATA,
    _tenant_id(),
    _id(),
    _id("connection_id"),
    _text("provider"),
    _text("target"),
    _text("status"),
    _key("external_id", nullable=True),
    *_sealed("secret", nullable=True),
    _at("expires_at", nullable=True),
    _json("metadata"),
    _text("error", nullable=True),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    _at("checked_at", nullable=True),
    _text("address", nullable=True),
    _id("grant_id", nullable=True),
    _at("called_until", nullable=True),
    *_ending(),
    _at("created_at"),
    _at("updated_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("subscriptions_connection", "tenant_id", "connection_id", "created_at"),
    Index("subscriptions_grant", "tenant_id", "grant_id"),
    Index("subscriptions_ending", "end_since", postgresql_where=text("status = 'ending'")),
    Index("subscriptions_over", "updated_at", postgresql_where=text("status IN ('ended', 'left')")),
    Index("subscriptions_named", "tenant_id", "provider", "external_id"),
    Index("subscriptions_pending", "tenant_id", "provider", postgresql_where=text("status = 'pending'")),
    Index("subscriptions_expiry", "status", "expires_at"),
)

deliveries = Table(
    "deliveries",
    METADATA,
    _tenant_id(),
    _id(),
    _text("provider"),
    Column("connection_id", Uuid),
    _key("delivery_id"),
    _text("event", nullable=True),
    _json("headers"),
    Column("body", LargeBinary, nullable=False),
    _at("received_at"),
    _text("status"),
    _text("error", nullable=True),
    Column("signal_count", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "provider", "delivery_id", name="deliveries_identity"),
    Index("deliveries_newest", "tenant_id", "received_at", "id"),
    Index("deliveries_by_status", "tenant_id", "status", "received_at", "id"),
)

signals = Table(
    "signals",
    METADATA,
    _tenant_id(),
    _id(),
    _id("connection_id"),
    _text("provider"),
    _text("kind"),
    _at("occurred_at"),
    _at("received_at"),
    _text("title"),
    _text("url", nullable=True),
    _json("actor", nullable=True),
    _json("subject"),
    _json("container", nullable=True),
    _key("dedupe_key"),
    _text("origin"),
    _json("payload", nullable=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "provider", "dedupe_key", name="signals_happening"),
    # One index per set of equality filters, each ending in the keyset (occurred_at, id): every list is one range of one
    # index. A connection has one provider, so provider with connection needs no index of its own.
    Index("signals_newest", "tenant_id", "occurred_at", "id"),
    Index("signals_by_provider", "tenant_id", "provider", "occurred_at", "id"),
    Index("signals_by_connection", "tenant_id", "connection_id", "occurred_at", "id"),
    Index("signals_by_kind", "tenant_id", "kind", "occurred_at", "id"),
    Index("signals_by_provider_kind", "tenant_id", "provider", "kind", "occurred_at", "id"),
    Index("signals_by_connection_kind", "tenant_id", "connection_id", "kind", "occurred_at", "id"),
)

snapshots = Table(
    "snapshots",
    METADATA,
    _tenant_id(),
    _id("connection_id"),
    _key("key"),
    _json("state"),
    PrimaryKeyConstraint("tenant_id", "connection_id", "key"),
)

accounts = Table(
    "accounts",
    METADATA,
    _tenant_id(),
    _id("connection_id"),
    _text("provider"),
    _json("requests"),
    _at("paused_until", nullable=True),
    _text("pause_reason", nullable=True),
    Column("limits", Integer, nullable=False),
    Column("outages", Integer, nullable=False),
    Column("suspects", ARRAY(CleanText), nullable=False),
    _text("last_turn"),
    Column("run", BigInteger, nullable=False),
    _at("running_since", nullable=True),
    _at("heartbeat_at", nullable=True),
    Column("is_history_only", Boolean, nullable=False),
    _json("legacy", nullable=True),
    _at("updated_at"),
    PrimaryKeyConstraint("tenant_id", "connection_id"),
    # Few rows. Not by `heartbeat_at`: that changes with every page, and these updates stay on their page, too.
    Index("accounts_running", "running_since", postgresql_where=text("running_since IS NOT NULL")),
    postgresql_with={"fillfactor": "70"},
)

# No index on what changes with every read: updates of quiet streams stay on their page. A connection's streams are one
# range of the primary key, in the order of code points, as Python sorts.
streams = Table(
    "streams",
    METADATA,
    _tenant_id(),
    _id("connection_id"),
    _key("key", collation="C"),
    _json("stream"),
    _text("status"),
    _text("reason", nullable=True),
    _at("status_since"),
    _json("incremental"),
    _json("backfill"),
    _at("requested_at", nullable=True),
    _at("served_at", nullable=True),
    _json("bookmark", nullable=True),
    _at("read_until", nullable=True),
    _json("proven"),
    _json("read_once"),
    Column("is_dismissed", Boolean, nullable=False),
    _json("given_up"),
    _at("found_at"),
    _at("listed_at"),
    _at("updated_at"),
    PrimaryKeyConstraint("tenant_id", "connection_id", "key"),
    Index("streams_blocked", "connection_id", postgresql_where=text("status = 'blocked'")),
    postgresql_with={"fillfactor": "70"},
)

parked = Table(
    "parked",
    METADATA,
    _tenant_id(),
    _id("connection_id"),
    _key("stream_key", collation="C"),
    _key("reference", collation="C"),
    _text("reason"),
    _at("from_at"),
    _at("to_at"),
    Column("failures", Integer, nullable=False),
    _at("next_at"),
    _at("opened_at"),
    _at("closed_at", nullable=True),
    _text("closed_by", nullable=True),
    PrimaryKeyConstraint("tenant_id", "connection_id", "stream_key", "reference"),
    Index("parked_open", "connection_id", postgresql_where=text("closed_at IS NULL")),
    Index("parked_closed", "closed_at"),
)

jobs = Table(
    "jobs",
    METADATA,
    _tenant_id(),
    _id(),
    _id("connection_id"),
    _text("provider"),
    _text("type"),
    _text("status"),
    _at("since", nullable=True),
    _at("until", nullable=True),
    _key("target", nullable=True),
    Column("attempts", Integer, nullable=False),
    Column("streams_total", Integer, nullable=False),
    Column("streams_done", Integer, nullable=False),
    Column("streams_aside", Integer, nullable=False),
    Column("pages", BigInteger, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("signals", BigInteger, nullable=False),
    _text("error", nullable=True),
    _text("trace_id", nullable=True),
    _at("scheduled_at"),
    _at("started_at", nullable=True),
    _at("finished_at", nullable=True),
    _at("retry_after", nullable=True),
    _at("updated_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index(
        "jobs_queued",
        "tenant_id",
        "connection_id",
        "type",
        "target",
        unique=True,
        postgresql_where=text("status = 'queued' AND attempts = 0"),
        postgresql_nulls_not_distinct=True,
    ),
    Index("jobs_newest", "tenant_id", "scheduled_at", "id"),
    Index("jobs_by_connection", "tenant_id", "connection_id", "scheduled_at", "id"),
    Index("jobs_by_status", "tenant_id", "status", "scheduled_at", "id"),
    # Few rows, however long the history: those that the engine counts and rescues.
    Index("jobs_unfinished", "updated_at", postgresql_where=text("status IN ('queued', 'running')")),
    Index("jobs_finished", "finished_at", postgresql_where=text("status NOT IN ('queued', 'running')")),
)

schedules = Table(
    "schedules",
    METADATA,
    _tenant_id(),
    _id("subject_id"),
    _text("kind"),
    _at("next_at"),
    PrimaryKeyConstraint("tenant_id", "subject_id", "kind"),
    Index("schedules_due", "kind", "next_at"),
)

coverage = Table(
    "coverage",
    METADATA,
    _tenant_id(),
    _id("connection_id"),
    _text("path"),
    _key("family"),
    _at("from_at"),
    # Null: it still grows.
    _at("to_at", nullable=True),
    PrimaryKeyConstraint("tenant_id", "connection_id", "path", "family", "from_at"),
)

coverage_gaps = Table(
    "coverage_gaps",
    METADATA,
    _tenant_id(),
    _id(),
    _id("connection_id"),
    _key("family"),
    _text("cause"),
    _key("reference"),
    _text("reason"),
    _key("stream", nullable=True),
    _at("from_at"),
    _at("to_at", nullable=True),
    _at("opened_at"),
    _at("closed_at", nullable=True),
    _text("closed_by", nullable=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    # The same problem never opens a second gap; one without a reference may be opened again once it is closed.
    Index(
        "coverage_gaps_open",
        "tenant_id",
        "connection_id",
        "family",
        "cause",
        "reference",
        unique=True,
        postgresql_where=text("closed_at IS NULL OR reference <> ''"),
    ),
    Index("coverage_gaps_connection", "tenant_id", "connection_id", "from_at"),
    Index("coverage_gaps_closed", "closed_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    _tenant_id(),
    _key("key"),
    _text("fingerprint"),
    Column("job_ids", ARRAY(Uuid), nullable=False),
    _at("created_at"),
    PrimaryKeyConstraint("tenant_id", "key"),
    Index("idempotency_keys_age", "created_at"),
)

# The vendors' limits on our app or on an account apply to all tenants that share them: no tenant here.
rate_limits = Table(
    "rate_limits",
    METADATA,
    _key("key"),
    _at("next_at"),
    _at("paused_until"),
    PrimaryKeyConstraint("key"),
)

# The job queue's own migrations that have been run. Its tables are not described here.
queue_migrations = Table("queue_migrations", METADATA, _text("name"), _at("applied_at"), PrimaryKeyConstraint("name"))
