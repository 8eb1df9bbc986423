"""Two workers read the same connection, or neighbouring ones, on one PostgreSQL: what one of them reads while the other
takes over is stored once, by the one that holds the connection."""

import random
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest

from connectors.adapters.postgres.unit_of_work import postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.instant import read_instant
from connectors.domain.model.sync import JobType
from tests.support.boxes import BOXES, BoxVendor
from tests.support.builders import NOW, TENANT
from tests.support.world import StillClock, World

DAY = timedelta(days=1)
BOX_NAMES = "abc"
ITEMS = 5
"""In each box: three pages."""
LONGEST = 60
"""Seconds that a thread of a test may take."""


class Killed(BaseException):
    """The process dies here: nothing catches that."""


class WatchedVendor(BoxVendor):
    """The same, and somebody looks at each answer before it is given."""

    def __init__(self, clock):
        super().__init__(clock)
        self.answered = lambda request: None
        """Called with each request whose answer is ready."""

    def __call__(self, request):
        found = super().__call__(request)
        self.answered(request)
        return found


class Readers(World):
    """A system whose rows are kept in PostgreSQL, with two accounts that one user has consented to."""

    def __init__(self):
        super().__init__(BOXES, clock=StillClock(NOW), vendor=WatchedVendor)
        self.vendor.accounts["ada"] += [{"id": "a-2", "name": "two", "email": "ada@acme.test"}]
        for box in BOX_NAMES:
            self.vendor.put(box, *range(ITEMS), at=NOW - DAY)

    def connect_both(self):
        """The two connections of a consent."""
        return self.finish(self.vendor.consent(self.start().authorize_url))

    def read(self, connection):
        """Read until nothing is due, as a worker does with a task of the queue."""
        self.connectors.sync.read(connection.tenant_id, connection.id)

    def ask(self, connection):
        """Have what is new read."""
        self.connectors.jobs.request(TENANT, connection.id, JobType.INCREMENTAL)

    def keys(self):
        """The keys of all signals, also of those that are there twice."""
        found, cursor = [], None
        while True:
            page = self.connectors.queries.list_signals(TENANT, limit=100, cursor=cursor)
            found += [one.dedupe_key for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    def rows(self, connection):
        """All that is stored of its streams."""
        with self.uow() as uow:
            return sorted(uow.streams.list(connection.tenant_id, connection.id), key=lambda row: row.key)

    def there(self):
        """Each item at the vendor: the key of its signal, and when it was made."""
        with self.vendor.lock:
            items = [one for box in self.vendor.boxes.values() for one in box]
        return {f"item:{one['id']}:created": read_instant(one["created_at"]) for one in items}

    def claimed_unseen(self, connection):
        """What coverage claims and no signal shows. Claims are looked at first: signals only become more."""
        (family,) = self.coverage(connection).values()
        claimed = {
            key
            for key, at in self.there().items()
            if any(one.from_at <= at and (one.to_at is None or at < one.to_at) for one in family.intervals)
        }
        return claimed - set(self.keys())


@pytest.fixture
def readers(clean_engine, monkeypatch):
    """The system."""
    monkeypatch.setattr(
        "connectors.entrypoints.in_memory.memory_unit_of_work",
        lambda database: postgres_unit_of_work(clean_engine, ProcrastinateJobQueue, database.now),
    )
    return Readers()


class Reader(threading.Thread):
    """A worker that reads a connection, and stops, or dies, when the n-th answer of a box has come."""

    def __init__(self, readers, connection, *, stops_at, dies):
        super().__init__(daemon=True)
        self.readers, self.connection = readers, connection
        self.left, self.dies = stops_at, dies
        self.has_stopped, self.goes_on = threading.Event(), threading.Event()
        self.error = None
        readers.vendor.answered = self._look

    def _look(self, request):
        if threading.current_thread() is not self or "/items" not in request.url:
            return
        self.left -= 1
        if self.left == 0:
            self.has_stopped.set()
            if self.dies:
                raise Killed
            assert self.goes_on.wait(LONGEST)

    def run(self):
        try:
            self.readers.read(self.connection)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error


@pytest.mark.parametrize("dies", [False, True], ids=["late", "killed"])
@pytest.mark.parametrize("stops_at", [1, 2, 3, 4, 6, 9, 12])
def test_a_reader_that_was_overtaken_stores_nothing(readers, stops_at, dies):
    """Whichever answer it holds when another worker takes the connection: it stores nothing of it, even if it wakes up
    afterwards; the other one reads that page again, and everything is there once."""
    connection, neighbour = readers.connect_both()
    first = Reader(readers, connection, stops_at=stops_at, dies=dies)
    first.start()
    assert first.has_stopped.wait(LONGEST)
    assert not readers.claimed_unseen(connection)
    readers.read(neighbour)
    readers.read(connection)
    stored = readers.rows(connection)
    assert sorted(readers.keys()) == sorted(readers.there())
    first.goes_on.set()
    first.join(LONGEST)
    assert (first.is_alive(), first.error) == (False, None)
    assert readers.rows(connection) == stored
    assert sorted(readers.keys()) == sorted(readers.there())
    for one in (connection, neighbour):
        (family,) = readers.coverage(one).values()
        assert family.is_complete
        assert not readers.claimed_unseen(one)


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_take_each_others_connections_and_die(readers, seed):
    """Four workers read two neighbouring connections at the same time and overtake each other, some die between an answer
    and its commit, and new items come all the time: nothing is lost or doubled, and at no moment is anything claimed that
    was not seen."""
    chance = random.Random(seed)
    connections = readers.connect_both()
    is_over, errors, unseen, deaths = threading.Event(), [], [], Counter()

    def look(request):
        if "/items" not in request.url or not threading.current_thread().name.startswith("reader"):
            return
        with readers.vendor.lock:
            dies, seconds = chance.random() < 0.05, chance.choice((0, 0, 0.002, 0.02))
        time.sleep(seconds)
        if dies:
            deaths["of readers"] += 1
            raise Killed

    def work(connection):
        for _ in range(12):
            try:
                readers.ask(connection)
                readers.read(connection)
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                errors.append(error)

    def watch():
        while not is_over.is_set():
            for one in connections:
                unseen.extend(readers.claimed_unseen(one))

    def fill():
        number = 100
        while not is_over.is_set():
            readers.clock.advance(timedelta(seconds=5))
            with readers.vendor.lock:
                readers.vendor.put(chance.choice(BOX_NAMES), number)
            number += 1
            time.sleep(0.01)

    readers.vendor.answered = look
    workers = [
        threading.Thread(target=work, args=(connections[number % 2],), name=f"reader {number}", daemon=True)
        for number in range(4)
    ]
    others = [threading.Thread(target=one, daemon=True) for one in (watch, fill)]
    for one in (*workers, *others):
        one.start()
    for one in workers:
        one.join(LONGEST)
    is_over.set()
    for one in others:
        one.join(LONGEST)
    assert not any(one.is_alive() for one in (*workers, *others))
    assert (errors, unseen) == ([], [])
    assert deaths["of readers"] > 0
    readers.vendor.answered = lambda request: None
    readers.clock.advance(timedelta(minutes=2))
    for one in connections:
        readers.ask(one)
        readers.read(one)
    assert sorted(readers.keys()) == sorted(readers.there())
    for one in connections:
        (family,) = readers.coverage(one).values()
        assert family.is_complete
        assert not readers.claimed_unseen(one)
