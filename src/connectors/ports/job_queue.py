"""The queue between the code that requests work and the workers that do it."""

from datetime import timedelta
from typing import Protocol

from connectors.domain.model.tasks import QueuedTask
from connectors.domain.model.webhook import Recorded


class JobQueue(Protocol):
    """Accepts tasks within its unit of work: a task exists if, and only if, the unit of work commits.

    Workers take the due task of the highest `QueuedTask.rank`, of these the first one put. Of the tasks under one lock
    they take the one of the highest rank first, even if it is not due yet.
    """

    def put(self, task: QueuedTask, *, delay: timedelta = timedelta(0)) -> Recorded:
        """Queue the task; DUPLICATE, with nothing changed, if a task with the same queueing lock is already waiting.

        Args:
            task: the task.
            delay: the minimum wait before it runs.

        Raises:
            InfrastructureError: the queue cannot be reached.
        """
        ...
