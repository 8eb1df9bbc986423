"""The schedule: when which task is due next."""

from datetime import datetime, timedelta
from uuid import UUID

import attrs

from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.instant import utc
from connectors.domain.model.tasks import TaskKind

LEAST_INTERVAL = timedelta(minutes=1)
"""The shortest interval between two reads of a connection, whoever asks for it."""

LONGEST_INTERVAL = timedelta(days=366)
"""The longest: a year, also a leap year."""

SERVICE_TASKS = {
    TaskKind.SWEEP: timedelta(minutes=10),
    TaskKind.RETAIN: timedelta(hours=6),
    TaskKind.RESCUE: timedelta(minutes=5),
}
"""What the service does for itself, and how often."""

SERVICE = UUID(int=0)
"""The subject of the service's own tasks."""


@attrs.frozen(kw_only=True)
class ScheduleEntry:
    """One recurring task. However long nobody looked, it is due once."""

    tenant_id: TenantId = UNROUTED
    subject_id: UUID = SERVICE
    kind: TaskKind
    next_at: datetime = attrs.field(converter=utc)
