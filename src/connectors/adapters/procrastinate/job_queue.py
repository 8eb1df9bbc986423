"""Putting tasks into the queue, within our own transaction."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from connectors.adapters.postgres.engine import translate
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.tasks import QueuedTask
from connectors.domain.model.webhook import Recorded

if TYPE_CHECKING:
    import procrastinate


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ProcrastinateJobQueue:
    """`JobQueue` on a unit of work's open connection (see docs/adr/0007)."""

    def __init__(self, connection: Connection, now: Callable[[], datetime] = _utc_now) -> None:
        """A queue that puts tasks in as part of the connection's transaction.

        Args:
            connection: the unit of work's.
            now: the queue's clock.
        """
        self._connection = connection
        self._now = now

    def put(self, task: QueuedTask, *, delay: timedelta = timedelta(0)) -> Recorded:
        """See `JobQueue.put`."""
        # Imported on first use: it takes half a second, and most commands only read.
        from procrastinate.exceptions import AlreadyEnqueued, ConnectorException  # noqa: PLC0415

        from connectors.adapters.procrastinate.app import QUEUE, TASK_NAME  # noqa: PLC0415

        now = self._now()
        options: dict[str, Any] = {}
        if delay > timedelta(0):
            options["schedule_at"] = now + delay
        deferrer = _app().configure_task(
            TASK_NAME,
            queue=QUEUE,
            priority=task.rank(now, delay),
            lock=task.lock,
            queueing_lock=task.queueing_lock,
            connection=self._connection.connection.driver_connection,
            **options,
        )
        try:
            # A savepoint, because a refused row would abort our whole transaction.
            with self._connection.begin_nested():
                deferrer.defer(task=task.kind, tenant_id=str(task.tenant_id), subject_id=str(task.subject_id))
        except AlreadyEnqueued:
            return Recorded.DUPLICATE
        except ConnectorException as error:
            raise InfrastructureError(f"The job queue failed ({type(error.__cause__ or error).__name__}).") from None
        except SQLAlchemyError as error:
            raise translate(error) from None
        return Recorded.NEW


@cache
def _app() -> "procrastinate.App":
    from procrastinate import SyncPsycopgConnector  # noqa: PLC0415

    from connectors.adapters.procrastinate.app import create_queue_app  # noqa: PLC0415

    # Never opened: every call brings its own connection.
    return create_queue_app(SyncPsycopgConnector())
