"""Connections side by side: time slices, takeovers, and the outcome of each kind of failure."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.reading.concurrency import LONGEST_WAIT, ConcurrencySettings
from connectors.domain.flows.reading.run import OTHERS_WAIT, SILENT_FOR
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import VaultError
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind
from connectors.ports.telemetry import NullTelemetry
from tests.support.boxes import BOXES, BoxVendor
from tests.support.builders import NOW, OTHER_TENANT, TENANT
from tests.support.vendor import answer
from tests.support.world import World, created, item

SECOND = timedelta(seconds=1)


class Floor:
    """Two tenants, the first one with two connections, and all first reads done."""

    def __init__(self, items=6, **changes):
        self.world = World(**changes)
        vendor = self.world.vendor
        for user in ("bob", "cem"):
            vendor.accounts[user] = [{"id": f"{user}-1", "name": user, "email": f"{user}@acme.test"}]
        self.ada = self.world.connect()
        self.bob = self.world.connect(user="bob")
        self.cem = self.world.connect(OTHER_TENANT, user="cem")
        self.world.work()
        self.world.later(minutes=1)
        vendor.add_items(*(item(number) for number in range(items)))
        vendor.log.clear()
        self.pages = []
        """The users whose pages were read, in order."""
        vendor.before = self.note

    def note(self, request):
        if "items" in request.url:
            token = request.headers["authorization"].removeprefix("Bearer ")
            self.pages.append(next(one.user for one in self.world.vendor.families if one.access == token))

    def ask(self, connection, job_type=JobType.BACKFILL, **changes):
        """Ask for more history than was read, or for what is new."""
        return self.world.connectors.jobs.request(connection.tenant_id, connection.id, job_type, **changes)

    def run(self, job, **options):
        return self.world.connectors.sync.run(job.tenant_id, job.id, **options)

    def read(self, connection, **options):
        """As the task of the queue does."""
        self.world.connectors.sync.read(connection.tenant_id, connection.id, **options)

    def meanwhile(self, do, *, page=1):
        """Call this once while that page is being read."""

        def act(request):
            self.note(request)
            if len(self.pages) == page and "items" in request.url:
                self.world.vendor.before = self.note
                do()

        self.world.vendor.before = act

    def titles(self, tenant=TENANT):
        return sorted(one.title for one in self.world.signals(tenant))

    def statuses(self, *jobs):
        return [self.world.job(one).status for one in jobs]


@pytest.fixture
def floor():
    return Floor()


# --- takeovers -------------------------------------------------------------------------------------------------------


def test_a_worker_that_lost_its_connection_cannot_write(floor):
    """A worker whose connection another one has taken loses its page, and each item is stored once."""
    job, done = floor.ask(floor.ada), []

    def take_over():
        floor.read(floor.ada)
        done.append(floor.world.job(job))

    floor.meanwhile(take_over, page=2)
    run = floor.world.account(floor.ada).run
    late = floor.run(job)
    assert late == done[0] == floor.world.job(job)
    assert (late.status, late.attempts) == (JobStatus.SUCCEEDED, 2)
    assert floor.world.account(floor.ada).run == run + 2
    assert (late.progress.pages, late.progress.items, late.progress.signals) == (3, 6, 6)
    assert floor.titles() == [f"Item {number}" for number in range(6)]


def test_a_connection_is_read_by_one_at_a_time(floor):
    """Who has no task of the queue waits while another worker reads it, unless that one has been silent too long."""
    backfill, incremental, done = floor.ask(floor.ada), floor.ask(floor.ada, JobType.INCREMENTAL), []
    floor.meanwhile(lambda: done.append(floor.run(incremental).status), page=2)
    assert floor.run(backfill).status is JobStatus.SUCCEEDED
    assert done == [JobStatus.QUEUED]
    floor.world.later(minutes=1)
    again = floor.ask(floor.ada, JobType.INCREMENTAL)
    with floor.world.uow() as uow:
        account = uow.accounts.find(TENANT, floor.ada.id, lock=True)
        now = floor.world.clock.now()
        uow.accounts.save(attrs.evolve(account, running_since=now, heartbeat_at=now))
    for wait, status in (
        (SECOND, JobStatus.QUEUED),
        (SILENT_FOR - 2 * SECOND, JobStatus.QUEUED),
        (SECOND, JobStatus.SUCCEEDED),
    ):
        floor.world.clock.advance(wait)
        assert floor.run(again).status is status


def test_who_finds_a_connection_being_read_comes_back(floor):
    """Its request is not lost: a task waits a few seconds, and then reads what is left."""
    job = floor.ask(floor.ada, JobType.INCREMENTAL)
    floor.world.work()
    floor.world.later(minutes=1)
    with floor.world.uow() as uow:
        account = uow.accounts.find(TENANT, floor.ada.id, lock=True)
        now = floor.world.clock.now()
        uow.accounts.save(attrs.evolve(account, running_since=now, heartbeat_at=now))
    job = floor.ask(floor.ada, JobType.INCREMENTAL)
    with floor.world.uow() as uow:
        for row in list(uow.queue._rows.values()):
            uow.queue._rows.remove((row.task.tenant_id, row.number))
    assert floor.run(job).status is JobStatus.QUEUED
    (due_at,) = [due_at for task, due_at in floor.world.tasks() if task.subject_id == floor.ada.id]
    assert due_at == floor.world.clock.now() + OTHERS_WAIT


def test_a_worker_that_lost_its_connection_cannot_fail_it(floor):
    """It cannot record a failure either: the worker that has it continues."""
    job = floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.read(floor.ada, time_slice=timedelta(0)))
    crashing = floor.world.vendor.before
    floor.world.vendor.before = lambda request: (
        crashing(request) or (answer(status=404) if len(floor.pages) > 1 else None)
    )
    run = floor.world.account(floor.ada).run
    late = floor.run(job)
    assert floor.world.account(floor.ada).run == run + 2
    assert floor.world.stream(floor.ada, "account").backfill.failures == 0
    assert (late.error, late.status) == (None, JobStatus.QUEUED)


@pytest.mark.parametrize("page", [1, 2])
def test_cancelling_stops_between_pages(floor, page):
    """What was read stays, with the page that is being read, and the worker does not overwrite the job."""
    job = floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.world.connectors.jobs.cancel(TENANT, job.id), page=page)
    left = floor.run(job)
    assert left == floor.world.job(job)
    assert (left.status, left.progress.pages, left.finished_at) == (
        JobStatus.CANCELLED,
        page - 1,
        floor.world.clock.now(),
    )
    assert (len(floor.pages), len(floor.titles())) == (page, 2 * page)
    assert floor.world.work() == 1  # its task finds nothing to do
    assert (len(floor.pages), floor.world.job(job)) == (page, left)


def test_a_failure_does_not_revive_a_cancelled_job(floor):
    """A job that is cancelled during a page stays cancelled, whatever the result of that page."""
    job = floor.ask(floor.ada)

    def fail(request):
        floor.world.connectors.jobs.cancel(TENANT, job.id)
        return answer(status=503)

    floor.world.vendor.before = fail
    assert floor.run(job).status is JobStatus.CANCELLED


def test_a_cancelled_backfill_leaves_no_stream_aside():
    """A stream that could not be read for it, and for nothing else, is in nobody's way afterwards."""
    world = World(BOXES, vendor=BoxVendor)
    long_ago = NOW - timedelta(days=40)
    for box in "ab":
        world.vendor.put(box, *range(9), at=long_ago)
    connection = world.connect()
    world.work()
    world.later(minutes=1)
    world.vendor.closed["a"] = 400
    job = world.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL, since=long_ago)
    for _ in range(4):
        world.connectors.sync.read(TENANT, connection.id, time_slice=timedelta(0))
    assert (world.stream(connection, "box:a").status, world.job(job).is_finished) == (StreamStatus.BLOCKED, False)
    world.connectors.jobs.cancel(TENANT, job.id)
    world.work()
    assert world.stream(connection, "box:a").status is StreamStatus.READY
    assert world.coverage(connection)["items"].is_complete
    assert world.reload(connection).sync_error is None


# --- time slices -----------------------------------------------------------------------------------------------------


def test_a_long_backfill_runs_in_time_slices(floor):
    """A connection whose time slice is over queues behind the waiting ones and continues at its position."""
    floor.world.retune(time_slice=timedelta(0))
    jobs = [floor.ask(floor.ada), floor.ask(floor.cem), floor.ask(floor.bob)]
    floor.world.work()
    assert floor.pages == ["ada", "cem", "bob"] * 3
    assert floor.statuses(*jobs) == [JobStatus.SUCCEEDED] * 3
    done = floor.world.job(jobs[0])
    assert (done.attempts, done.progress.pages) == (1, 3)


def test_incremental_reads_wait_for_one_page_of_a_backfill(floor):
    """An incremental sync that is requested during any tenant's backfill runs next."""
    floor.world.retune(time_slice=timedelta(0))
    floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.ask(floor.cem, JobType.INCREMENTAL))
    floor.world.work()
    assert floor.pages == ["ada", "cem", "cem", "cem", "ada", "ada"]


def test_a_webhook_read_takes_turns_with_its_connections_backfill(floor):
    """It begins after the present page of the same connection's backfill, and neither keeps the other waiting."""
    floor.world.retune(time_slice=timedelta(0))
    backfill = floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.ask(floor.ada, JobType.WEBHOOK))
    seen = []
    telemetry = NullTelemetry()
    telemetry.page_read = lambda provider, job_type, **numbers: seen.append(str(job_type))
    sync = attrs.evolve(floor.world.connectors.sync, telemetry=telemetry)
    tasks = attrs.evolve(floor.world.connectors.tasks, sync=sync)
    floor.world.connectors.empty_queue(tasks)
    assert seen[:2] == ["incremental", "backfill"]  # the listing, and the page during which the webhook came
    assert seen[2:] == ["incremental", "backfill", "incremental", "backfill", "incremental"]
    assert floor.world.job(backfill).status is JobStatus.SUCCEEDED


def test_what_is_urgent_goes_first(floor):
    """Reads of what is new run in the order in which they were requested, and before backfills."""
    floor.ask(floor.cem)
    floor.ask(floor.bob, JobType.INCREMENTAL)
    floor.ask(floor.ada, JobType.WEBHOOK)
    floor.world.work()
    assert floor.pages == ["bob"] * 3 + ["ada"] * 3 + ["cem"] * 3


# --- slots -----------------------------------------------------------------------------------------------------------


def test_a_tenant_without_a_free_slot_waits_alone(floor):
    """Its next connection tries again a little later; another tenant's is read at once."""
    floor.world.retune(concurrency=ConcurrencySettings(per_tenant=1))
    first, second, other = floor.ask(floor.ada), floor.ask(floor.bob), floor.ask(floor.cem)
    floor.meanwhile(floor.world.work)  # another worker
    floor.world.work()
    assert floor.statuses(first, second, other) == [JobStatus.SUCCEEDED, JobStatus.QUEUED, JobStatus.SUCCEEDED]
    waiting = [due_at for task, due_at in floor.world.tasks() if task.subject_id == floor.bob.id]
    assert [timedelta(0) < due_at - floor.world.clock.now() <= LONGEST_WAIT for due_at in waiting] == [True]
    assert floor.world.job(second).attempts == 0
    floor.world.clock.advance(LONGEST_WAIT)
    floor.world.work()
    assert floor.statuses(second) == [JobStatus.SUCCEEDED]


def test_backfills_leave_a_slot_to_incremental_reads(floor):
    """Of a tenant's two slots, history takes one."""
    floor.world.retune(concurrency=ConcurrencySettings(per_tenant=2))
    floor.ask(floor.ada)
    during = []

    def work():
        during.append(floor.ask(floor.bob))
        floor.world.work()
        during.extend(floor.statuses(during.pop()))
        incremental = floor.ask(floor.bob, JobType.INCREMENTAL)
        floor.world.work()
        during.extend(floor.statuses(incremental))

    floor.meanwhile(work)
    floor.world.work()
    assert during == [JobStatus.QUEUED, JobStatus.SUCCEEDED]


def test_a_providers_slots_count_for_all_tenants_together(floor):
    """Where a provider may have one job at a time, the next tenant's job waits for it."""
    floor.world.retune(concurrency=ConcurrencySettings(providers={"acme": 1}))
    floor.ask(floor.ada)
    during = []

    def work():
        other = floor.ask(floor.cem)
        floor.world.work()
        during.extend(floor.statuses(other))

    floor.meanwhile(work)
    floor.world.work()
    assert during == [JobStatus.QUEUED]


@pytest.mark.parametrize("settings", [{"per_tenant": 1}, {"per_provider": 1}])
@pytest.mark.parametrize("waiting", [JobType.INCREMENTAL, JobType.BACKFILL])
def test_a_slot_is_passed_on(floor, settings, waiting):
    """A connection whose time slice is over leaves its slot until the waiting ones have tried to take it."""
    floor.world.retune(concurrency=ConcurrencySettings(**settings), time_slice=timedelta(0))
    first, second = floor.ask(floor.ada), []

    def come():
        second.append(floor.ask(floor.bob, waiting))
        floor.world.work()  # another worker finds no slot for it

    floor.meanwhile(come)
    floor.world.work()
    for _ in range(200):
        floor.world.clock.advance(SECOND / 2)
        floor.world.work()
    assert "bob" in floor.pages[1:3]  # the first slice of a backfill may be its listing
    assert floor.statuses(first, *second) == [JobStatus.SUCCEEDED] * 2


def test_without_waiting_jobs_time_slices_follow_at_once(floor):
    """A connection that has the last slot continues at once while no other one waits for it."""
    floor.world.retune(concurrency=ConcurrencySettings(per_tenant=1, per_provider=1), time_slice=timedelta(0))
    job = floor.ask(floor.ada)
    floor.world.work()
    assert floor.statuses(job) == [JobStatus.SUCCEEDED]


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_limit_delays_the_task(floor):
    """No request is sent before the vendor's time; then reading continues by itself."""
    job = floor.ask(floor.ada)
    floor.world.vendor.before = lambda request: answer(status=429)
    floor.world.work()
    floor.world.vendor.before = floor.note
    floor.world.vendor.log.clear()
    floor.world.later(seconds=29)
    assert (floor.world.work(), floor.world.vendor.log) == (0, [])
    floor.world.later(seconds=1)
    floor.world.work()
    done = floor.world.job(job)
    assert (done.status, done.attempts, done.retry_after) == (JobStatus.SUCCEEDED, 1, None)


def test_an_outage_does_not_end_the_schedule(floor):
    """However long a vendor is down, no job fails for it; when it is back, everything is read by itself."""
    job = floor.ask(floor.ada, JobType.INCREMENTAL)
    floor.world.vendor.before = lambda request: answer(status=503)
    floor.world.run_for(timedelta(hours=6), step=timedelta(minutes=1))
    assert {one.status for one in floor.world.jobs() if not one.is_finished} == {JobStatus.QUEUED}
    assert floor.statuses(job) == [JobStatus.QUEUED]
    floor.world.vendor.before = floor.note
    floor.world.run_for(timedelta(minutes=18), step=timedelta(minutes=1))
    assert floor.statuses(job) == [JobStatus.SUCCEEDED]
    assert len(floor.titles()) == 6
    assert floor.world.reload(floor.ada).sync_error is None


def test_a_dead_grant_needs_its_user(floor):
    """The job fails at once, its connection says what to do, and other users' jobs continue."""
    job, other = floor.ask(floor.ada), floor.ask(floor.cem)
    floor.world.later(hours=1)
    next(one for one in floor.world.vendor.families if one.user == "ada").dead = True
    floor.world.work()
    failed = floor.world.job(job)
    assert (failed.status, failed.attempts) == (JobStatus.FAILED, 1)
    assert floor.world.reload(floor.ada).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert floor.statuses(other) == [JobStatus.SUCCEEDED]


def test_our_own_wrong_secret_does_not_end_a_connection(floor):
    """The job fails at once, and the connection stays active: no user can fix it."""
    job = floor.ask(floor.ada)
    floor.world.later(hours=1)
    floor.world.vendor.before = lambda request: (
        answer({"error": "invalid_client"}, 401) if request.url.endswith("/oauth/token") else None
    )
    floor.world.work()
    failed = floor.world.job(job)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "Acme refused our client.")
    assert floor.world.reload(floor.ada).status is ConnectionStatus.ACTIVE


def test_a_missing_key_fails_the_job(floor):
    """A job whose tokens cannot be opened fails with that reason and is not retried."""
    job = floor.ask(floor.ada)

    class Empty:
        def open(self, *args):
            raise VaultError("There is no such key.")

    sync = floor.world.connectors.sync
    access = attrs.evolve(sync.access, keeper=attrs.evolve(sync.access.keeper, vault=Empty()))
    assert attrs.evolve(sync, access=access).run(TENANT, job.id).status is JobStatus.FAILED
    assert floor.world.job(job).error == "There is no such key."


def test_a_refused_token_is_refreshed_once(floor):
    """A vendor that refuses the new token too is asked whose it is, and the job ends."""
    job = floor.ask(floor.ada)
    floor.world.vendor.before = lambda request: answer(status=401) if "/api/" in request.url else None
    failed = floor.run(job)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "Acme does not accept the access token any more.")
    assert floor.world.vendor.log == ["GET /api/accounts", "POST /oauth/token", *["GET /api/accounts"] * 2]


def test_a_late_job_does_not_change_an_ended_connection(floor):
    """It does not overwrite what the disconnect has recorded."""
    job = floor.ask(floor.ada)
    with floor.world.uow() as uow:
        ended = floor.ada.moved_to(ConnectionStatus.REVOKED, at=floor.world.clock.now())
        uow.connections.save(attrs.evolve(ended, end_error="revocation: refused"))
    assert floor.run(job).status is JobStatus.FAILED
    assert floor.world.reload(floor.ada).last_error == "revocation: refused"


def test_ends_are_reported_once():
    """Telemetry gets each page with its counts, and each end once, however many time slices there were."""
    heard = []

    class Ears(NullTelemetry):
        def page_read(self, provider, job_type, *, items, signals):
            heard.append((items, signals))

        def job_ended(self, job):
            heard.append(job.status)

    floor = Floor(telemetry=Ears(), items=3)
    floor.world.deliver(created(0, accounts=["a-1"]))
    heard.clear()
    floor.world.retune(time_slice=timedelta(0))
    floor.ask(floor.ada)
    floor.world.work()
    assert heard == [(0, 0), (2, 1), (1, 1), JobStatus.SUCCEEDED]  # the first page is the listing


def test_the_end_of_a_read_makes_the_next_schedule_entry(floor):
    """Whether it succeeded or failed, the next incremental sync is due an interval after its end, not its start."""
    for status in (200, 404):
        job = floor.ask(floor.ada, JobType.INCREMENTAL)
        floor.world.later(minutes=50)
        floor.world.vendor.before = lambda request, status=status: None if status == 200 else answer(status=status)
        while not (ended := floor.run(job)).is_finished:
            floor.world.clock.advance(ended.retry_after - floor.world.clock.now())
        wait = floor.world.entry(floor.ada.id, TaskKind.SYNC).next_at - floor.world.clock.now()
        assert timedelta(minutes=12) <= wait <= timedelta(minutes=18)
