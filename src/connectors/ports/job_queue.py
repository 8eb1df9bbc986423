"""The queue between what asks for work and the workers that do it."""

from datetime import timedelta
from typing import Protocol

from connectors.domain.model.tasks import QueuedTask
from connectors.domain.model.webhook import Recorded


class JobQueue(Protocol):
    """Takes tasks, within the unit of work that it belongs to: a task exists if, and only if, that commits."""

    def put(self, task: QueuedTask, *, delay: timedelta = timedelta(0)) -> Recorded:
        """Queue it; DUPLICATE, and nothing changed, if one with its queueing lock waits already.

        Args:
            task: what to look after.
            delay: how long it shall wait at least.

        Raises:
            InfrastructureError: the queue cannot be reached.
        """
        ...
