"""The schedule: when each task is due next."""

from datetime import datetime, timedelta
from uuid import UUID

import attrs

from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.instant import utc
from connectors.domain.model.tasks import TaskKind

SHORTEST_INTERVAL = timedelta(minutes=1)
"""The shortest interval between two reads of a connection, whoever sets it."""

LONGEST_INTERVAL = timedelta(days=366)
"""The longest interval: a year, including a leap year."""

RETRY_REFRESH = timedelta(hours=6)
"""When an idle grant is checked again if its refresh has failed."""

SERVICE_TASKS = {
    TaskKind.SWEEP: timedelta(minutes=10),
    TaskKind.RETAIN: timedelta(hours=6),
    TaskKind.RESCUE: timedelta(minutes=5),
}
"""The service's own recurring tasks, and their intervals."""

SERVICE = UUID(int=0)
"""The subject of the service's own tasks."""


@attrs.frozen(kw_only=True)
class ScheduleEntry:
    """One recurring task. It is due once, however many intervals have passed."""

    tenant_id: TenantId = UNROUTED
    subject_id: UUID = SERVICE
    kind: TaskKind
    next_at: datetime = attrs.field(converter=utc)
