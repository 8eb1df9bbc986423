"""The job queue in memory, and the worker that empties it."""

from collections.abc import Callable
from datetime import timedelta

import attrs

from connectors.adapters.memory.database import MemoryDatabase, TicketRow
from connectors.domain.model.queue import Ticket
from connectors.domain.model.webhook import Recorded


class MemoryJobQueue:
    """`JobQueue` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._rows = database.tickets

    def put(self, ticket: Ticket, *, delay: timedelta = timedelta(0)) -> Recorded:
        """See `JobQueue.put`."""
        if self._rows.find("queueing_lock", ticket.queueing_lock):
            return Recorded.DUPLICATE
        number = next(self._database.ticket_numbers)
        row = TicketRow(number, ticket, self._database.now() + delay)
        self._rows.put((ticket.tenant_id, number), row)
        return Recorded.NEW


class MemoryWorker:
    """Takes tickets one after another, in the order in which any worker would."""

    def __init__(self, database: MemoryDatabase, handle: Callable[[Ticket], None]) -> None:
        self._database = database
        self._rows = database.tickets
        self._handle = handle

    def run_pending(self) -> int:
        """Work off every ticket whose time has come, those included that are put meanwhile; how many.

        An error of the handler ends it, and the ticket is gone, as with a worker that has reported its failure.
        """
        done = 0
        while (row := self._take()) is not None:
            done += 1
            try:
                self._handle(row.ticket)
            finally:
                with self._database.lock:
                    self._rows.remove((row.ticket.tenant_id, row.number))
        return done

    def _take(self) -> TicketRow | None:
        with self._database.lock:
            rows = sorted(self._rows.values(), key=lambda row: (-row.ticket.priority, row.number))
            held: set[str] = {row.ticket.lock for row in rows if row.is_taken and row.ticket.lock is not None}
            now = self._database.now()
            for row in rows:
                if row.is_taken or row.ticket.lock in held:
                    continue
                if row.due_at <= now:
                    taken = attrs.evolve(row, is_taken=True)
                    self._rows.put((row.ticket.tenant_id, row.number), taken)
                    return taken
                if row.ticket.lock is not None:
                    held.add(row.ticket.lock)  # who waits first goes first, even if it may not go yet
            return None
