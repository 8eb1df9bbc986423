"""Requests for reads: a job and its task are stored together, and each request once."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.reading.housekeeping import IDEMPOTENCY_LIFETIME
from connectors.domain.model.errors import ConflictError, InfrastructureError, NotFoundError, ValidationError
from connectors.domain.model.spans import EPOCH
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import read_task
from connectors.domain.model.trace import TRACE_ID
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.world import World, item

DAY = timedelta(days=1)


class Desk:
    """A connection whose first reads are done, and short names for requests."""

    def __init__(self):
        self.world = World()
        self.connection = self.world.connect()
        self.world.work()
        self.jobs = self.world.connectors.jobs
        self.now = self.world.clock.now()

    def ask(self, job_type=JobType.BACKFILL, **changes):
        return self.jobs.request(TENANT, self.connection.id, job_type, **changes)

    def waiting(self):
        """The queued jobs, and the connections that the queued tasks name."""
        jobs = [one.id for one in self.world.jobs() if one.status is JobStatus.QUEUED]
        return sorted(jobs), sorted({task.subject_id for task, _ in self.world.tasks()})

    def wanted(self):
        """What unfinished backfills ask for of every stream: from when on, and which."""
        account = self.world.account(self.connection)
        return [(one.since, one.job_id) for one in account.requests if one.job_id is not None]


@pytest.fixture
def desk():
    return Desk()


def test_connecting_queues_an_incremental_read_and_a_backfill():
    """Both jobs wait, and a task for each kind of reading, the one for what is new first."""
    world = World()
    connection = world.connect()
    tasks = sorted((task for task, _ in world.tasks()), key=lambda task: -task.priority)
    assert tasks == [read_task(TENANT, connection.id, is_history_only=history) for history in (False, True)]
    assert {(job.type, job.since) for job in world.jobs()} == {
        (JobType.INCREMENTAL, None),
        (JobType.BACKFILL, world.clock.now() - timedelta(days=30)),
    }
    assert {job.connection_id for job in world.jobs()} == {connection.id}


def failing(begin, store, name):
    """Units of work whose database fails after this call."""

    def begin_failing():
        uow = begin()
        inner = getattr(getattr(uow, store), name)

        def fail(*args, **options):
            inner(*args, **options)
            raise InfrastructureError("The database is gone.")

        setattr(getattr(uow, store), name, fail)
        return uow

    return begin_failing


@pytest.mark.parametrize(("store", "name"), [("jobs", "enqueue"), ("queue", "put")])
def test_a_job_and_its_task_are_stored_together(desk, store, name):
    """If one of the two cannot be stored, neither is."""
    broken = attrs.evolve(desk.jobs, unit_of_work=failing(desk.world.uow, store, name))
    with pytest.raises(InfrastructureError):
        broken.request(TENANT, desk.connection.id, JobType.BACKFILL)
    assert (desk.waiting(), desk.wanted()) == (([], []), [])
    job = desk.ask()
    assert desk.waiting() == ([job.id], [desk.connection.id])
    assert desk.wanted() == [(job.since or EPOCH, job.id)]


def test_a_webhook_and_its_job_are_stored_together(desk):
    """A webhook whose job cannot be queued is not stored; when it is sent again, both are."""
    ingest = desk.world.connectors.ingest
    broken = attrs.evolve(ingest, unit_of_work=failing(desk.world.uow, "queue", "put"))
    request = desk.world.request({"event": "changed", "accounts": ["a-1"]})
    with pytest.raises(InfrastructureError):
        broken.accept_delivery(request)
    assert (desk.waiting(), desk.world.deliveries()) == (([], []), ())
    ingest.accept_delivery(request)
    ((_,), (named,)) = desk.waiting()
    assert (named, len(desk.world.deliveries())) == (desk.connection.id, 1)


def test_a_repeated_request_gets_the_queued_job(desk):
    """A second request gets the job of the first; another type or target gets another job."""
    first = desk.ask(since=desk.now - DAY)
    assert desk.ask(since=desk.now - DAY).id == first.id
    others = [desk.ask(JobType.WEBHOOK), desk.ask(JobType.WEBHOOK, target="x"), desk.ask(JobType.INCREMENTAL)]
    ids = sorted([first.id, *(one.id for one in others)])
    assert (len(set(ids)), desk.waiting()) == (4, (ids, [desk.connection.id]))
    assert len(desk.world.tasks()) == 2  # one for what is new, one for history


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ((5, None), (9, None), (9, None)),
        ((9, None), (5, None), (9, None)),
        ((9, 7), (5, 3), (9, 3)),
        ((5, 3), (9, None), (9, None)),
        ((5, None), (None, None), (None, None)),
    ],
)
def test_a_queued_backfill_covers_every_requested_range(desk, first, second, both):
    """Requested with another range before it has begun, one backfill reads both ranges."""

    def days(ends):
        return [None if end is None else desk.now - end * DAY for end in ends]

    for since, until in (days(first), days(second)):
        job = desk.ask(since=since, until=until)
    assert [job.since, job.until] == days(both)
    assert (len(desk.waiting()[0]), desk.world.job(job)) == (1, job)
    assert desk.wanted() == [(job.since or EPOCH, job.id)]


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.QUEUED])
def test_a_backfill_that_has_begun_keeps_its_range(desk, status):
    """Another range is another job then, whether the first is running, queued again, or claimed during the request."""
    first = desk.ask(since=desk.now - DAY)
    inner = desk.world.uow

    def begin():
        uow = inner()
        get = uow.jobs.get

        def taken(tenant_id, job_id, *, lock=False):
            uow.jobs.get = get
            uow.jobs.save(attrs.evolve(get(tenant_id, job_id), status=status, attempts=1))
            return get(tenant_id, job_id, lock=lock)

        uow.jobs.get = taken
        return uow

    busy = attrs.evolve(desk.jobs, unit_of_work=begin)
    second = busy.request(TENANT, desk.connection.id, JobType.BACKFILL, since=desk.now - 2 * DAY)
    assert second.id != first.id
    assert (desk.world.job(first).since, second.since) == (desk.now - DAY, desk.now - 2 * DAY)
    assert second.id in desk.waiting()[0]
    assert set(desk.wanted()) == {(one.since, one.id) for one in (first, second)}


def test_a_webhook_during_a_read_queues_another(desk):
    """What changes after the present page was read is read by the next job."""
    desk.world.later(seconds=1)
    desk.world.deliver({"event": "changed", "accounts": ["a-1"]})

    def change(request):
        if "items" in request.url:
            desk.world.vendor.before = lambda request: None
            desk.world.later(seconds=1)
            desk.world.deliver({"event": "changed", "accounts": ["a-1"]})
            desk.world.deliver({"event": "changed", "accounts": ["a-1"]})
            page = desk.world.vendor(request)
            desk.world.vendor.add_items(item(1))
            return page
        return None

    desk.world.vendor.before = change
    desk.world.work()
    done = [one for one in desk.world.jobs() if one.type is JobType.WEBHOOK]
    assert [one.status for one in done] == [JobStatus.SUCCEEDED] * 2
    assert [one.title for one in desk.world.signals()] == ["Item 1"]


def test_the_task_of_a_finished_job_blocks_no_other(desk):
    """A job that is requested after the first was cancelled has its own task and is run."""
    first = desk.ask()
    assert desk.jobs.cancel(TENANT, first.id).status is JobStatus.CANCELLED
    second = desk.ask()
    assert second.id != first.id
    desk.world.work()
    assert [desk.world.job(one).status for one in (first, second)] == [JobStatus.CANCELLED, JobStatus.SUCCEEDED]


def test_reconnecting_reads_again(desk):
    """Jobs that a disconnect has cancelled do not block those of the next consent."""
    desk.ask()
    desk.world.connectors.disconnect.end_connection(TENANT, desk.connection.id)
    assert desk.waiting()[0] == []
    desk.world.vendor.add_items(item(1))
    desk.world.connect()
    desk.world.work()
    assert [one.title for one in desk.world.signals()] == ["Item 1"]


def test_a_cancelled_job_never_begins(desk):
    """Its task finds nothing to do, and its provider gets no request."""
    job = desk.ask()
    desk.jobs.cancel(TENANT, job.id)
    desk.world.vendor.log.clear()
    desk.world.work()
    cancelled = desk.world.job(job)
    assert (cancelled.status, cancelled.attempts, desk.world.vendor.log) == (JobStatus.CANCELLED, 0, [])
    assert desk.wanted() == []


def test_a_finished_job_stays_as_it_is(desk):
    """Cancelling it, or cancelling twice, changes nothing, and another tenant can cancel nothing."""
    job = desk.ask()
    with pytest.raises(NotFoundError):
        desk.jobs.cancel(OTHER_TENANT, job.id)
    desk.world.work()
    done = desk.world.job(job)
    assert desk.jobs.cancel(TENANT, job.id) == done
    cancelled = desk.jobs.cancel(TENANT, desk.ask().id)
    desk.world.later(minutes=1)
    assert desk.jobs.cancel(TENANT, cancelled.id) == cancelled


def test_one_key_is_one_request(desk):
    """A request with the same key gets the same job even after it has ended, and a new one after a day."""
    first = desk.ask(idempotency_key="k", lookback=DAY)
    desk.world.work()
    desk.world.later(hours=1)
    again = desk.ask(idempotency_key="k", lookback=DAY)
    assert (again.id, again.status) == (first.id, JobStatus.SUCCEEDED)
    with pytest.raises(ConflictError):
        desk.ask(JobType.INCREMENTAL, idempotency_key="k")
    desk.world.clock.advance(IDEMPOTENCY_LIFETIME)
    desk.world.tick()
    assert desk.ask(idempotency_key="k").id != first.id


def test_each_tenant_has_its_own_keys(desk):
    """The same key of another tenant is another key."""
    other = desk.world.connect(OTHER_TENANT)
    mine = desk.ask(idempotency_key="k")
    theirs = desk.jobs.request(OTHER_TENANT, other.id, JobType.BACKFILL, idempotency_key="k")
    assert (mine.tenant_id, theirs.tenant_id) == (TENANT, OTHER_TENANT)


def test_all_connections_of_a_provider_at_once(desk):
    """Each active one gets a job, one that needs its user gets none, and without any there is a conflict."""
    desk.world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    second = desk.world.connect(user="bob")
    desk.world.work()
    jobs = desk.jobs.request_all(TENANT, "acme", JobType.INCREMENTAL, idempotency_key="k")
    assert {one.connection_id for one in jobs} == {desk.connection.id, second.id}
    assert desk.jobs.request_all(TENANT, "acme", JobType.INCREMENTAL, idempotency_key="k") == jobs
    desk.world.connectors.disconnect.end_connection(TENANT, second.id)
    (left,) = desk.jobs.request_all(TENANT, "acme", JobType.INCREMENTAL)
    assert left.connection_id == desk.connection.id
    desk.world.connectors.disconnect.end_connection(TENANT, desk.connection.id)
    with pytest.raises(ConflictError):
        desk.jobs.request_all(TENANT, "acme", JobType.INCREMENTAL)


@pytest.mark.parametrize(("since", "until"), [(0, None), (-1, None), (2, 2), (2, 3)])
def test_a_range_is_past_and_not_empty(desk, since, until):
    """A future or empty range is refused, and nothing is queued."""
    with pytest.raises(ValidationError):
        desk.ask(since=desk.now - since * DAY, until=None if until is None else desk.now - until * DAY)
    assert desk.waiting() == ([], [])


def test_a_job_has_the_trace_id_of_its_request(desk):
    """The trace id of the request that started it is on the job."""
    token = TRACE_ID.set("trace-1")
    try:
        assert desk.ask().trace_id == "trace-1"
    finally:
        TRACE_ID.reset(token)
