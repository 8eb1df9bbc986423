"""Reading a connection whose account is one stream: page by page, resumed after any interruption."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.reading.failures import LONGEST_OUTAGE, SHORTEST_OUTAGE
from connectors.domain.flows.reading.jobs import CLOCK_SPREAD
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import CoveragePath, GapCause, GapClosedBy
from connectors.domain.model.errors import (
    ConflictError,
    ConnectionNotFoundError,
    InfrastructureError,
    NotFoundError,
)
from connectors.domain.model.spans import EPOCH
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.sync import JobStatus, JobType
from tests.support.builders import NOW, OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World, created, item

ACCOUNT = "account"


@pytest.fixture
def world():
    return World()


class SyncRun:
    """A connection that was read while it was empty, without its history, and short names for its jobs."""

    def __init__(self, world, items=5, *, is_read=True):
        self.world = world
        self.connection = world.connect()
        for job in world.jobs():
            world.connectors.jobs.cancel(TENANT, job.id)
        if is_read:
            world.work()
        world.vendor.add_items(*(item(number) for number in range(items)))
        world.vendor.log.clear()

    def request(self, job_type=JobType.BACKFILL, **changes):
        return self.world.connectors.jobs.request(TENANT, self.connection.id, job_type, **changes)

    def run(self, job, **options):
        return self.world.connectors.sync.run(TENANT, job.id, **options)

    def read(self, **options):
        """Read the connection, as the task of the queue does."""
        self.world.connectors.sync.read(TENANT, self.connection.id, **options)

    def add(self, *numbers):
        """New items at the vendor, made now."""
        self.world.vendor.add_items(*({"id": str(number), "title": f"Item {number}"} for number in numbers))

    def job(self, job):
        return self.world.job(job)

    @property
    def stream(self):
        return self.world.stream(self.connection, ACCOUNT)

    @property
    def account(self):
        return self.world.account(self.connection)

    @property
    def cursor(self):
        return self.stream.bookmark

    def gaps(self):
        return self.world.gaps(self.connection, is_open=False)

    def intervals(self, path):
        return self.world.proven(self.connection, path).get("events", [])

    def snapshots(self, *keys):
        with self.world.uow() as uow:
            return dict(uow.snapshots.load(TENANT, self.connection.id, keys))

    @property
    def titles(self):
        return sorted(one.title for one in self.world.signals())

    @property
    def pages(self):
        return self.world.vendor.count("GET /api/items")


def numbered(*numbers):
    return [f"Item {number}" for number in numbers]


def test_a_backfill_reads_everything(world):
    """Every page's items become signals, the job shows its progress, and the stream is proven from its beginning."""
    sync_run, seen = SyncRun(world), []
    done = sync_run.run(sync_run.request(), on_page=lambda job: seen.append(job.progress.signals))
    assert (done.status, done.attempts, done.finished_at) == (JobStatus.SUCCEEDED, 1, world.clock.now())
    assert (done.progress.pages, done.progress.items, done.progress.signals) == (3, 5, 5)
    assert (done.streams.total, done.streams.done, done.streams.aside) == (1, 1, 0)
    assert seen == [2, 4, 5]
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)
    assert {one.origin for one in world.signals()} == {"backfill"}
    assert sync_run.intervals(CoveragePath.BACKFILL) == [(EPOCH, world.clock.now())]
    connection = world.reload(sync_run.connection)
    assert (connection.last_synced_at, connection.metadata["end"]) == (world.clock.now(), 5)


def test_what_is_proven_is_not_read_again(world):
    """A backfill of a range that was read succeeds at once, without a request; a wider one reads the rest."""
    sync_run = SyncRun(world)
    sync_run.run(sync_run.request(since=NOW - timedelta(days=9)))
    world.vendor.log.clear()
    done = sync_run.run(sync_run.request(since=NOW - timedelta(days=8)))
    assert (done.status, done.progress.pages, world.vendor.log) == (JobStatus.SUCCEEDED, 0, [])
    done = sync_run.run(sync_run.request(since=NOW - timedelta(days=10)))
    assert (done.status, done.progress.pages) == (JobStatus.SUCCEEDED, 3)


def test_incremental_continues_where_the_last_one_ended(world):
    """Only new items are read, and the bookmark moves on."""
    sync_run = SyncRun(world)
    world.later(seconds=1)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    world.later(seconds=1)
    sync_run.add(5)
    done = sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert (done.progress.items, sync_run.cursor, sync_run.stream.read_until) == (1, {"after": 6}, done.started_at)
    assert {one.origin for one in world.signals() if one.title == "Item 5"} == {"sync"}


def test_the_first_incremental_takes_a_baseline(world):
    """The first read gives no older items, and the next one gives what came since."""
    sync_run = SyncRun(world, is_read=False)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert (sync_run.titles, sync_run.cursor) == ([], {"after": 5})
    world.later(seconds=1)
    sync_run.add(5)
    sync_run.run(sync_run.request(JobType.WEBHOOK))
    assert sync_run.titles == numbered(5)


def test_what_happens_before_the_baseline_is_history(world):
    """What has happened between connecting and the first read is wanted, and so read as history, without a backfill."""
    sync_run = SyncRun(world, is_read=False)
    world.later(minutes=5)
    sync_run.add(5)
    world.later(minutes=5)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert [(one.title, one.origin) for one in world.signals()] == [("Item 5", "backfill")]
    assert sync_run.intervals(CoveragePath.BACKFILL)[-1][1] == world.clock.now()


def test_a_backfill_does_not_move_the_bookmark(world):
    """Incremental reads continue from their own position."""
    sync_run = SyncRun(world)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    before = (sync_run.cursor, sync_run.stream.read_until)
    sync_run.add(5, 6)
    world.later(minutes=5)
    done = sync_run.run(sync_run.request(JobType.BACKFILL, since=world.clock.now() - timedelta(days=1)))
    assert done.status is JobStatus.SUCCEEDED
    assert (sync_run.cursor, sync_run.stream.read_until) == before


def test_a_job_may_name_a_stream(world):
    """It ends when that stream has been read; one that names no known stream ends when they have been listed again."""
    listed = []
    streams = world.connectors.providers.get("acme").streams

    def discover(context, window, cursor):
        listed.append(window.high)
        return (yield from streams.discover(context, window, cursor))

    world = World(make_acme(sync=None, streams=attrs.evolve(streams, discover=discover)))
    sync_run = SyncRun(world)
    world.later(minutes=1)
    done = sync_run.run(sync_run.request(JobType.WEBHOOK, target=ACCOUNT))
    assert (done.status, done.streams.total, sync_run.stream.read_until) == (JobStatus.SUCCEEDED, 1, world.clock.now())
    job = sync_run.request(JobType.WEBHOOK, target="x")
    world.run_for(timedelta(seconds=10), step=timedelta(seconds=1))
    assert (world.job(job).status, world.job(job).streams.total) == (JobStatus.SUCCEEDED, 0)
    assert listed[-1] >= job.scheduled_at


@pytest.mark.parametrize("target", [ACCOUNT, DISCOVERY])
def test_a_job_ends_though_its_stream_does_not_know_of_it(world, target):
    """Its row may have come after the request, and have been read by a clock that was a moment behind."""
    sync_run = SyncRun(world)
    world.later(minutes=1)
    job = sync_run.request(JobType.WEBHOOK, target=target)
    with world.uow() as uow:
        state = next(one for one in uow.streams.list(job.tenant_id, job.connection_id) if one.key == target)
        behind = job.scheduled_at - timedelta(milliseconds=1)
        uow.streams.save([attrs.evolve(state, requested_at=None, read_until=behind, served_at=behind)])
    world.run_for(timedelta(seconds=15), step=timedelta(seconds=1))
    assert world.job(job).status is JobStatus.SUCCEEDED


def test_a_stream_that_is_listed_too_late_is_looked_for_again(world):
    """A job that names an unknown stream right after a listing waits for the next one."""
    sync_run = SyncRun(world)
    job = sync_run.request(JobType.WEBHOOK, target="x")
    world.later(seconds=1)
    late = sync_run.request(JobType.WEBHOOK, target="y")
    world.work()
    assert world.job(late).status is JobStatus.QUEUED
    world.run_for(timedelta(seconds=10), step=timedelta(seconds=1))
    assert {world.job(one).status for one in (job, late)} == {JobStatus.SUCCEEDED}


def test_all_paths_give_one_signal(world):
    """What a webhook has reported is not added again by a sync run."""
    sync_run = SyncRun(world)
    world.deliver(created(3))
    done = sync_run.run(sync_run.request())
    assert (done.progress.signals, sync_run.titles) == (4, numbered(0, 1, 2, 3, 4))


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_sync_run_resumes_at_its_last_page(world, page, moment):
    """Killed before a page's commit it reads that page again, killed after it the next one: no duplicates, no loss."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    class KilledError(BaseException):
        pass

    def kill(*_):
        if sync_run.pages == page:
            raise KilledError

    flow = world.connectors.sync
    if moment == "before":
        flow = attrs.evolve(flow, pages=attrs.evolve(flow.pages, unit_of_work=Killing(world, kill)))
    with pytest.raises(KilledError):
        flow.run(TENANT, job.id, on_page=kill)
    left = sync_run.job(job)
    committed = page if moment == "after" else page - 1
    assert left.progress.pages == committed
    assert len(sync_run.titles) == min(2 * committed, 5)
    world.vendor.log.clear()
    sync_run.read()
    done = sync_run.job(job)
    assert (sync_run.pages, done.attempts) == (3 - committed, 2)
    assert (done.progress.pages, done.progress.signals, done.status) == (3, 5, JobStatus.SUCCEEDED)
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)
    assert sync_run.intervals(CoveragePath.BACKFILL) == [(EPOCH, world.clock.now())]


class Killing:
    """A unit of work that is killed in its last write."""

    def __init__(self, world, kill):
        self.begin, self.kill = world.uow, kill

    def __call__(self):
        uow = self.begin()
        add_progress = uow.jobs.add_progress

        def killing(*args, **options):
            add_progress(*args, **options)
            self.kill()

        uow.jobs.add_progress = killing
        return uow


PARTS_OF_A_PAGE = [
    ("signals", "record_all"),
    ("connections", "save"),
    ("streams", "save"),
    ("accounts", "save"),
    ("jobs", "add_progress"),
]


@pytest.mark.parametrize(("store", "method"), PARTS_OF_A_PAGE)
@pytest.mark.parametrize("is_down", [False, True])
def test_a_page_is_committed_whole_or_not(world, store, method, is_down):
    """If a page cannot be stored, its signals, metadata, position and progress are all as before; it is read again."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    before = (sync_run.titles, sync_run.cursor, world.reload(sync_run.connection).metadata)

    def begin():
        uow = world.uow()
        inner = getattr(getattr(uow, store), method)

        def fail(*args, **options):
            if sync_run.pages > 0:
                raise InfrastructureError("The database is gone.")
            return inner(*args, **options)

        setattr(getattr(uow, store), method, fail)
        return uow

    def begin_down():
        if sync_run.pages > 0:
            raise InfrastructureError("The database is gone.")
        return world.uow()

    flow = world.connectors.sync
    flow = attrs.evolve(flow, pages=attrs.evolve(flow.pages, unit_of_work=begin))
    if is_down:
        flow = attrs.evolve(flow, failures=attrs.evolve(flow.failures, unit_of_work=begin_down))
        with pytest.raises(InfrastructureError):
            flow.run(TENANT, job.id)
    else:
        assert flow.run(TENANT, job.id).status is JobStatus.QUEUED
    assert (sync_run.titles, sync_run.cursor, world.reload(sync_run.connection).metadata) == before
    assert (sync_run.stream.backfill.run, sync_run.job(job).progress.pages) == (None, 0)
    assert (sync_run.stream.backfill.refusals, sync_run.stream.backfill.failures) == (int(not is_down), 0)
    world.later(seconds=2)
    sync_run.read()
    assert (sync_run.job(job).status, sync_run.titles) == (JobStatus.SUCCEEDED, numbered(0, 1, 2, 3, 4))


# --- failures --------------------------------------------------------------------------------------------------------


def test_an_outage_is_recorded_and_retried(world):
    """The error is on the job and the connection until a retry after a pause succeeds; that is no new attempt."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503) if sync_run.pages else None
    failed = sync_run.run(job)
    assert failed == sync_run.job(job)
    assert (failed.status, sync_run.account.outages, failed.error) == (JobStatus.QUEUED, 1, "Acme answered 503.")
    assert failed.retry_after == sync_run.account.paused_until > world.clock.now()
    assert world.reload(sync_run.connection).last_error == "Acme answered 503."
    world.vendor.before = lambda request: None
    world.clock.advance(failed.retry_after - world.clock.now())
    world.connectors.run_pending()
    done = sync_run.job(job)
    assert (done.status, done.error, done.attempts) == (JobStatus.SUCCEEDED, None, 1)
    assert (sync_run.account.outages, world.reload(sync_run.connection).last_error) == (0, None)


def test_a_connection_that_waits_is_not_read_early(world):
    """Before its time it is not read, whoever asks, and its provider gets no request."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503)
    failed = sync_run.run(job)
    account = sync_run.account
    world.vendor.log.clear()
    world.clock.advance(failed.retry_after - world.clock.now() - timedelta(microseconds=1))
    waiting = sync_run.run(job)
    assert (waiting.status, waiting.retry_after, sync_run.account) == (JobStatus.QUEUED, failed.retry_after, account)
    world.connectors.run_pending()
    assert world.vendor.log == []


def test_pauses_grow_and_nothing_is_given_up(world):
    """Each outage in a row doubles the pause up to a quarter of an hour, and however long it lasts the job goes on."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503)
    for number in range(20):
        failed = sync_run.run(job)
        assert failed.status is JobStatus.QUEUED
        pause = failed.retry_after - world.clock.now()
        full = min(SHORTEST_OUTAGE * 2**number, LONGEST_OUTAGE)
        assert full / 2 <= pause <= full
        world.clock.advance(pause)
    assert (sync_run.stream.status, sync_run.stream.backfill.failures) == (StreamStatus.READY, 0)
    world.vendor.before = lambda request: None
    assert sync_run.run(job).status is JobStatus.SUCCEEDED
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)


@attrs.frozen
class FixedEntropy:
    """An entropy that gives this fraction every time."""

    number: float

    def fraction(self):
        return self.number


@pytest.mark.parametrize(("drawn", "share"), [(0.0, 0.5), (0.5, 0.75), (0.75, 0.875)])
def test_retries_have_jitter(world, drawn, share):
    """The second half of the pause in an outage is random, so that connections that failed together retry apart."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503)
    sync = world.connectors.sync
    sync = attrs.evolve(sync, failures=attrs.evolve(sync.failures, entropy=FixedEntropy(drawn)))
    failed = sync.run(TENANT, job.id)
    assert failed.retry_after - world.clock.now() == SHORTEST_OUTAGE * share


def test_a_page_between_failures_resets_their_count(world):
    """Only outages in a row count."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    # A page's three tries fail, the fourth goes through, and so on.
    world.vendor.before = lambda request: answer(status=503) if "items" in request.url and sync_run.pages % 4 else None
    failures = 0
    while (left := sync_run.run(job)).status is JobStatus.QUEUED:
        failures += 1
        assert sync_run.account.outages == 1
        world.clock.advance(left.retry_after - world.clock.now())
    assert (failures, left.status, sync_run.titles) == (3, JobStatus.SUCCEEDED, numbered(0, 1, 2, 3, 4))


def test_a_crash_is_shown_on_the_job(world, caplog):
    """A bug in a package does not end the worker: the stream and the job name it, and the stream is tried again."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: answer({"items": [{"title": "no id"}], "end": 1, "more": False})
    crashed = sync_run.run(sync_run.request())
    assert (crashed.status, crashed.streams.aside) == (JobStatus.PARTIAL, 1)
    assert "internal error: KeyError" in crashed.error
    assert (sync_run.stream.status, sync_run.stream.reason) == (StreamStatus.BLOCKED, "internal error: KeyError")
    assert "reading_crashed" in caplog.text
    world.vendor.before = lambda request: None
    world.later(seconds=30)
    world.work()
    assert (sync_run.stream.status, sync_run.titles) == (StreamStatus.READY, numbered(0, 1, 2, 3, 4))
    assert sync_run.job(crashed) == crashed


def test_reading_does_not_change_the_webhook_error(world):
    """A finished run clears the sync error and leaves the webhook error; a failed run leaves it too."""
    sync_run = SyncRun(world)
    with world.uow() as uow:
        uow.connections.save(attrs.evolve(sync_run.connection, webhook_error="no right", sync_error="Acme is down."))
    sync_run.run(sync_run.request())
    assert world.reload(sync_run.connection).last_error == "Webhooks: no right"
    world.vendor.before = lambda request: answer(status=503)
    world.later(minutes=1)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    failed = world.reload(sync_run.connection)
    assert (failed.sync_error, failed.webhook_error) == ("Acme answered 503.", "no right")
    assert failed.last_error == "Acme answered 503; Webhooks: no right"


def test_another_read_does_not_hide_a_failing_one(world):
    """While history cannot be read, the connection shows its error, whatever else is read; its own read clears it."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: answer(status=400)
    assert sync_run.run(sync_run.request(JobType.BACKFILL)).status is JobStatus.PARTIAL
    world.vendor.before = lambda request: None
    world.later(seconds=6)
    done = sync_run.run(sync_run.request(JobType.WEBHOOK, target=ACCOUNT))
    assert (done.status, sync_run.stream.read_until) == (JobStatus.SUCCEEDED, world.clock.now())
    assert "Acme answered 400" in world.reload(sync_run.connection).sync_error
    world.later(seconds=30)
    world.work()
    assert sync_run.stream.status is StreamStatus.READY
    assert world.reload(sync_run.connection).sync_error is None


def test_a_rate_limit_sets_retry_after(world):
    """The vendor's time is on the job; it counts as no failure of the stream and no error of the connection."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=429)
    limited = sync_run.run(job)
    assert (limited.status, limited.error) == (JobStatus.QUEUED, None)
    assert (sync_run.account.outages, sync_run.stream.backfill.failures) == (0, 0)
    assert limited.retry_after == world.clock.now() + timedelta(seconds=30)
    assert world.reload(sync_run.connection).last_error is None


def test_a_rate_limit_holds_the_connections_other_jobs(world):
    """One job's limit makes the connection's other job wait without a request; both continue afterwards."""
    sync_run = SyncRun(world)
    world.later(seconds=1)
    first, second = sync_run.request(), sync_run.request(JobType.INCREMENTAL)
    world.vendor.before = lambda request: answer(status=429)
    retry_after = sync_run.run(first).retry_after
    world.vendor.before = lambda request: None
    world.vendor.log.clear()
    assert (sync_run.run(second).retry_after, world.vendor.log) == (retry_after, [])
    world.later(seconds=30)
    world.connectors.run_pending()
    assert {one.status for one in (sync_run.job(first), sync_run.job(second))} == {JobStatus.SUCCEEDED}


def test_a_sync_run_leaves_the_reserve(world):
    """The page that showed the quota's end is kept, the next one is not requested before the quota is renewed."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    items = [item(0), item(1)]
    first = answer({"items": items, "end": 2, "more": True}, x_acme_left="0")
    world.vendor.before = lambda request: first if sync_run.pages == 1 and "items" in request.url else None
    waiting = sync_run.run(job)
    assert (sync_run.pages, sync_run.titles) == (1, numbered(0, 1))
    assert (waiting.status, waiting.retry_after) == (JobStatus.QUEUED, world.clock.now() + timedelta(seconds=60))
    world.vendor.before = lambda request: None
    world.later(seconds=60)
    sync_run.run(job)
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)


def test_a_dead_grant_ends_the_sync_run(world):
    """The vendor's refusal marks the connection and fails the job; after another consent everything is read."""
    sync_run = SyncRun(world)
    world.vendor.kill()
    failed = sync_run.run(sync_run.request())
    assert (failed.status, failed.retry_after) == (JobStatus.FAILED, None)
    assert world.reload(sync_run.connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    with pytest.raises(ConflictError):
        sync_run.request()
    world.connect()
    world.connectors.run_pending()
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)


def test_a_job_of_a_connection_that_needs_its_user_fails(world):
    """A job that was queued before the grant died does not call the provider."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    with world.uow() as uow:
        asleep = sync_run.connection.moved_to(ConnectionStatus.REAUTHORIZATION_REQUIRED, at=world.clock.now())
        uow.connections.save(asleep)
    assert sync_run.run(job).status is JobStatus.FAILED
    assert world.vendor.log == []


def test_a_token_that_expires_during_a_run_is_refreshed(world):
    """A sync run that outlives its token continues with the next one."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: world.later(minutes=25)
    done = sync_run.run(sync_run.request())
    assert (done.status, sync_run.titles) == (JobStatus.SUCCEEDED, numbered(0, 1, 2, 3, 4))


def test_a_disconnected_connection_gets_no_more_pages(world):
    """A page that is being read while the connection ends is dropped, and its job is cancelled."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    def end(request):
        if sync_run.pages < 2:
            return None
        world.vendor.before = lambda request: None
        world.connectors.disconnect.end_connection(TENANT, sync_run.connection.id)
        return answer({"items": [item(2), item(3)], "end": 4, "more": True})

    world.vendor.before = end
    assert sync_run.run(job).status is JobStatus.CANCELLED
    assert sync_run.titles == numbered(0, 1)
    assert world.reload(sync_run.connection).status is ConnectionStatus.REVOKED


def test_a_cancelled_sync_run_ends_between_pages(world):
    """What was read stays, the present page as well, and no more is requested."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    def cancel(request):
        if sync_run.pages == 2:
            assert world.connectors.jobs.cancel(TENANT, job.id).status is JobStatus.CANCELLED

    world.vendor.before = cancel
    cancelled = sync_run.run(job)
    assert (cancelled.status, cancelled.progress.pages) == (JobStatus.CANCELLED, 1)
    world.connectors.run_pending()
    assert (sync_run.pages, sync_run.titles) == (2, numbered(0, 1, 2, 3))
    assert sync_run.intervals(CoveragePath.BACKFILL) == [(NOW - CLOCK_SPREAD, NOW)]


def test_a_job_like_a_cancelled_one_is_run(world):
    """The task of a cancelled job does not block the next job."""
    sync_run = SyncRun(world)
    world.connectors.jobs.cancel(TENANT, sync_run.request().id)
    job = sync_run.request()
    world.connectors.run_pending()
    assert sync_run.job(job).status is JobStatus.SUCCEEDED


def test_a_worker_that_lost_its_connection_writes_nothing(world):
    """While it hung, another worker read everything: its late page and its error are dropped."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    def hang(request):
        if sync_run.pages == 1:
            world.vendor.before = lambda request: None
            sync_run.read()
            assert sync_run.job(job).status is JobStatus.SUCCEEDED
            return answer({"items": [item(9)], "end": 9, "more": True})
        return None

    world.vendor.before = hang
    run = sync_run.account.run
    late = sync_run.run(job)
    assert (late.status, late.attempts, sync_run.account.run) == (JobStatus.SUCCEEDED, 2, run + 2)
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)

    def hang_and_fail(request):
        world.vendor.before = lambda request: None
        sync_run.read()
        assert sync_run.job(other).status is JobStatus.SUCCEEDED
        return answer(status=400)

    world.later(minutes=1)
    other = sync_run.request(JobType.INCREMENTAL)
    world.vendor.before = hang_and_fail
    assert sync_run.run(other).status is JobStatus.SUCCEEDED
    assert sync_run.stream.status is StreamStatus.READY
    assert world.reload(sync_run.connection).last_error is None


@pytest.mark.parametrize(
    "late",
    [
        answer({"items": [item(9)], "end": 9, "more": True}),
        answer(status=400),
        answer(status=429),
        answer(status=503),
        answer({"items": []}),
    ],
    ids=["a page", "a failure", "a rate limit", "an outage", "a crash"],
)
def test_a_worker_that_lost_its_connection_does_not_disturb_the_other_one(world, late):
    """While it hung, another worker took the connection and is still reading: its late result is dropped."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    stream, taken = sync_run.stream, []

    def hang(request):
        if "/items" not in request.url:
            return None
        if not taken:
            with world.uow() as uow:
                account = uow.accounts.find(TENANT, sync_run.connection.id, lock=True)
                taken.append(attrs.evolve(account, run=account.run + 1))
                uow.accounts.save(taken[0])
        return late

    world.vendor.before = hang
    sync_run.run(job)
    present = sync_run.job(job)
    assert (present.status, present.progress.pages, present.error, present.retry_after) == (
        JobStatus.RUNNING,
        0,
        None,
        None,
    )
    assert (sync_run.account, sync_run.stream) == (taken[0], stream)
    assert (sync_run.titles, world.reload(sync_run.connection).sync_error) == ([], None)


def test_a_time_slice_ends_when_others_wait(world):
    """The connection then queues behind the others; continuing is no new attempt, and nothing is read twice."""
    sync_run = SyncRun(world)
    run = sync_run.account.run
    job = sync_run.request()
    world.vendor.before = lambda request: world.later(seconds=6)
    left = sync_run.run(job, time_slice=timedelta(seconds=10))
    assert (left.status, left.progress.pages, left.retry_after) == (JobStatus.QUEUED, 1, None)
    world.vendor.before = lambda request: None
    world.connectors.run_pending()
    done = sync_run.job(job)
    assert (done.status, done.attempts, sync_run.pages) == (JobStatus.SUCCEEDED, 1, 3)
    assert sync_run.account.run == run + 2


def test_a_cursor_that_comes_again_is_a_failure(world):
    """A vendor that returns the same page again and again is not asked for ever."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: answer({"items": [], "end": 0, "more": True}) if sync_run.pages else None
    done = sync_run.run(sync_run.request())
    assert (done.status, sync_run.pages) == (JobStatus.PARTIAL, 2)
    assert "in a circle" in done.error


def test_a_finished_job_is_not_run_again(world):
    """It is a receipt: running it again reads nothing."""
    sync_run = SyncRun(world)
    done = sync_run.run(sync_run.request())
    world.vendor.log.clear()
    assert sync_run.run(done) == done
    assert world.vendor.log == []


def test_states_become_events(world):
    """A new, changed, unchanged or deleted thing is compared with its last known state."""
    sync_run = SyncRun(world, items=0)
    for state in ("open", "closed", "closed", "gone"):
        world.vendor.add_items(item(1, state=state))
    done = sync_run.run(sync_run.request())
    assert sorted(one.kind for one in world.signals()) == ["issue_created", "issue_status_changed"]
    assert (done.progress.signals, sync_run.snapshots("1")) == (2, {})
    world.later(minutes=1)
    world.vendor.add_items(item(2, state="open"))
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert sync_run.snapshots("1", "2") == {"2": {"state": "open"}}


def test_one_bad_item_is_parked(world):
    """It is kept with its reason, the connection says so, and the rest of its page is stored."""
    sync_run = SyncRun(world, items=1)
    world.vendor.add_items({"id": "bad"}, item(1))
    assert sync_run.run(sync_run.request()).progress.items == 3
    assert sync_run.titles == numbered(0, 1)
    (parked,) = world.parked(sync_run.connection)
    assert (parked.stream_key, parked.reference, parked.reason) == (ACCOUNT, "bad", "no title")
    assert world.reload(sync_run.connection).sync_error == "1 thing cannot be read: bad (no title)."
    assert [one.cause for one in world.coverage(sync_run.connection)["events"].open_gaps] == [GapCause.ITEM_UNREADABLE]


LOST = answer({"items": [], "end": 9, "more": False, "gap": "cursor expired"})


def test_lost_history_is_read_again(world, caplog):
    """What a lapsed bookmark no longer gives is a gap from the last read on, until history has brought it."""
    sync_run = SyncRun(world)
    left_at = sync_run.run(sync_run.request(JobType.INCREMENTAL)).started_at
    world.later(hours=1)
    sync_run.add(5)
    world.later(hours=1)
    seen = []

    def lose(request):
        if "items" not in request.url:
            return None
        world.vendor.before = lambda request: None
        return LOST

    world.vendor.before = lose
    job = sync_run.request(JobType.INCREMENTAL)
    done = sync_run.run(job, on_page=lambda job: seen.append(sync_run.gaps()))
    lost_at = world.clock.now()
    assert {(one.cause, one.stream, one.from_at, one.to_at, one.closed_at) for one in seen[1]} == {
        (GapCause.HISTORY_LOST, ACCOUNT, left_at, lost_at, None)
    }
    assert "coverage_gap_opened" in caplog.text
    assert (done.status, sync_run.titles) == (JobStatus.SUCCEEDED, numbered(5))
    assert {one.closed_by for one in sync_run.gaps()} == {GapClosedBy.SYNC}
    assert sync_run.intervals(CoveragePath.BACKFILL) == [(NOW - CLOCK_SPREAD, lost_at)]


def test_a_lapsed_history_is_a_failure(world):
    """Without a bookmark nothing can lapse: a package that says so of history is asked again later, not at once."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: LOST if "items" in request.url else None
    done = sync_run.run(sync_run.request())
    assert (done.status, sync_run.pages) == (JobStatus.PARTIAL, 1)
    assert "cursor expired" in done.error
    assert sync_run.gaps() == []
    assert [one.cause for one in world.coverage(sync_run.connection)["events"].open_gaps] == [GapCause.STREAM_BLOCKED]
    world.vendor.before = lambda request: None
    world.later(seconds=30)
    world.work()
    assert world.coverage(sync_run.connection)["events"].is_complete
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)


def test_a_finished_sync_run_proves_what_it_read(world):
    """An incremental run proves the time since the previous one, a backfill its range, a baseline nothing."""
    sync_run = SyncRun(world)
    first = sync_run.stream.read_until
    assert sync_run.intervals(CoveragePath.SYNC) == []
    world.later(minutes=15)
    second = sync_run.run(sync_run.request(JobType.INCREMENTAL))
    since = world.clock.now() - timedelta(days=2)
    history = sync_run.run(sync_run.request(since=since, until=since + timedelta(days=1)))
    assert sync_run.intervals(CoveragePath.SYNC) == [(first, second.started_at)]
    assert sync_run.intervals(CoveragePath.BACKFILL) == [(history.since, history.until), (NOW - CLOCK_SPREAD, NOW)]


def test_one_job_of_a_kind_is_queued(world):
    """A repeated request gets the queued job."""
    sync_run = SyncRun(world)
    assert sync_run.request().id == sync_run.request().id == world.jobs()[0].id
    assert sync_run.request(JobType.INCREMENTAL).id != sync_run.request().id


def test_what_cannot_be_read_is_refused(world):
    """Unknown and foreign ids, providers that cannot be read, and ended connections are errors."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.known(OTHER_TENANT)
    with pytest.raises(ConnectionNotFoundError):
        world.connectors.jobs.request(OTHER_TENANT, sync_run.connection.id, JobType.BACKFILL)
    with pytest.raises(NotFoundError):
        world.connectors.sync.run(OTHER_TENANT, job.id)
    with pytest.raises(ConnectionNotFoundError):
        world.connectors.sync.read(OTHER_TENANT, sync_run.connection.id)
    world.connectors.disconnect.end_connection(TENANT, sync_run.connection.id)
    with pytest.raises(ConflictError):
        sync_run.request()
    mute = World(make_acme(sync=None))
    connection = mute.connect()
    assert mute.jobs() == ()
    with pytest.raises(ConflictError):
        mute.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL)
