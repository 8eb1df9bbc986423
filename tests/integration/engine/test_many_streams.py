"""An account of thousands of streams, end to end: found, read, claimed and shown, at a cost that grows with their number
and not with its square."""

import time
from datetime import timedelta

import pytest

from connectors.adapters.postgres.unit_of_work import postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import JobType
from tests.integration.conftest import empty_database
from tests.support.boxes import BOXES, BoxVendor
from tests.support.builders import NOW, TENANT
from tests.support.sizes import at_sizes
from tests.support.vendor import answer
from tests.support.world import World

LISTED = 200
"""Boxes on a page of the list."""
FULL_EVERY = 20
"""Of so many boxes one has something in it."""
STEEPEST = 3.0
"""How many times as much a stream may take in the largest account as in the smallest one."""


class ManyBoxes(BoxVendor):
    """Acme, whose list of boxes has long pages."""

    def _list(self, page):
        names = sorted(self.boxes)
        shown = names[page * LISTED : (page + 1) * LISTED]
        following = page + 1 if (page + 1) * LISTED < len(names) else None
        return answer({"boxes": [{"id": name, "unreadable": None} for name in shown], "next": following})


def read_all(clean_engine, monkeypatch, number):
    """Read an account of so many boxes twice; the seconds that both took, of this process alone."""
    empty_database(clean_engine)
    monkeypatch.setattr(
        "connectors.entrypoints.in_memory.memory_unit_of_work",
        lambda database: postgres_unit_of_work(clean_engine, ProcrastinateJobQueue, database.now),
    )
    world = World(BOXES, vendor=ManyBoxes)
    for box in range(number):
        world.vendor.put(f"{box:05}", *([1] if box % FULL_EVERY == 0 else []), at=NOW - timedelta(days=1))
    connection = world.connect(user="ada")
    began = time.process_time()
    world.connectors.sync.read(TENANT, connection.id)
    world.clock.advance(timedelta(minutes=20))
    world.connectors.jobs.request(TENANT, connection.id, JobType.INCREMENTAL)
    world.connectors.sync.read(TENANT, connection.id)
    took = time.process_time() - began
    assert_all_is_told(world, connection, number)
    return took


def keys(world):
    """The keys of all signals."""
    found, cursor = [], None
    while True:
        page = world.connectors.queries.list_signals(TENANT, limit=100, cursor=cursor)
        found += [one.dedupe_key for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def assert_all_is_told(world, connection, number):
    """Each stream is shown once and read to the end, and each item is there and claimed."""
    shown, cursor = [], None
    while True:
        page = world.connectors.streams.list_page(TENANT, connection.id, limit=100, cursor=cursor)
        shown += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(one.key for one in shown if one.key != "discovery") == [f"box:{box:05}" for box in range(number)]
    assert {one.state.status for one in shown} == {StreamStatus.READY}
    assert len(set(keys(world))) == len(keys(world)) == len(range(0, number, FULL_EVERY))
    (items,) = world.coverage(connection).values()
    assert items.is_complete
    assert items.intervals[0].from_at <= NOW - timedelta(days=29)
    assert items.intervals[-1].to_at >= NOW + timedelta(minutes=19)


@pytest.mark.timeout(900)
@at_sizes(("small", "large"), small=(50, 400), full=(500, 4_000))
def test_a_stream_costs_the_same_in_a_large_account(clean_engine, monkeypatch, small, large):
    """Ten times as many streams take little more than ten times as long to find, read, claim and show."""
    read_all(clean_engine, monkeypatch, 10)  # what is loaded once
    few = read_all(clean_engine, monkeypatch, small)
    many = read_all(clean_engine, monkeypatch, large)
    print(f"{small}: {1000 * few / small:.2f} ms, {large}: {1000 * many / large:.2f} ms of CPU a stream")  # noqa: T201
    assert many / large < STEEPEST * few / small
