"""Jobs side by side: time slices, takeovers, and the outcome of each kind of failure."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.reading.concurrency import LONGEST_WAIT, ConcurrencySettings
from connectors.domain.flows.reading.run import MOST_FAILURES, SILENT_FOR
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import VaultError
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind
from connectors.ports.telemetry import NullTelemetry
from tests.support.builders import OTHER_TENANT, TENANT
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
        return self.world.connectors.jobs.request(connection.tenant_id, connection.id, job_type, **changes)

    def run(self, job, **options):
        return self.world.connectors.sync.run(job.tenant_id, job.id, **options)

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


def test_a_worker_that_lost_its_job_cannot_write(floor):
    """A worker whose job another one has claimed loses its page, and each item is stored once."""
    job, done = floor.ask(floor.ada), []
    floor.meanwhile(lambda: done.append(floor.run(job)), page=2)
    late = floor.run(job)
    assert late == done[0] == floor.world.job(job)
    assert (late.status, late.run, late.attempts) == (JobStatus.SUCCEEDED, 2, 2)
    assert (late.progress.pages, late.progress.items, late.progress.signals) == (3, 6, 6)
    assert floor.titles() == [f"Item {number}" for number in range(6)]


def test_a_connection_has_one_sync_run_at_a_time(floor):
    """A job waits while another job of its connection runs, unless that one has been silent too long."""
    backfill, incremental, done = floor.ask(floor.ada), floor.ask(floor.ada, JobType.INCREMENTAL), []
    floor.meanwhile(lambda: done.append(floor.run(incremental).status), page=2)
    assert floor.run(backfill).status is JobStatus.SUCCEEDED
    assert done == [JobStatus.QUEUED]
    again = floor.ask(floor.ada)
    with floor.world.uow() as uow:
        now = floor.world.clock.now()
        uow.jobs.save(attrs.evolve(again, status=JobStatus.RUNNING, attempts=1, run=1, updated_at=now - SILENT_FOR))
    assert floor.run(incremental).status is JobStatus.SUCCEEDED


def test_a_worker_that_lost_its_job_cannot_fail_it(floor):
    """It cannot mark the job as failed either: the worker that has it continues."""
    job = floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.run(job, time_slice=timedelta(0)))
    crashing = floor.world.vendor.before
    floor.world.vendor.before = lambda request: (
        crashing(request) or (answer(status=404) if len(floor.pages) > 1 else None)
    )
    late = floor.run(job)
    assert (late.run, late.error, late.status) == (2, None, JobStatus.QUEUED)


@pytest.mark.parametrize("page", [1, 2])
def test_cancelling_stops_between_pages(floor, page):
    """The page that is being read is dropped, what was read stays, and the worker does not overwrite the job."""
    job = floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.world.connectors.jobs.cancel(TENANT, job.id), page=page)
    left = floor.run(job)
    assert left == floor.world.job(job)
    assert (left.status, left.progress.pages, left.finished_at) == (
        JobStatus.CANCELLED,
        page - 1,
        floor.world.clock.now(),
    )
    assert (len(floor.pages), len(floor.titles())) == (page, 2 * (page - 1))
    assert floor.world.work() == 1  # its task finds nothing to do
    assert floor.world.job(job) == left


def test_a_failure_does_not_revive_a_cancelled_job(floor):
    """A job that is cancelled during a page stays cancelled, whatever the result of that page."""
    job = floor.ask(floor.ada)

    def fail(request):
        floor.world.connectors.jobs.cancel(TENANT, job.id)
        return answer(status=503)

    floor.world.vendor.before = fail
    assert floor.run(job).status is JobStatus.CANCELLED


# --- time slices -----------------------------------------------------------------------------------------------------


def test_a_long_backfill_runs_in_time_slices(floor):
    """A job whose time slice is over queues behind the waiting ones and continues from its cursor."""
    floor.world.retune(time_slice=timedelta(0))
    jobs = [floor.ask(floor.ada), floor.ask(floor.cem), floor.ask(floor.bob)]
    floor.world.work()
    assert floor.pages == ["ada", "cem", "bob"] * 3
    assert floor.statuses(*jobs) == [JobStatus.SUCCEEDED] * 3
    done = floor.world.job(jobs[0])
    assert (done.attempts, done.run, done.progress.pages) == (1, 3, 3)


def test_incremental_reads_wait_for_one_page_of_a_backfill(floor):
    """An incremental sync that is requested during any tenant's backfill runs next."""
    floor.world.retune(time_slice=timedelta(0))
    floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.ask(floor.cem, JobType.INCREMENTAL))
    floor.world.work()
    assert floor.pages == ["ada", "cem", "cem", "cem", "ada", "ada"]


def test_a_webhook_read_overtakes_its_connections_backfill(floor):
    """It runs between two time slices of the same connection's backfill."""
    floor.world.retune(time_slice=timedelta(0))
    backfill = floor.ask(floor.ada)
    floor.meanwhile(lambda: floor.ask(floor.ada, JobType.WEBHOOK))
    seen = []
    telemetry = NullTelemetry()
    telemetry.page_read = lambda provider, job_type, **numbers: seen.append(str(job_type))
    sync = attrs.evolve(floor.world.connectors.sync, telemetry=telemetry)
    tasks = attrs.evolve(floor.world.connectors.tasks, sync=sync)
    floor.world.connectors.empty_queue(tasks)
    assert seen == ["backfill", "webhook", "webhook", "webhook", "backfill", "backfill"]
    assert floor.world.job(backfill).status is JobStatus.SUCCEEDED


def test_what_is_urgent_goes_first(floor):
    """Webhook reads run first, then incremental reads, then backfills, in whatever order they were requested."""
    floor.ask(floor.cem)
    floor.ask(floor.bob, JobType.INCREMENTAL)
    floor.ask(floor.ada, JobType.WEBHOOK)
    floor.world.work()
    assert floor.pages == ["ada"] * 3 + ["bob"] * 3 + ["cem"] * 3


# --- slots -----------------------------------------------------------------------------------------------------------


def test_a_tenant_without_a_free_slot_waits_alone(floor):
    """Its next job tries again a little later; another tenant's job runs at once."""
    floor.world.retune(concurrency=ConcurrencySettings(per_tenant=1))
    first, second, other = floor.ask(floor.ada), floor.ask(floor.bob), floor.ask(floor.cem)
    floor.meanwhile(floor.world.work)  # another worker
    floor.world.work()
    assert floor.statuses(first, second, other) == [JobStatus.SUCCEEDED, JobStatus.QUEUED, JobStatus.SUCCEEDED]
    waiting = [due_at for task, due_at in floor.world.tasks() if task.subject_id == second.id]
    assert [timedelta(0) < due_at - floor.world.clock.now() <= LONGEST_WAIT for due_at in waiting] == [True]
    assert floor.world.job(second).attempts == 0
    floor.world.clock.advance(LONGEST_WAIT)
    floor.world.work()
    assert floor.statuses(second) == [JobStatus.SUCCEEDED]


def test_backfills_leave_a_slot_to_incremental_reads(floor):
    """Of a tenant's two slots, backfills take one."""
    floor.world.retune(concurrency=ConcurrencySettings(per_tenant=2))
    floor.ask(floor.ada)
    during = []

    def work():
        backfill, incremental = floor.ask(floor.bob), floor.ask(floor.bob, JobType.INCREMENTAL)
        floor.world.work()
        during.extend(floor.statuses(backfill, incremental))

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
    """A job whose time slice is over leaves its slot until the waiting jobs have tried to take it."""
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
    assert floor.pages[:2] == ["ada", "bob"]
    assert floor.statuses(first, *second) == [JobStatus.SUCCEEDED] * 2


def test_without_waiting_jobs_time_slices_follow_at_once(floor):
    """A job that has the last slot continues at once while no other job waits for it."""
    floor.world.retune(concurrency=ConcurrencySettings(per_tenant=1, per_provider=1), time_slice=timedelta(0))
    job = floor.ask(floor.ada)
    floor.world.work()
    assert floor.statuses(job) == [JobStatus.SUCCEEDED]


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_limit_delays_the_task(floor):
    """No request is sent before the vendor's time; then the job continues by itself."""
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
    assert (done.status, done.failures, done.attempts, done.retry_after) == (JobStatus.SUCCEEDED, 0, 1, None)


def test_a_failed_job_does_not_end_the_schedule(floor):
    """After eight failures in a row the job is FAILED, and the next one is queued at its scheduled time."""
    job = floor.ask(floor.ada, JobType.INCREMENTAL)
    floor.world.vendor.before = lambda request: answer(status=503)
    while not floor.world.job(job).is_finished:
        floor.world.work()
        floor.world.later(minutes=15)
    failed = floor.world.job(job)
    assert (failed.status, failed.failures) == (JobStatus.FAILED, MOST_FAILURES)
    floor.world.vendor.before = floor.note
    floor.world.later(minutes=18)
    floor.world.tick()
    floor.world.work()
    assert len(floor.titles()) == 6
    assert floor.world.reload(floor.ada).last_error is None


def test_a_dead_grant_needs_its_user(floor):
    """The job fails at once, its connection says what to do, and other users' jobs continue."""
    job, other = floor.ask(floor.ada), floor.ask(floor.cem)
    floor.world.later(hours=1)
    next(one for one in floor.world.vendor.families if one.user == "ada").dead = True
    floor.world.work()
    failed = floor.world.job(job)
    assert (failed.status, failed.failures) == (JobStatus.FAILED, 1)
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
    """A vendor that refuses the new token too gets no third request, and the job ends."""
    job = floor.ask(floor.ada)
    floor.world.vendor.before = lambda request: answer(status=401) if "/api/" in request.url else None
    failed = floor.run(job)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "Acme refused the token.")
    assert floor.world.vendor.log == ["GET /api/accounts", "POST /oauth/token", "GET /api/accounts"]


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
    assert heard == [(2, 1), (1, 1), JobStatus.SUCCEEDED]


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
