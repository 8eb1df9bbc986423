"""The task queue as workers see it, under the schedule."""

from connectors.adapters.memory.database import TaskRow
from connectors.adapters.memory.job_queue import MemoryWorkQueue
from tests.simulation.ports.database import Database
from tests.simulation.schedule import Schedule


class TaskQueue:
    """Taking, finishing, and taking over what a dead worker had."""

    def __init__(self, schedule: Schedule, database: Database) -> None:
        self._schedule = schedule
        self._database = database
        self._queue = MemoryWorkQueue(database.memory)
        self._looked_at = -1
        self._due_at: float | None = None

    def next_due(self) -> float | None:
        """The virtual second at which the next task can be taken; None if none can."""
        if self._looked_at != self._database.tasks_version:
            due_at = self._queue.next_due_at()
            self._looked_at = self._database.tasks_version
            self._due_at = None if due_at is None else self._schedule.second_of(due_at)
        return self._due_at

    def has_due(self) -> bool:
        """Whether a task can be taken now."""
        due_at = self._due_at if self._looked_at == self._database.tasks_version else self.next_due()
        return due_at is not None and due_at <= self._schedule.now

    def wait_for_task(self) -> None:
        """Until a task is due."""
        while not self.has_due():
            self._schedule.wait(self.has_due, "task", until=self.next_due())

    def take(self, owner: str) -> TaskRow | None:
        """The next task, which is this owner's now; None if others were faster. Raises while the database is down."""
        self._schedule.point("queue.take")
        self._database.check()
        self._database.wait_for_writer()
        self._database.tasks_changed()
        return self._queue.take(owner)

    def finish(self, task: TaskRow) -> None:
        """The task is done."""
        self._database.wait_for_writer()
        self._database.tasks_changed()
        self._queue.finish(task)

    def left_behind(self, owner: str) -> list[TaskRow]:
        """What a dead owner has not finished."""
        return self._queue.taken_by(owner)
