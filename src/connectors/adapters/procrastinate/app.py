"""Names that both sides of the queue share."""

import procrastinate
from procrastinate.connector import BaseConnector

QUEUE = "connectors"
"""The name of the one queue."""

TASK_NAME = "connectors.ticket"
"""The one task for queued work: it runs a `QueuedTask`. The value is stored in the queue."""

TICK_TASK = "connectors.tick"
"""The task that queues whatever has become due."""


def create_queue_app(connector: BaseConnector) -> procrastinate.App:
    """A procrastinate app with this connector and no tasks; the worker adds them."""
    return procrastinate.App(connector=connector)
