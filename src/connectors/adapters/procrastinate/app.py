"""What both sides of the queue agree on."""

import procrastinate
from procrastinate.connector import BaseConnector

QUEUE = "connectors"
"""The name of the one queue."""

TASK_NAME = "connectors.ticket"
"""The one task: look after what the task names."""

TICK_TASK = "connectors.tick"
"""Queue what has become due."""


def create_queue_app(connector: BaseConnector) -> procrastinate.App:
    """A procrastinate app on this connector; whoever works adds the tasks."""
    return procrastinate.App(connector=connector)
