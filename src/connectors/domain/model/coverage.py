"""Coverage: intervals that are proven complete, and gaps in which something may be missing."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import attrs

from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.instant import optional_utc, utc

ALL_FAMILIES = "*"
"""The family of a gap when nobody can tell which events were lost: it applies to all of them."""


class CoveragePath(StrEnum):
    """How an interval was proven."""

    WEBHOOK = "webhook"
    """The stream of deliveries was unbroken."""
    SYNC = "sync"
    """An incremental sync run covered it."""
    BACKFILL = "backfill"
    """A backfill covered it."""


@attrs.frozen(kw_only=True)
class Interval:
    """An interval that is proven complete for one family of events of one connection."""

    tenant_id: TenantId
    connection_id: ConnectionId
    family: str
    path: CoveragePath
    from_at: datetime = attrs.field(converter=utc)
    to_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """None: it still grows (a stream of deliveries)."""


class GapCause(StrEnum):
    """Why something may be missing."""

    STREAM_BROKEN = "stream_broken"
    """A subscription lapsed, was refused or died."""
    DELIVERY_FAILED = "delivery_failed"
    """A delivery arrived that we could not read; `reference` is our id of it."""
    DELIVERY_MISSED = "delivery_missed"
    """The vendor's log lists a delivery that never arrived; `reference` is the vendor's id of it."""
    HISTORY_LOST = "history_lost"
    """The vendor no longer says what happened (an expired cursor)."""
    HISTORY_HIDDEN = "history_hidden"
    """The vendor shows nothing older (a free plan)."""
    STREAM_BLOCKED = "stream_blocked"
    """A stream cannot be read; `reference` is its key. It is tried again for ever. Computed, not stored."""
    STREAM_GONE = "stream_gone"
    """A stream is neither listed nor shown any more; `reference` is its key."""
    ITEM_UNREADABLE = "item_unreadable"
    """One thing cannot be read; `reference` is its stream's key and its own. Computed, not stored."""


class GapClosedBy(StrEnum):
    """What closed a gap."""

    WEBHOOK = "webhook"
    SYNC = "sync"
    BACKFILL = "backfill"
    PERSON = "person"
    """Somebody gave it up."""


@attrs.frozen(kw_only=True)
class Gap:
    """A period in which events of one family may be missing."""

    id: UUID
    tenant_id: TenantId
    connection_id: ConnectionId
    family: str
    cause: GapCause
    reference: str = ""
    """Together with family and cause, it identifies the gap: the same problem never opens a second one."""
    reason: str
    """In words, for operators."""
    stream: str | None = None
    """The key of the stream that it is about, if it is about one."""
    from_at: datetime = attrs.field(converter=utc)
    to_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """None: it still grows, until the stream is restored."""
    opened_at: datetime = attrs.field(converter=utc)
    closed_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    closed_by: GapClosedBy | None = None
