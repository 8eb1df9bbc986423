"""Sync runs: pages in order, committed one by one, resumed after any interruption."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.reading.run import MOST_FAILURES
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.errors import (
    ConflictError,
    ConnectionNotFoundError,
    InfrastructureError,
    NotFoundError,
)
from connectors.domain.model.sync import JobStatus, JobType, SyncState
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World, created, item


@pytest.fixture
def world():
    return World()


class SyncRun:
    """A connection whose first reads were skipped, and short names for its jobs."""

    def __init__(self, world, items=5):
        self.world = world
        self.connection = world.connect()
        for job in world.jobs():
            world.connectors.jobs.cancel(TENANT, job.id)
        world.connectors.run_pending()
        world.vendor.add_items(*(item(number) for number in range(items)))
        world.vendor.log.clear()

    def request(self, job_type=JobType.BACKFILL, **changes):
        return self.world.connectors.jobs.request(TENANT, self.connection.id, job_type, **changes)

    def run(self, job, **options):
        return self.world.connectors.sync.run(TENANT, job.id, **options)

    def job(self, job):
        with self.world.uow() as uow:
            return uow.jobs.get(TENANT, job.id)

    def state(self, target=""):
        with self.world.uow() as uow:
            return uow.sync_states.load(TENANT, self.connection.id, target)

    def cursor(self, target=""):
        state = self.state(target)
        return None if state is None else state.cursor

    def gaps(self):
        with self.world.uow() as uow:
            return uow.coverage.list_gaps(TENANT, self.connection.id)

    def intervals(self, path):
        with self.world.uow() as uow:
            found = uow.coverage.list_intervals(TENANT, self.connection.id)
        return [(one.from_at, one.to_at) for one in found if one.path is path]

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
    """Every page's items become signals, the job shows its progress, and its cursor is kept for incremental reads."""
    sync_run, seen = SyncRun(world), []
    done = sync_run.run(sync_run.request(), on_page=lambda job: seen.append(job.progress.signals))
    assert (done.status, done.attempts, done.finished_at) == (JobStatus.SUCCEEDED, 1, world.clock.now())
    assert (done.progress.pages, done.progress.items, done.progress.signals) == (3, 5, 5)
    assert seen == [2, 4, 5]
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)
    assert {one.origin for one in world.signals()} == {"backfill"}
    assert sync_run.cursor() == {"after": 5}
    connection = world.reload(sync_run.connection)
    assert (connection.last_synced_at, connection.metadata["end"]) == (world.clock.now(), 5)


def test_incremental_continues_where_the_backfill_ended(world):
    """Only new items are read, and the cursor moves on."""
    sync_run = SyncRun(world)
    sync_run.run(sync_run.request())
    world.vendor.add_items(item(5))
    done = sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert (done.progress.items, sync_run.state()) == (1, SyncState(cursor={"after": 6}, read_until=done.started_at))
    assert {one.origin for one in world.signals() if one.title == "Item 5"} == {"sync"}


def test_the_first_incremental_takes_a_baseline(world):
    """Without a cursor the first run gives no older items, and the next run gives what came since."""
    sync_run = SyncRun(world)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert (sync_run.titles, sync_run.cursor()) == ([], {"after": 5})
    world.vendor.add_items(item(5))
    sync_run.run(sync_run.request(JobType.WEBHOOK))
    assert sync_run.titles == numbered(5)


def test_a_later_backfill_does_not_move_the_cursor(world):
    """Incremental reads that have begun continue from their own cursor."""
    sync_run = SyncRun(world)
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    world.vendor.add_items(item(5), item(6))
    with world.uow() as uow:
        uow.sync_states.save(
            TENANT, sync_run.connection.id, state := attrs.evolve(sync_run.state(), cursor={"after": 6})
        )
    world.later(minutes=5)
    sync_run.run(sync_run.request(JobType.BACKFILL, since=world.clock.now() - timedelta(days=1)))
    assert sync_run.state() == state


def test_targets_have_cursors_of_their_own(world):
    """A read of one target does not change the cursors of others."""
    sync_run = SyncRun(world)
    sync_run.run(sync_run.request(JobType.INCREMENTAL, target="x"))
    assert (sync_run.cursor("x"), sync_run.cursor()) == ({"after": 5}, None)


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
        killing = Killing(world, kill)
        flow = attrs.evolve(flow, unit_of_work=killing, pages=attrs.evolve(flow.pages, unit_of_work=killing))
    with pytest.raises(KilledError):
        flow.run(TENANT, job.id, on_page=kill)
    left = sync_run.job(job)
    committed = page if moment == "after" else page - 1
    assert left.progress.pages == committed
    assert len(sync_run.titles) == min(2 * committed, 5)
    world.vendor.log.clear()
    done = sync_run.run(job)
    assert (sync_run.pages, done.attempts if committed < 3 else 2) == (3 - committed, 2)
    assert (done.progress.pages, done.progress.signals, done.status) == (3, 5, JobStatus.SUCCEEDED)
    assert (sync_run.titles, sync_run.cursor()) == (numbered(0, 1, 2, 3, 4), {"after": 5})


class Killing:
    """A unit of work that is killed in its last write."""

    def __init__(self, world, kill):
        self.begin, self.kill = world.uow, kill

    def __call__(self):
        uow = self.begin()
        save = uow.jobs.save

        def killing(job):
            save(job)
            self.kill()

        uow.jobs.save = killing
        return uow


@pytest.mark.parametrize(("store", "method"), [("signals", "record_all"), ("connections", "save"), ("jobs", "save")])
def test_a_page_is_committed_whole_or_not(world, store, method):
    """If a page cannot be stored, its signals, metadata, cursor and progress are all as before."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    before = (sync_run.titles, sync_run.cursor(), world.reload(sync_run.connection).metadata)

    def begin():
        uow = world.uow()
        inner = getattr(getattr(uow, store), method)

        def fail(*args):
            if sync_run.pages > 1:
                raise InfrastructureError("The database is gone.")
            return inner(*args)

        setattr(getattr(uow, store), method, fail)
        return uow

    flow = world.connectors.sync
    flow = attrs.evolve(flow, unit_of_work=begin, pages=attrs.evolve(flow.pages, unit_of_work=begin))
    with pytest.raises(InfrastructureError):
        flow.run(TENANT, job.id)
    assert (sync_run.titles, sync_run.cursor(), world.reload(sync_run.connection).metadata) == before
    assert sync_run.job(job).cursor is None


def test_a_failure_is_recorded_and_retried(world):
    """The error is on the job and the connection until a retry after a pause succeeds."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503) if sync_run.pages else None
    failed = sync_run.run(job)
    assert failed == sync_run.job(job)
    assert (failed.status, failed.failures, failed.error) == (JobStatus.QUEUED, 1, "Acme answered 503.")
    assert failed.retry_after > world.clock.now()
    assert world.reload(sync_run.connection).last_error == "Acme answered 503."
    world.vendor.before = lambda request: None
    world.clock.advance(failed.retry_after - world.clock.now())
    world.connectors.run_pending()
    done = sync_run.job(job)
    assert (done.status, done.error, done.failures, done.attempts) == (JobStatus.SUCCEEDED, None, 0, 2)
    assert world.reload(sync_run.connection).last_error is None


def test_a_waiting_job_is_not_run_early(world):
    """Before its time a job is not run, whoever calls it, and its provider gets no request."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503)
    failed = sync_run.run(job)
    world.vendor.log.clear()
    world.clock.advance(failed.retry_after - world.clock.now() - timedelta(microseconds=1))
    waiting = sync_run.run(job)
    assert (waiting.status, waiting.run, waiting.retry_after) == (JobStatus.QUEUED, failed.run, failed.retry_after)
    world.connectors.run_pending()
    assert world.vendor.log == []


def test_pauses_grow_until_a_job_has_failed(world):
    """Each failure in a row doubles the pause up to the vendor's cap, and the eighth ends the job."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503)
    pauses = []
    while (failed := sync_run.run(job)).status is JobStatus.QUEUED:
        pauses.append(failed.retry_after - world.clock.now())
        world.clock.advance(pauses[-1])
    limits = world.acme.limits
    for number, pause in enumerate(pauses):
        full = min(limits.backoff_base * 2**number, limits.backoff_cap)
        assert full / 2 <= pause <= full
    assert (len(pauses), failed.failures, failed.attempts) == (MOST_FAILURES - 1, MOST_FAILURES, MOST_FAILURES)
    assert (failed.status, failed.finished_at) == (JobStatus.FAILED, world.clock.now())
    assert failed.retry_after is None


@attrs.frozen
class FixedEntropy:
    """An entropy that gives this fraction every time."""

    number: float

    def fraction(self):
        return self.number


@pytest.mark.parametrize(("drawn", "share"), [(0.0, 0.5), (0.5, 0.75), (0.75, 0.875)])
def test_retries_have_jitter(world, drawn, share):
    """The second half of the pause after a failure is random, so that jobs that failed together retry apart."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=503)
    failed = attrs.evolve(world.connectors.sync, entropy=FixedEntropy(drawn)).run(TENANT, job.id)
    assert failed.retry_after - world.clock.now() == world.acme.limits.backoff_base * share


def test_a_page_between_failures_resets_their_count(world):
    """Only failures in a row count."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    # A page's three tries fail, the fourth goes through, and so on.
    world.vendor.before = lambda request: answer(status=503) if "items" in request.url and sync_run.pages % 4 else None
    failures = 0
    while (left := sync_run.run(job)).status is JobStatus.QUEUED:
        failures += 1
        assert left.failures == 1
        world.clock.advance(left.retry_after - world.clock.now())
    assert (failures, left.status, sync_run.titles) == (3, JobStatus.SUCCEEDED, numbered(0, 1, 2, 3, 4))


def test_a_crash_is_shown_on_the_job(world, caplog):
    """A bug in a package does not end the worker: the job names it and is retried."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: answer({"items": [{"title": "no id"}], "end": 1, "more": False})
    crashed = sync_run.run(sync_run.request())
    assert (crashed.status, crashed.error) == (JobStatus.QUEUED, "internal error: KeyError")
    assert "sync_crashed" in caplog.text


def test_reading_does_not_change_the_webhook_error(world):
    """A finished run clears the sync error and leaves the webhook error; a failed run leaves it too."""
    sync_run = SyncRun(world)
    with world.uow() as uow:
        uow.connections.save(attrs.evolve(sync_run.connection, webhook_error="no right", sync_error="Acme is down."))
    sync_run.run(sync_run.request())
    assert world.reload(sync_run.connection).last_error == "Webhooks: no right"
    world.vendor.before = lambda request: answer(status=503)
    sync_run.run(sync_run.request())
    failed = world.reload(sync_run.connection)
    assert (failed.sync_error, failed.webhook_error) == ("Acme answered 503.", "no right")
    assert failed.last_error == "Acme answered 503; Webhooks: no right"


def test_another_read_does_not_hide_a_failing_one(world):
    """While a job waits for a retry, the connection shows its error, whatever else is read."""
    sync_run = SyncRun(world)
    failing = sync_run.request(JobType.BACKFILL)
    world.vendor.before = lambda request: answer(status=503)
    assert sync_run.run(failing).status is JobStatus.QUEUED
    world.vendor.before = lambda request: None
    assert sync_run.run(sync_run.request(JobType.INCREMENTAL)).status is JobStatus.SUCCEEDED
    assert world.reload(sync_run.connection).sync_error == "Acme answered 503."
    world.later(minutes=1)
    assert sync_run.run(failing).status is JobStatus.SUCCEEDED
    assert world.reload(sync_run.connection).sync_error is None


def test_a_read_of_one_target_clears_its_own_error_only(world):
    """The next read of everything clears any error."""
    sync_run = SyncRun(world)
    whole = sync_run.request(JobType.INCREMENTAL)
    world.vendor.before = lambda request: answer(status=503)
    while sync_run.run(whole).status is JobStatus.QUEUED:
        world.later(minutes=20)
    world.vendor.before = lambda request: None
    assert sync_run.run(sync_run.request(JobType.WEBHOOK, target="x")).status is JobStatus.SUCCEEDED
    assert "answered 503" in world.reload(sync_run.connection).sync_error
    assert sync_run.run(sync_run.request(JobType.INCREMENTAL)).status is JobStatus.SUCCEEDED
    assert world.reload(sync_run.connection).sync_error is None
    part = sync_run.request(JobType.WEBHOOK, target="x")
    world.vendor.before = lambda request: answer(status=503)
    assert sync_run.run(part).status is JobStatus.QUEUED
    world.vendor.before = lambda request: None
    world.later(minutes=1)
    assert sync_run.run(part).status is JobStatus.SUCCEEDED
    assert world.reload(sync_run.connection).sync_error is None


def test_a_rate_limit_sets_retry_after(world):
    """The vendor's time is on the job; it counts as no failure of the job and no error of the connection."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: answer(status=429)
    limited = sync_run.run(job)
    assert (limited.status, limited.failures) == (JobStatus.QUEUED, 0)
    assert limited.retry_after == world.clock.now() + timedelta(seconds=30)
    assert world.reload(sync_run.connection).last_error is None


def test_a_rate_limit_holds_the_connections_other_jobs(world):
    """One job's limit makes the connection's other job wait without a request; both continue afterwards."""
    sync_run = SyncRun(world)
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
    """What was read before stays, the present page is dropped, and no more is requested."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    def cancel(request):
        if sync_run.pages == 2:
            assert world.connectors.jobs.cancel(TENANT, job.id).status is JobStatus.CANCELLED

    world.vendor.before = cancel
    cancelled = sync_run.run(job)
    assert (cancelled.status, cancelled.progress.pages) == (JobStatus.CANCELLED, 1)
    world.connectors.run_pending()
    assert (sync_run.pages, sync_run.titles) == (2, numbered(0, 1))


def test_a_job_like_a_cancelled_one_is_run(world):
    """The task of a cancelled job does not block the next job."""
    sync_run = SyncRun(world)
    world.connectors.jobs.cancel(TENANT, sync_run.request().id)
    job = sync_run.request()
    world.connectors.run_pending()
    assert sync_run.job(job).status is JobStatus.SUCCEEDED


def test_a_worker_that_lost_its_job_writes_nothing(world):
    """While it hung, another worker finished the job: its late page and its error are dropped."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    def hang(request):
        if sync_run.pages == 1:
            world.vendor.before = lambda request: None
            assert sync_run.run(job).status is JobStatus.SUCCEEDED
            return answer({"items": [item(9)], "end": 9, "more": True})
        return None

    world.vendor.before = hang
    late = sync_run.run(job)
    assert (late.status, late.attempts, late.run) == (JobStatus.SUCCEEDED, 2, 2)
    assert (sync_run.titles, sync_run.cursor()) == (numbered(0, 1, 2, 3, 4), {"after": 5})

    def hang_and_fail(request):
        world.vendor.before = lambda request: None
        assert sync_run.run(other).status is JobStatus.SUCCEEDED
        return answer(status=400)

    other = sync_run.request()
    world.vendor.before = hang_and_fail
    assert sync_run.run(other).status is JobStatus.SUCCEEDED
    assert world.reload(sync_run.connection).last_error is None


@pytest.mark.parametrize(
    "late",
    [answer({"items": [item(9)], "end": 9, "more": True}), answer(status=400), answer(status=429)],
    ids=["a page", "a failure", "a rate limit"],
)
def test_a_worker_that_lost_its_job_does_not_disturb_the_other_one(world, late):
    """While it hung, another worker claimed the job and is still reading: its late result is dropped."""
    sync_run = SyncRun(world)
    job = sync_run.request()

    def hang(request):
        if "/items" not in request.url:
            return None
        world.vendor.before = lambda request: None
        with world.uow() as uow:
            present = uow.jobs.get(TENANT, job.id)
            uow.jobs.save(attrs.evolve(present, run=present.run + 1, cursor={"after": 2}))
        return late

    world.vendor.before = hang
    sync_run.run(job)
    present = sync_run.job(job)
    assert (present.status, present.run, present.cursor) == (JobStatus.RUNNING, 2, {"after": 2})
    assert (present.progress.pages, present.failures, present.error, present.retry_after) == (0, 0, None, None)
    assert (sync_run.titles, world.reload(sync_run.connection).sync_error) == ([], None)


def test_a_time_slice_ends_when_others_wait(world):
    """The job then queues behind the others; continuing is no new attempt, and nothing is read twice."""
    sync_run = SyncRun(world)
    job = sync_run.request()
    world.vendor.before = lambda request: world.later(seconds=6)
    left = sync_run.run(job, time_slice=timedelta(seconds=10))
    assert (left.status, left.progress.pages, left.retry_after) == (JobStatus.QUEUED, 1, None)
    world.vendor.before = lambda request: None
    world.connectors.run_pending()
    done = sync_run.job(job)
    assert (done.status, done.attempts, done.run, sync_run.pages) == (JobStatus.SUCCEEDED, 1, 2, 3)


def test_a_cursor_that_stays_the_same_is_a_failure(world):
    """A vendor that returns the same page again and again is not asked for ever."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: answer({"items": [], "end": 0, "more": True}) if sync_run.pages else None
    assert "stays the same" in sync_run.run(sync_run.request()).error
    assert sync_run.pages == 1


def test_a_finished_job_is_not_run_again(world):
    """Its cursor is for the next run, not for another page of its own."""
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
    world.vendor.add_items(item(2, state="open"))
    sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert sync_run.snapshots("1", "2") == {"2": {"state": "open"}}


def test_one_bad_item_is_skipped(world, caplog):
    """It is logged by its id, and the page is kept."""
    sync_run = SyncRun(world, items=1)
    world.vendor.add_items({"id": "bad"}, item(1))
    assert sync_run.run(sync_run.request()).progress.items == 3
    assert sync_run.titles == numbered(0, 1)
    assert "item_skipped" in caplog.text


LOST = answer({"items": [], "end": 9, "more": False, "gap": "cursor expired"})


def test_lost_history_is_logged(world, caplog):
    """A gap at the vendor is logged, and the sync run succeeds."""
    sync_run = SyncRun(world)
    world.vendor.before = lambda request: LOST if "items" in request.url else None
    assert sync_run.run(sync_run.request()).status is JobStatus.SUCCEEDED
    assert "history_gap" in caplog.text


def test_lost_history_is_read_again(world):
    """What the cursor no longer gives is a gap from there on, until the backfill that it starts has covered it."""
    sync_run = SyncRun(world)
    left_at = sync_run.run(sync_run.request(JobType.INCREMENTAL)).started_at
    world.later(hours=1)
    world.vendor.before = lambda request: LOST if "items" in request.url else None
    lost = sync_run.run(sync_run.request(JobType.INCREMENTAL))
    gaps = sync_run.gaps()
    assert {(one.cause, one.from_at, one.to_at, one.closed_at) for one in gaps} == {
        (GapCause.HISTORY_LOST, left_at, lost.started_at, None)
    }
    assert (lost.status, sync_run.intervals(CoveragePath.SYNC)) == (JobStatus.SUCCEEDED, [])
    world.vendor.before = lambda request: None
    world.connectors.run_pending()
    assert sync_run.titles == numbered(0, 1, 2, 3, 4)
    assert {one.closed_by for one in sync_run.gaps()} == {CoveragePath.BACKFILL}


def test_a_finished_sync_run_proves_what_it_read(world):
    """An incremental run proves the time since the previous one, a backfill its range, a baseline nothing."""
    sync_run = SyncRun(world)
    first = sync_run.run(sync_run.request(JobType.INCREMENTAL))
    assert sync_run.intervals(CoveragePath.SYNC) == []
    world.later(minutes=15)
    second = sync_run.run(sync_run.request(JobType.INCREMENTAL))
    since = world.clock.now() - timedelta(days=2)
    history = sync_run.run(sync_run.request(since=since, until=since + timedelta(days=1)))
    assert set(sync_run.intervals(CoveragePath.SYNC)) == {(first.started_at, second.started_at)}
    assert set(sync_run.intervals(CoveragePath.BACKFILL)) == {(history.since, history.until)}


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
    world.connectors.disconnect.end_connection(TENANT, sync_run.connection.id)
    with pytest.raises(ConflictError):
        sync_run.request()
    mute = World(make_acme(sync=None))
    connection = mute.connect()
    assert mute.jobs() == ()
    with pytest.raises(ConflictError):
        mute.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL)
