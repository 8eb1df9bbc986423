"""What comes round: when which thing is to be looked after next."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import attrs

from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.instant import utc


class Errand(StrEnum):
    """What is done when its time has come."""

    SYNC = "sync"
    """Read what is new: the subject is a connection."""
    TEND = "tend"
    """Look after webhook subscriptions: the subject is a connection."""
    REFRESH = "refresh"
    """Refresh tokens that would die unused: the subject is a grant."""
    SWEEP = "sweep"
    """Drop what has expired: authorization requests, idempotency keys, limits. The service's own."""
    RETAIN = "retain"
    """Drop deliveries, jobs and closed gaps that are older than we keep them. The service's own."""
    RESCUE = "rescue"
    """Queue jobs again that nobody has touched for long. The service's own."""


SERVICE_ERRANDS = {
    Errand.SWEEP: timedelta(minutes=10),
    Errand.RETAIN: timedelta(hours=6),
    Errand.RESCUE: timedelta(minutes=5),
}
"""What the service does for itself, and how often."""

SERVICE = UUID(int=0)
"""The subject of the service's own errands."""


@attrs.frozen(kw_only=True)
class Appointment:
    """One thing that comes round. However long nobody looked, it is due once."""

    tenant_id: TenantId = UNROUTED
    subject_id: UUID = SERVICE
    errand: Errand
    next_at: datetime = attrs.field(converter=utc)
