"""The job queue in memory, and a worker for it."""

from collections.abc import Callable
from datetime import timedelta

import attrs

from connectors.adapters.memory.database import MemoryDatabase, TaskRow
from connectors.domain.model.tasks import QueuedTask
from connectors.domain.model.webhook import Recorded


class MemoryJobQueue:
    """`JobQueue` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.tasks

    def put(self, task: QueuedTask, *, delay: timedelta = timedelta(0)) -> Recorded:
        """See `JobQueue.put`."""
        if self._rows.find("queueing_lock", task.queueing_lock):
            return Recorded.DUPLICATE
        number = next(self._database.task_numbers)
        row = TaskRow(number, task, self._database.now() + delay)
        self._rows.put((task.tenant_id, number), row)
        return Recorded.NEW


class MemoryWorker:
    """Runs queued tasks one after another, in the same order as any worker."""

    def __init__(self, database: MemoryDatabase, handle: Callable[[QueuedTask], None]) -> None:
        self._database = database
        self._rows = database.tasks
        self._handle = handle

    def run_pending(self) -> int:
        """Run every task that is due, including those queued meanwhile; returns how many.

        An exception of the handler ends the run; its task is gone, as it is after a failure in a real worker.
        """
        count = 0
        while (row := self._take()) is not None:
            count += 1
            try:
                self._handle(row.task)
            finally:
                with self._database.lock:
                    self._rows.remove((row.task.tenant_id, row.number))
        return count

    def _take(self) -> TaskRow | None:
        with self._database.lock:
            rows = sorted(self._rows.values(), key=lambda row: (-row.task.priority, row.number))
            held_locks: set[str] = {row.task.lock for row in rows if row.is_taken and row.task.lock is not None}
            now = self._database.now()
            for row in rows:
                if row.is_taken or row.task.lock in held_locks:
                    continue
                if row.due_at <= now:
                    taken = attrs.evolve(row, is_taken=True)
                    self._rows.put((row.task.tenant_id, row.number), taken)
                    return taken
                if row.task.lock is not None:
                    held_locks.add(row.task.lock)  # the oldest waiting task goes first, even if it may not run yet
            return None
