"""Reading a provider's API, page by page, resumable anywhere."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.subscribing import WEBHOOK_TROUBLE
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    ConflictError,
    ConnectionNotFoundError,
    InfrastructureError,
    NotFoundError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
)
from connectors.domain.model.sync import JobStatus, JobType
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World, created, item


@pytest.fixture
def world():
    return World()


class Walk:
    """A connection, and short words for its jobs."""

    def __init__(self, world, items=5):
        self.world = world
        self.connection = world.connect()
        world.vendor.add_items(*(item(number) for number in range(items)))
        world.vendor.log.clear()

    def request(self, job_type=JobType.BACKFILL, **changes):
        return self.world.connectors.sync.request(TENANT, self.connection.id, job_type, **changes)

    def run(self, job, **options):
        return self.world.connectors.sync.run(TENANT, job.id, **options)

    def job(self, job):
        with self.world.uow() as uow:
            return uow.jobs.get(TENANT, job.id)

    def cursor(self, target=""):
        with self.world.uow() as uow:
            return uow.sync_states.load(TENANT, self.connection.id, target)

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
    """Every page's items become signals; the job tells how far it has come, and the cursor is handed over."""
    walk, seen = Walk(world), []
    done = walk.run(walk.request(), on_page=lambda job: seen.append(job.progress.signals))
    assert (done.status, done.attempts, done.finished_at) == (JobStatus.SUCCEEDED, 1, world.clock.now())
    assert (done.progress.pages, done.progress.items, done.progress.signals) == (3, 5, 5)
    assert seen == [2, 4, 5]
    assert walk.titles == numbered(0, 1, 2, 3, 4)
    assert {one.origin for one in world.signals()} == {"backfill"}
    assert walk.cursor() == {"after": 5}
    connection = world.reload(walk.connection)
    assert (connection.last_synced_at, connection.metadata["end"]) == (world.clock.now(), 5)


def test_incremental_goes_on_where_the_backfill_ended(world):
    """Only what is new is read, and the cursor moves on."""
    walk = Walk(world)
    walk.run(walk.request())
    world.vendor.add_items(item(5))
    done = walk.run(walk.request(JobType.INCREMENTAL))
    assert (done.progress.items, walk.cursor()) == (1, {"after": 6})
    assert {one.origin for one in world.signals() if one.title == "Item 5"} == {"sync"}


def test_the_first_incremental_takes_a_baseline(world):
    """Without a cursor nothing older is told, and the next walk tells what came since."""
    walk = Walk(world)
    walk.run(walk.request(JobType.INCREMENTAL))
    assert (walk.titles, walk.cursor()) == ([], {"after": 5})
    world.vendor.add_items(item(5))
    walk.run(walk.request(JobType.WEBHOOK))
    assert walk.titles == numbered(5)


def test_a_later_backfill_does_not_move_the_cursor(world):
    """Incremental reading that has begun goes on from its own place."""
    walk = Walk(world)
    walk.run(walk.request(JobType.INCREMENTAL))
    world.vendor.add_items(item(5), item(6))
    with world.uow() as uow:
        uow.sync_states.save(TENANT, walk.connection.id, {"after": 6})
    walk.run(walk.request(JobType.BACKFILL, since=world.clock.now()))
    assert walk.cursor() == {"after": 6}


def test_targets_have_cursors_of_their_own(world):
    """Reading one part leaves the others' cursors alone."""
    walk = Walk(world)
    walk.run(walk.request(JobType.INCREMENTAL, target="x"))
    assert (walk.cursor("x"), walk.cursor()) == ({"after": 5}, None)


def test_all_paths_give_one_signal(world):
    """What a webhook told is not told again by a walk."""
    walk = Walk(world)
    world.deliver(created(3))
    done = walk.run(walk.request())
    assert (done.progress.signals, walk.titles) == (4, numbered(0, 1, 2, 3, 4))


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_walk_resumes_at_its_last_page(world, page, moment):
    """Killed before a page's commit it reads that page again, killed after it the next: nothing twice, nothing lost."""
    walk = Walk(world)
    job = walk.request()

    class KilledError(BaseException):
        pass

    def kill(*_):
        if walk.pages == page:
            raise KilledError

    flow = world.connectors.sync
    if moment == "before":
        flow = attrs.evolve(flow, unit_of_work=Killing(world, kill))
    with pytest.raises(KilledError):
        flow.run(TENANT, job.id, on_page=kill)
    left = walk.job(job)
    committed = page if moment == "after" else page - 1
    assert left.progress.pages == committed
    assert len(walk.titles) == min(2 * committed, 5)
    world.vendor.log.clear()
    done = walk.run(job)
    assert (walk.pages, done.attempts if committed < 3 else 2) == (3 - committed, 2)
    assert (done.progress.pages, done.progress.signals, done.status) == (3, 5, JobStatus.SUCCEEDED)
    assert (walk.titles, walk.cursor()) == (numbered(0, 1, 2, 3, 4), {"after": 5})


class Killing:
    """A unit of work that dies in its last write."""

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
    """Signals, metadata, cursor and progress of a page that cannot be stored are all as before."""
    walk = Walk(world)
    job = walk.request()
    walk.run(walk.request(JobType.INCREMENTAL))
    before = (walk.titles, walk.cursor(), world.reload(walk.connection).metadata)

    def begin():
        uow = world.uow()
        inner = getattr(getattr(uow, store), method)

        def fail(*args):
            if walk.pages > 1:
                raise InfrastructureError("The database is gone.")
            return inner(*args)

        setattr(getattr(uow, store), method, fail)
        return uow

    with pytest.raises(InfrastructureError):
        attrs.evolve(world.connectors.sync, unit_of_work=begin).run(TENANT, job.id)
    assert (walk.titles, walk.cursor(), world.reload(walk.connection).metadata) == before
    assert walk.job(job).cursor is None


def test_a_failure_is_recorded_and_overcome(world):
    """What went wrong stands on the job and the connection, until the next run takes it away."""
    walk = Walk(world)
    job = walk.request()
    world.vendor.before = lambda request: answer(status=503) if walk.pages else None
    with pytest.raises(ProviderUnavailableError):
        walk.run(job)
    failed = walk.job(job)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "Acme answered 503.")
    assert world.reload(walk.connection).last_error == "Acme answered 503."
    world.vendor.before = lambda request: None
    done = walk.run(job)
    assert (done.status, done.error, done.attempts) == (JobStatus.SUCCEEDED, None, 2)
    assert world.reload(walk.connection).last_error is None


def test_reading_says_nothing_of_webhooks(world):
    """A finished walk does not hide that the connection is not told of events."""
    walk = Walk(world)
    with world.uow() as uow:
        uow.connections.save(attrs.evolve(walk.connection, last_error=f"{WEBHOOK_TROUBLE}no right"))
    walk.run(walk.request())
    assert world.reload(walk.connection).last_error == f"{WEBHOOK_TROUBLE}no right"


def test_a_rate_limit_says_until_when(world):
    """The instant that the vendor named is on the job."""
    walk = Walk(world)
    job = walk.request()
    world.vendor.before = lambda request: answer(status=429)
    with pytest.raises(RateLimitedError):
        walk.run(job)
    assert walk.job(job).retry_after == world.clock.now() + timedelta(seconds=30)


def test_a_walk_leaves_the_reserve(world):
    """The page that showed the quota's end is kept, the next one is not asked for."""
    walk = Walk(world)
    job = walk.request()
    items = [item(0), item(1)]
    first = answer({"items": items, "end": 2, "more": True}, x_acme_left="0")
    world.vendor.before = lambda request: first if walk.pages == 1 and "items" in request.url else None
    with pytest.raises(RateLimitedError):
        walk.run(job)
    assert (walk.pages, walk.titles) == (1, numbered(0, 1))
    world.vendor.before = lambda request: None
    walk.run(job)
    assert walk.titles == numbered(0, 1, 2, 3, 4)


def test_a_dead_grant_ends_the_walk(world):
    """The vendor's refusal marks the connection, and its jobs wait for another consent."""
    walk = Walk(world)
    job = walk.request()
    world.vendor.kill()
    with pytest.raises(ReauthorizationRequiredError):
        walk.run(job)
    assert world.reload(walk.connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    with pytest.raises(ConflictError):
        walk.run(job)
    world.connect()
    assert walk.run(job).status is JobStatus.SUCCEEDED


def test_a_token_that_dies_on_the_way_is_renewed(world):
    """A walk that outlives its token goes on with the next one."""
    walk = Walk(world)
    world.vendor.before = lambda request: world.later(minutes=25)
    done = walk.run(walk.request())
    assert (done.status, walk.titles) == (JobStatus.SUCCEEDED, numbered(0, 1, 2, 3, 4))


def test_a_disconnected_connection_gets_no_more_pages(world):
    """A page that is on its way while the connection ends is not kept."""
    walk = Walk(world)
    job = walk.request()

    def end(request):
        if walk.pages < 2:
            return None
        world.vendor.before = lambda request: None
        world.connectors.disconnect.end_connection(TENANT, walk.connection.id)
        return answer({"items": [item(2), item(3)], "end": 4, "more": True})

    world.vendor.before = end
    with pytest.raises(ConflictError):
        walk.run(job)
    assert walk.titles == numbered(0, 1)
    assert world.reload(walk.connection).status is ConnectionStatus.REVOKED


def test_a_job_that_has_ended_is_not_run_again(world):
    """Its cursor is the next walk's, not a page of its own."""
    walk = Walk(world)
    done = walk.run(walk.request())
    world.vendor.log.clear()
    assert walk.run(done) == done
    assert world.vendor.log == []


def test_states_become_events(world):
    """What is seen for the first time, changed, unchanged or gone is told against the last known state."""
    walk = Walk(world, items=0)
    for state in ("open", "closed", "closed", "gone"):
        world.vendor.add_items(item(1, state=state))
    done = walk.run(walk.request())
    assert sorted(one.kind for one in world.signals()) == ["issue_created", "issue_status_changed"]
    assert (done.progress.signals, walk.snapshots("1")) == (2, {})
    world.vendor.add_items(item(2, state="open"))
    walk.run(walk.request(JobType.INCREMENTAL))
    assert walk.snapshots("1", "2") == {"2": {"state": "open"}}


def test_one_bad_item_steps_aside(world, caplog):
    """It is logged by its id, and the page goes on."""
    walk = Walk(world, items=1)
    world.vendor.add_items({"id": "bad"}, item(1))
    assert walk.run(walk.request()).progress.items == 3
    assert walk.titles == numbered(0, 1)
    assert "item_skipped" in caplog.text


def test_lost_history_is_said(world, caplog):
    """A gap at the vendor is logged, and the walk succeeds."""
    walk = Walk(world)
    page = answer({"items": [], "end": 9, "more": False, "gap": "cursor expired"})
    world.vendor.before = lambda request: page if "items" in request.url else None
    assert walk.run(walk.request()).status is JobStatus.SUCCEEDED
    assert "history_gap" in caplog.text


def test_one_job_of_a_kind_is_queued(world):
    """Asked again, the queued one is returned."""
    walk = Walk(world)
    assert walk.request().id == walk.request().id == world.jobs()[0].id
    assert walk.request(JobType.INCREMENTAL).id != walk.request().id


def test_what_cannot_be_read_is_refused(world):
    """Unknown and foreign ids, providers without an API to read, and ended connections."""
    walk = Walk(world)
    job = walk.request()
    world.known(OTHER_TENANT)
    with pytest.raises(ConnectionNotFoundError):
        world.connectors.sync.request(OTHER_TENANT, walk.connection.id, JobType.BACKFILL)
    with pytest.raises(NotFoundError):
        world.connectors.sync.run(OTHER_TENANT, job.id)
    world.connectors.disconnect.end_connection(TENANT, walk.connection.id)
    with pytest.raises(ConflictError):
        walk.request()
    mute = World(make_acme(sync=None))
    connection = mute.connect()
    assert mute.jobs() == ()
    with pytest.raises(ConflictError):
        mute.connectors.sync.request(TENANT, connection.id, JobType.BACKFILL)
