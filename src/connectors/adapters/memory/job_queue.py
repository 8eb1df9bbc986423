"""The job queue in memory: for those who put tasks in, for workers, and one worker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

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
        now = self._database.now()
        row = TaskRow(number, task, due_at=now + delay, rank=task.rank(now, delay))
        self._rows.put((task.tenant_id, number), row)
        return Recorded.NEW


class MemoryWorkQueue:
    """The same queue as workers see it: each takes tasks in its own name. Safe to share between threads.

    Each call is a transaction of its own and holds the database's lock no longer than that. Whoever runs units of work
    under another lock calls these methods under it, too.
    """

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.tasks

    def next_due_at(self) -> datetime | None:
        """When the next task can be taken, which may be now or past; None if none can until another one is finished."""
        with self._database.lock:
            return min((row.due_at for row in self._eligible()), default=None)

    def has_due(self) -> bool:
        """Whether `take` would find a task now."""
        due_at = self.next_due_at()
        return due_at is not None and due_at <= self._database.now()

    def take(self, owner: str) -> TaskRow | None:
        """The due task of the highest rank, of these the first one put, now this owner's; None if none is due."""
        with self._committing():
            now = self._database.now()
            row = next((row for row in self._eligible() if row.due_at <= now), None)
            if row is None:
                return None
            taken = attrs.evolve(row, owner=owner)
            self._rows.put((row.task.tenant_id, row.number), taken)
            return taken

    def finish(self, taken: TaskRow) -> None:
        """Take the task out of the queue. If it is gone, with its tenant or by another owner, nothing changes."""
        with self._committing():
            self._rows.remove((taken.task.tenant_id, taken.number))

    def taken_by(self, owner: str) -> list[TaskRow]:
        """The tasks that this owner has taken and not finished, the oldest first. Dead workers leave some behind."""
        with self._database.lock:
            return sorted((row for row in self._rows.values() if row.owner == owner), key=lambda row: row.number)

    def _eligible(self) -> Iterator[TaskRow]:
        """The waiting tasks that their locks let run, in the order in which they are taken, due or not."""
        rows = self._rows.values()
        held_locks = {row.task.lock for row in rows if row.is_taken}
        waiting = (row for row in rows if not row.is_taken)
        for row in sorted(waiting, key=lambda row: (-row.rank, row.number)):
            if row.task.lock is None:
                yield row
            elif row.task.lock not in held_locks:
                yield row
                held_locks.add(row.task.lock)  # the first waiting task goes first, even if it may not run yet

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Hold the lock for one change that nothing undoes: no other transaction's rollback may give a task back."""
        with self._database.lock:
            mark = len(self._database.undo)
            yield
            del self._database.undo[mark:]


class MemoryWorker:
    """Runs queued tasks one after another, in the same order as any worker."""

    def __init__(self, database: MemoryDatabase, handle: Callable[[QueuedTask], None], owner: str = "worker") -> None:
        self._queue = MemoryWorkQueue(database)
        self._handle = handle
        self._owner = owner

    def run_pending(self) -> int:
        """Run every task that is due, including those queued meanwhile; returns how many.

        An exception of the handler ends the run; its task is gone, as it is after a failure in a real worker.
        """
        count = 0
        while (taken := self._queue.take(self._owner)) is not None:
            count += 1
            try:
                self._handle(taken.task)
            finally:
                self._queue.finish(taken)
        return count
