"""The database: the memory stores with READ COMMITTED, commits that fail, and outages.

A transaction reads what is committed without a lock, and takes the one lock of this database at its first write or locking
read; meanwhile readers wait. Every order of steps that this allows, PostgreSQL allows too: lost updates and write skew show.
Deadlocks cannot happen here, so the order of locks is compared instead (`locks.py`).
"""

from collections.abc import Callable, Hashable
from datetime import datetime
from functools import partial
from typing import Any, Protocol, Self, get_type_hints

import attrs

from connectors.adapters.memory import MemoryDatabase, MemoryUnitOfWork
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.oauth import GrantState
from connectors.ports.unit_of_work import UnitOfWork
from tests.simulation.ports.locks import HeldLocks, LockOrder
from tests.simulation.schedule import Schedule

STORES: dict[str, type] = {
    name: get_type_hints(member.fget)["return"]
    for name, member in vars(UnitOfWork).items()
    if isinstance(member, property)
}
"""The stores of a unit of work, by name, and their protocols."""

READS = ("get", "find", "list", "load", "count", "earliest", "is_", "oldest")
"""How the names of methods begin that change nothing."""

LOCKING_READS = frozenset(
    {
        ("accounts", "count_running"),
        ("idempotency", "find"),
        ("parked", "lock"),
        ("schedules", "lock_due"),
        ("streams", "lock"),
    }
)
"""Reads that hold others off until their transaction ends, besides those that are asked to with `lock`."""


NAMED_BY_WHAT_THEY_ARE = frozenset(
    {"tenants", "schedules", "accounts", "parked", "streams", "intervals", "limits", "snapshots"}
)
"""Tables in which two transactions may insert the same key: the second waits for the first."""

UNIQUE: dict[str, Callable[[Any], Hashable | None]] = {
    "connections": lambda row: ("account", row.tenant_id, row.provider, row.account.id),
    "grants": lambda row: (
        ("key", row.grant.tenant_id, row.grant.provider, row.grant.grant_key)
        if row.grant.state is GrantState.LIVE
        else None
    ),
    "deliveries": lambda row: ("delivery", row.tenant_id, row.provider, row.delivery_id),
    "signals": lambda row: ("happening", row.tenant_id, row.provider, row.dedupe_key),
    "jobs": lambda row: ("queued", row.tenant_id, row.connection_id, row.type, row.target),
    "gaps": lambda row: ("gap", row.tenant_id, row.connection_id, row.family, row.cause, row.reference),
    "tasks": lambda row: ("waiting", row.task.queueing_lock),
}
"""Unique indexes besides the primary key, by table: the same. None: the row is not in the index."""


@attrs.frozen
class Outage:
    """Commits of transactions with this write fail until then: the disk is full, a constraint is wrong."""

    write: str
    until: float


@attrs.frozen
class Changed:
    """A row that a transaction has stored or removed."""

    table: str
    before: Any
    """None if it is new."""
    after: Any
    """None if it is gone."""


class Database:
    """One database, and what may go wrong with it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.memory = MemoryDatabase(schedule.instant)
        self.down_until = -1.0
        self.outages = 0
        """How often it went down: each time, all transactions that are open are lost."""
        self.failing_writes: list[Outage] = []
        self.holder: SimulatedUnitOfWork | None = None
        self.lock_order = LockOrder(partial(schedule.report, "lock-order"))
        self.listeners: list[Callable[[SimulatedUnitOfWork], None]] = []
        """Called with each transaction, once it is committed."""
        self.tasks_version = 0
        """Grows when the queue may have changed."""
        self.arrivals: dict[Hashable, float] = {}
        """Signal → the virtual second at which it was committed."""
        self.stores = MemoryUnitOfWork(self.memory)
        for name, table in vars(self.memory).items():
            if hasattr(table, "put") and hasattr(table, "remove_tenant"):
                table.put = partial(self._put, name, table.put, table.get)
                table.remove = partial(self._remove, name, table.remove)

    def unit_of_work(self) -> "SimulatedUnitOfWork":
        """Begins a transaction."""
        return SimulatedUnitOfWork(self)

    def go_down(self, seconds: float) -> None:
        """Nothing reaches the database for so long."""
        self.down_until = self.schedule.now + seconds
        self.outages += 1

    def check(self) -> None:
        """Refuse while the database is down."""
        if self.schedule.now < self.down_until:
            raise InfrastructureError("The database cannot be reached. (simulated)")

    def wait_for_writer(self) -> None:
        """Wait until nobody has written what is not committed yet."""
        self.schedule.wait(lambda: self.holder is None, "database")

    def heal(self) -> None:
        """No more faults."""
        self.down_until = -1.0
        self.failing_writes.clear()

    def tasks_changed(self) -> None:
        """The queue was changed from outside of a transaction."""
        self.tasks_version += 1

    def _put(self, table: str, put: Callable[..., None], get: Callable[..., Any], key: Hashable, row: Any) -> None:
        if table == "tasks":
            self.tasks_version += 1
        if table == "signals" and self.holder is not None:
            self.holder.arriving.append(row.id)
        if self.holder is not None:
            before = get(key)
            is_new = before is None
            self.holder.changes.append(Changed(table, before, row))
            # A new row under an id that nobody else can know is nobody else's: there is nothing to wait for.
            if not is_new or table in NAMED_BY_WHAT_THEY_ARE:
                self.holder.locks.take_in_call(table, key)
            unique = UNIQUE[table](row) if table in UNIQUE else None
            if unique is not None and (before is None or unique != UNIQUE[table](before)):
                self.holder.locks.take_in_call(table, unique)
        put(key, row)

    def _remove(self, table: str, remove: Callable[..., Any], key: Hashable) -> Any:
        if table == "tasks":
            self.tasks_version += 1
        row = remove(key)
        if self.holder is not None and row is not None:
            self.holder.locks.take_in_call(table, key)
        return row


class SimulatedUnitOfWork:
    """One transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schedule = database.schedule
        self.writes: dict[str, None] = {}
        self.arriving: list[Hashable] = []
        self.changes: list[Changed] = []
        self._mark = 0
        self._began_after = 0
        self._actor = database.schedule.current
        self.locks = HeldLocks("nobody" if self._actor is None else self._actor.name)

    def __enter__(self) -> Self:
        """Begin."""
        self._schedule.point("begin")
        try:
            self._database.check()
        except InfrastructureError:
            self._note_failure()
            raise
        self._began_after = self._database.outages
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        """Commit, or undo everything if the block raised or the commit fails."""
        try:
            if kind is None:
                self._commit()
            elif issubclass(kind, InfrastructureError):
                self._note_failure()
        except InfrastructureError:
            self._note_failure()
            raise
        finally:
            self._release(is_kept=False)

    def __getattr__(self, name: str) -> Any:
        """A store."""
        proxy = _PROXIES[name](self, name, getattr(self._database.stores, name))
        setattr(self, name, proxy)
        return proxy

    def now(self) -> datetime:
        """The database's clock: no machine's, and right."""
        return self._schedule.instant()

    def enter_call(self, store: str, method: str, *, locks: bool, writes: bool) -> None:
        """What comes before each call of a store."""
        self._schedule.point(f"{store}.{method}")
        database = self._database
        self._check()
        if database.holder is not self:
            if database.holder is not None:
                if self._actor is not None and database.holder._actor is self._actor:
                    self._schedule.report("nested-transaction", f"{store}.{method} while another transaction is open")
                database.wait_for_writer()
            if locks:
                database.holder, self._mark = self, len(database.memory.undo)
        if writes:
            self.writes[f"{store}.{method}"] = None

    def _note_failure(self) -> None:
        if self._actor is not None:
            self._actor.failures.append(self._schedule.now)

    def _check(self) -> None:
        self._database.check()
        if self._began_after != self._database.outages:
            raise InfrastructureError("The connection broke within the transaction. (simulated)")

    def _commit(self) -> None:
        schedule, database = self._schedule, self._database
        if not self.writes:
            return
        writes = ",".join(self.writes)
        schedule.point(f"commit:{writes}")
        self._check()
        actor = schedule.current
        fails = None
        if actor is not None:
            fails, actor.next_commit = actor.next_commit, None
        if fails == "before" or any(
            one.write in self.writes and schedule.now < one.until for one in database.failing_writes
        ):
            raise InfrastructureError("The commit failed. (simulated)")
        self._release(is_kept=True)
        for listener in database.listeners:
            listener(self)
        if actor is not None:
            actor.commits += 1
        if fails == "after":
            raise InfrastructureError("The connection broke during the commit. (simulated)")
        schedule.point(f"committed:{writes}")

    def _release(self, *, is_kept: bool) -> None:
        database = self._database
        if database.holder is not self:
            return
        if not is_kept:
            database.memory.roll_back(self._mark)
            database.tasks_changed()
        else:
            database.arrivals.update(dict.fromkeys(self.arriving, self._schedule.now))
        del database.memory.undo[self._mark :]
        database.holder = None
        database.lock_order.end(self.locks)


class _Store:
    """One store within one transaction."""

    def __init__(self, transaction: SimulatedUnitOfWork, name: str, store: Any) -> None:
        self._transaction = transaction
        self._name = name
        self._store = store

    def _call(self, method: str, reads: bool, locks: bool, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        transaction = self._transaction
        locks = locks or bool(options.get("lock"))
        transaction.enter_call(self._name, method, locks=locks or not reads, writes=not reads)
        result = getattr(self._store, method)(*args, **options)
        if (self._name, method) == ("signals", "record_all"):
            for signal in args[
                0
            ]:  # those that are there already, too: whoever inserts one waits for who has just done so
                transaction.locks.take_in_call("signals", UNIQUE["signals"](signal))
        transaction.locks.end_call()
        if locks and reads:
            _note_locks(transaction.locks, self._name, method, result, args)
        return result


def _note_locks(held: HeldLocks, store: str, method: str, result: Any, args: tuple[Any, ...]) -> None:
    if store == "tenants":
        held.take(store, args)
    elif store == "schedules":
        for entry in result:
            held.take(store, (entry.tenant_id, entry.subject_id, entry.kind), waits=False)
    elif store == "streams":
        for row in result:
            held.take(store, (row.tenant_id, row.connection_id, row.key))
    elif store == "parked":
        if result is not None:
            held.take(store, (result.tenant_id, result.connection_id, result.stream_key, result.reference))
    elif hasattr(result, "id"):
        held.take(store, (result.tenant_id, result.id))
    elif store == "accounts" and hasattr(result, "connection_id"):
        held.take(store, (result.tenant_id, result.connection_id))
    elif (store, method) in LOCKING_READS:
        held.take(store, method)


def _make_proxy(name: str, protocol: type) -> type[_Store]:
    def make(method: str) -> Callable[..., Any]:
        reads, locks = method.startswith(READS) or (name, method) in LOCKING_READS, (name, method) in LOCKING_READS
        return lambda self, *args, **options: self._call(method, reads, locks, args, options)

    methods = {
        method: make(method)
        for base in protocol.__mro__
        if base not in (object, Protocol)
        for method in vars(base)
        if not method.startswith("_")
    }
    return type(f"Simulated{name.title()}", (_Store,), methods)


_PROXIES = {name: _make_proxy(name, protocol) for name, protocol in STORES.items()}
