"""The job queue of a database, seen and emptied through procrastinate alone."""

from contextlib import contextmanager
from uuid import UUID

from procrastinate import SyncPsycopgConnector
from procrastinate.jobs import Job, Status
from procrastinate.sql import queries

from connectors.adapters.procrastinate.app import QUEUE, create_queue_app
from connectors.domain.model.ids import TenantId
from connectors.domain.model.tasks import QueuedTask, TaskKind


class Queue:
    """What waits in one database."""

    def __init__(self, manager):
        self._manager = manager

    def waiting(self):
        """Each task with when it may be taken, None for at once; the first one put comes first.

        A task's priority is its rank: the queue keeps nothing else of it.
        """
        jobs = sorted(self._manager.list_jobs(queue=QUEUE, status=Status.TODO.value), key=lambda job: job.id)
        return [(_task(job), job.scheduled_at) for job in jobs]

    def take(self):
        """The next task, which is also done; None if none can be taken now."""
        connector = self._manager.connector
        row = connector.execute_query_one(queries["fetch_job"], queues=[QUEUE], worker_id=None)
        if row["id"] is None:
            return None
        connector.execute_query(queries["finish_job"], job_id=row["id"], status=Status.SUCCEEDED.value, delete_job=True)
        return _task(Job.from_row(row))

    def empty(self):
        """Take out whatever waits."""
        for job in self._manager.list_jobs(status=Status.TODO.value):
            self._manager.cancel_job_by_id(job.id, delete_job=True)


@contextmanager
def open_queue(url):
    """The queue of the database at this URL."""
    app = create_queue_app(SyncPsycopgConnector(conninfo=url, min_size=1, max_size=2))
    with app.open():
        yield Queue(app.job_manager)


def _task(job):
    told = job.task_kwargs
    return QueuedTask(
        kind=TaskKind(told["task"]),
        tenant_id=TenantId(UUID(told["tenant_id"])),
        subject_id=UUID(told["subject_id"]),
        priority=job.priority,
        lock=job.lock,
        queueing_lock=job.queueing_lock,
    )
