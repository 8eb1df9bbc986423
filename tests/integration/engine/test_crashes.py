"""Workers are killed, the database is, the vendor misbehaves: nothing is lost, nothing doubled, hardly anything read twice.

`ENGINE_ITEMS` and `ENGINE_KILLS` in the environment make the full size (`-m thorough`) what an afternoon allows.
"""

import os
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.adapters.postgres import create_engine
from connectors.adapters.postgres.embedded import start_embedded
from connectors.adapters.postgres.migrate import upgrade
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import JobStatus
from connectors_sandbox.faults import Fault, FaultKind
from tests.support.engine import open_rig
from tests.support.service import kill_embedded_database
from tests.support.sizes import at_sizes

ITEMS = int(os.environ.get("ENGINE_ITEMS", "6000"))
KILLS = int(os.environ.get("ENGINE_KILLS", "20"))
MAX_WAIT = max(120, ITEMS // 20 + KILLS * 15)
"""Seconds."""
LONG_AGO = timedelta(days=4000)
PAGE = 100
MOST_GROWTH = 30 * 2**20
"""Bytes: a heap that breathes, and no list of all items."""

pytestmark = pytest.mark.timeout(MAX_WAIT * 2)


@pytest.fixture
def chance():
    """Chance that is the same every time."""
    return random.Random(20261122)


def begin(rig, items):
    """A connection to a repository with so many issues, and the job that will read them all."""
    rig.github.populate("ada/lamp", issues=items, step_seconds=600)
    connection = rig.connect("ada/lamp")
    rig.connectors.run_pending()  # the baseline and the first day, before anybody is killed
    return connection, rig.backfill(connection, datetime.now(UTC) - LONG_AGO)


def finish(rig, job):
    """Wait for the job's end; it must be a good one."""
    rig.until(lambda: rig.job(job).is_finished, MAX_WAIT)
    ended = rig.job(job)
    assert (ended.status, ended.error) == (JobStatus.SUCCEEDED, None)
    return ended


def resident(worker):
    """The bytes of memory that the worker's process has."""
    pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def is_all_there(rig, connection, items):
    """Whether each issue and pull request is there. Streams that wait are asked for again, as an operator does."""
    kinds = Counter(rig.kinds(connection))
    if kinds["issue_created"] + kinds["pull_request_opened"] == items:
        return True
    streams = rig.connectors.streams
    for one in streams.list_page(connection.tenant_id, connection.id, status=StreamStatus.BLOCKED).items:
        streams.retry(connection.tenant_id, connection.id, one.key)
    return False


def assert_all_there(rig, connection, items):
    """One "opened" signal for each issue and pull request, and no signal twice."""
    keys = rig.keys(connection)
    assert len(keys) == len(set(keys))
    kinds = Counter(rig.kinds(connection))
    pulls = items // 5
    assert kinds["issue_created"] == items - pulls
    assert kinds["pull_request_opened"] == pulls
    return keys


@at_sizes(("items", "kills"), small=(1200, 2), full=(ITEMS, KILLS))
def test_killed_again_and_again(rig, chance, items, kills):
    """kill -9 at random moments: at most one page is read again each time, and the signals are exactly those there are."""
    connection, job = begin(rig, items)
    rig.requests.clear()
    killed_at = []
    worker = rig.worker().start()
    while len(killed_at) < kills:
        seen = rig.job(job).progress.pages
        wanted = seen + chance.randint(1, 6)
        rig.until(lambda wanted=wanted: rig.job(job).progress.pages >= wanted or rig.job(job).is_finished, MAX_WAIT)
        if rig.job(job).is_finished:
            break
        time.sleep(chance.random() * 0.1)
        worker.kill()
        killed_at.append(rig.job(job).progress.pages)
        worker = rig.worker().start()
    ended = finish(rig, job)
    assert len(killed_at) == kills
    assert ended.attempts <= kills + 1
    assert_all_there(rig, connection, items)
    # A page of this sync run is some requests; one that was cut off is asked for again, whole.
    lists = Counter(path for path in rig.requests if "/issues?" in path or "/pulls?" in path)
    assert len(lists) >= items / PAGE
    assert lists.total() - len(lists) <= kills


@at_sizes(("items",), small=(1500,), full=(int(os.environ.get("ENGINE_ITEMS", "20000")),))
def test_memory_stays_flat(rig, items):
    """However long a history is, the worker holds no more than a page of it: most of it adds almost nothing."""
    connection, job = begin(rig, items)
    with rig.worker() as worker:
        rig.until(lambda: rig.job(job).progress.items >= items // 4 or rig.job(job).is_finished, MAX_WAIT)
        early = resident(worker)
        finish(rig, job)
        late = resident(worker)
    assert_all_there(rig, connection, items)
    print(f"{items} items: {early >> 20} MB after a quarter, {late >> 20} MB at the end")  # noqa: T201
    assert late - early < MOST_GROWTH


@at_sizes(("items", "restarts"), small=(600, 1), full=(ITEMS, 2))
def test_the_database_is_killed(folder, chance, items, restarts):
    """The database dies under the worker and comes back: the worker goes on by itself, and nothing is missing or doubled."""
    home = folder / "data"
    server = start_embedded(home / "postgres")
    try:
        engine = create_engine(server.url)
        upgrade(engine)
        engine.dispose()
        with open_rig(folder, server.url, POBLYSH_BACKFILL_DAYS="1", POBLYSH_LOG_LEVEL="warning") as rig:
            connection, job = begin(rig, items)
            worker = rig.worker().start()
            for _ in range(restarts):
                seen = rig.job(job).progress.pages
                rig.until(lambda seen=seen: rig.job(job).progress.pages > seen + chance.randint(1, 4), MAX_WAIT)
                kill_embedded_database(home)
                time.sleep(0.5 + chance.random())
                server.stop()
                server = start_embedded(home / "postgres")
                rig.engine.dispose()
            finish(rig, job)
            assert worker.process.poll() is None
            assert_all_there(rig, connection, items)
    finally:
        server.stop()


@at_sizes(("items", "refusals"), small=(200, 3), full=(ITEMS // 8, None))
def test_the_vendor_misbehaves(rig, items, refusals):
    """10 % errors, 5 % refusals, each for a second, resets, broken JSON and slow answers: all comes, and a job that went on without something says so."""
    connection, job = begin(rig, items)
    api = {"provider": "github", "path": "/api/v3/repos/*"}
    faults = rig.server.sandbox.faults
    limited = {"status": 429, "headers": {"Retry-After": "1"}, "body": {"message": "Slow down"}}
    for fault in (
        Fault(**api, status=502, html=True, probability=0.10),
        Fault(**api, **limited, probability=0.05, times=refusals),
        Fault(**api, kind=FaultKind.RESET, probability=0.03),
        Fault(**api, kind=FaultKind.TRUNCATED, probability=0.03),
        Fault(**api, kind=FaultKind.SLOW, seconds=0.3, probability=0.03),
    ):
        faults.add(fault)
    with rig.worker():
        rig.until(lambda: rig.job(job).is_finished, MAX_WAIT)
        ended = rig.job(job)
        assert ended.status in {JobStatus.SUCCEEDED, JobStatus.PARTIAL}
        assert (ended.status is JobStatus.PARTIAL) == (ended.streams.aside > 0) == (ended.error is not None)
        rig.until(lambda: is_all_there(rig, connection, items), MAX_WAIT)
    assert sum(fault.hits for fault in faults.active()) > 10
    assert_all_there(rig, connection, items)


def test_cancelled_while_it_runs(rig):
    """A job that is cancelled stops after its present page; what it has read stays, and the next one may begin."""
    items = 600
    connection, job = begin(rig, items)
    # Slow enough that it is cancelled long before its end, however fast this machine is.
    late = Fault(provider="github", path="/api/v3/repos/*", kind=FaultKind.DELAY, seconds=0.3)
    rig.server.sandbox.faults.add(late)
    with rig.worker():
        rig.until(lambda: rig.job(job).progress.pages >= 3)
        cancelled = rig.connectors.jobs.cancel(job.tenant_id, job.id)
        assert cancelled.status is JobStatus.CANCELLED
        again = rig.backfill(connection, datetime.now(UTC) - timedelta(minutes=30))
        finish(rig, again)
        ended = rig.job(job)
    assert (ended.status, ended.progress) == (JobStatus.CANCELLED, cancelled.progress)
    kinds = Counter(rig.kinds(connection))
    assert 0 < kinds["issue_created"] + kinds["pull_request_opened"] < items
