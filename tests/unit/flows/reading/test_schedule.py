"""The schedule: each entry at its time, once, and none that blocks the others."""

import threading
from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.reading.housekeeping import UNTOUCHED_FOR, RetentionSettings
from connectors.domain.flows.reading.schedule import (
    BATCH,
    INTERVAL_SETTING,
    JITTER,
    ScheduleSettings,
)
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId, ProviderSlug
from connectors.domain.model.schedule import LONGEST_INTERVAL, SERVICE, SERVICE_TASKS, SHORTEST_INTERVAL, ScheduleEntry
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind, read_task
from connectors.domain.model.webhook import DeliveryStatus
from connectors.domain.providers.registry import ProviderRegistry
from tests.support.builders import (
    NOW,
    OTHER_TENANT,
    TENANT,
    make_authorization_request,
    make_connection,
    make_delivery,
    make_id,
    make_job,
)
from tests.support.provider import SLUG, make_acme
from tests.support.world import World, created, item

QUARTER = timedelta(minutes=15)
MONTH = timedelta(days=30)


@pytest.fixture
def world():
    """Two tenants' connections, all first reads done."""
    world = World()
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    world.ada = world.connect()
    world.bob = world.connect(OTHER_TENANT, "bob")
    world.work()
    return world


def queued(world, connection):
    return [
        one.type
        for one in world.jobs(connection.tenant_id)
        if one.connection_id == connection.id and one.status is JobStatus.QUEUED
    ]


def waits(world, connection, kind=TaskKind.SYNC):
    return world.entry(connection.id, kind, connection.tenant_id).next_at - world.clock.now()


def change(world, connection, **changes):
    with world.uow() as uow:
        present = uow.connections.get(connection.tenant_id, connection.id)
        return uow.connections.save(attrs.evolve(present, **changes))


def tune(world, **settings):
    """Use other schedule settings."""
    changed = ScheduleSettings(**settings)
    schedule = world.connectors.schedule
    scheduler = attrs.evolve(schedule.scheduler, settings=changed)
    schedule = attrs.evolve(schedule, scheduler=scheduler)
    world.connectors = attrs.evolve(world.connectors, schedule=schedule)
    return scheduler


# --- how often -------------------------------------------------------------------------------------------------------


def test_nothing_is_due_before_its_time(world):
    """No connection is due before the interval less its jitter, and all are after the interval plus its jitter."""
    assert all(QUARTER * (1 - JITTER) <= waits(world, one) <= QUARTER * (1 + JITTER) for one in (world.ada, world.bob))
    world.clock.advance(QUARTER * (1 - JITTER) - timedelta(seconds=1))
    world.tick()
    assert queued(world, world.ada) == []
    world.clock.advance(QUARTER * 2 * JITTER + timedelta(seconds=1))
    world.tick()
    assert [queued(world, one) for one in (world.ada, world.bob)] == [[JobType.INCREMENTAL]] * 2


def test_intervals_have_jitter(world):
    """Up to a fifth shorter or longer, and different each time, so that connections do not stay in step."""
    scheduler = world.connectors.schedule.scheduler
    with_jitter = [scheduler.with_jitter(QUARTER) / QUARTER for _ in range(200)]
    assert 0.8 <= min(with_jitter) < 0.9
    assert 1.1 < max(with_jitter) <= 1.2
    assert len(set(with_jitter)) > 150


@pytest.mark.parametrize(
    ("settings", "own", "expected"),
    [
        ({}, None, QUARTER),
        ({"interval": MONTH}, None, MONTH),
        ({"interval": MONTH, "intervals": {SLUG: QUARTER * 2}}, None, QUARTER * 2),
        ({"intervals": {ProviderSlug("other"): MONTH}}, None, QUARTER),
        ({"intervals": {SLUG: MONTH}}, 3600, timedelta(hours=1)),
        ({}, 1, SHORTEST_INTERVAL),
        ({}, 10**30, LONGEST_INTERVAL),
        *(({}, own, QUARTER) for own in (0, -5, True, "60", 1.5, [60])),
    ],
)
def test_the_nearest_setting_counts(world, settings, own, expected):
    """The connection's own interval counts, else the provider's, the operator's, the package's; nonsense is ignored."""
    scheduler = tune(world, **settings)
    connection = attrs.evolve(world.ada, metadata={} if own is None else {INTERVAL_SETTING: own})
    assert scheduler.interval(world.acme, connection) == expected


@pytest.mark.parametrize("own", [10**30, -1, 1])
def test_no_interval_stops_the_schedule(world, own):
    """Whatever interval a connection has, it and the others are read again."""
    change(world, world.ada, metadata={INTERVAL_SETTING: own})
    world.later(minutes=20)
    world.tick()
    assert [queued(world, one) for one in (world.ada, world.bob)] == [[JobType.INCREMENTAL]] * 2
    assert waits(world, world.ada) >= SHORTEST_INTERVAL * (1 - JITTER)


# --- once ------------------------------------------------------------------------------------------------------------


def test_after_a_month_offline_each_is_read_once(world):
    """However many intervals were missed, one job per connection is queued, and one schedule entry exists."""
    world.clock.advance(MONTH)
    world.tick()
    world.tick()
    assert [queued(world, one) for one in (world.ada, world.bob)] == [[JobType.INCREMENTAL]] * 2
    world.work()
    world.tick()
    assert [queued(world, one) for one in (world.ada, world.bob)] == [[], []]


def test_two_schedulers_queue_once(world):
    """Ticks at the same moment, in many threads, queue one job per connection and run each task once."""
    world.later(minutes=20)
    counted = []
    threads = [threading.Thread(target=lambda: counted.append(world.tick())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [queued(world, one) for one in (world.ada, world.bob)] == [[JobType.INCREMENTAL]] * 2
    assert sum(counted) == 4 + len(SERVICE_TASKS)  # two reads, two maintenance runs


def test_more_than_a_batch_is_due(world):
    """Everything that is due is queued in one tick, however much it is."""
    with world.uow() as uow:
        for number in range(BATCH + 1):
            account = attrs.evolve(world.ada.account, id=f"more-{number}")
            one = make_connection(provider=SLUG, account=account, grant_id=world.ada.grant_id)
            uow.connections.save(one)
            uow.schedules.plan(ScheduleEntry(tenant_id=TENANT, subject_id=one.id, kind=TaskKind.SYNC, next_at=NOW))
    world.tick()
    assert len(world.tasks()) == BATCH + 1


def test_a_read_that_still_runs_is_not_doubled(world):
    """An unfinished incremental job replaces the next one; a job for one target does not."""
    slow = world.connectors.jobs.request(TENANT, world.ada.id, JobType.INCREMENTAL)
    world.connectors.jobs.request(OTHER_TENANT, world.bob.id, JobType.INCREMENTAL, target="x")
    with world.uow() as uow:
        uow.jobs.save(attrs.evolve(slow, status=JobStatus.RUNNING, attempts=1))
    world.later(minutes=20)
    world.tick()
    assert queued(world, world.ada) == []
    assert queued(world, world.bob) == [JobType.INCREMENTAL] * 2


# --- who not ---------------------------------------------------------------------------------------------------------


def test_an_ended_connections_schedule_entries_are_deleted(world):
    """A disconnect deletes them at once, and so does the proof that the provider has ended a connection."""
    world.connectors.disconnect.end_connection(TENANT, world.ada.id)
    world.vendor.kill()
    world.deliver({"event": "revoked"}, tenant=OTHER_TENANT)
    world.work()
    assert world.reload(world.bob).status is ConnectionStatus.REVOKED
    assert world.entry(world.ada.id, TaskKind.SYNC) is None
    world.later(minutes=20)
    world.tick()
    for one in (world.ada, world.bob):
        assert [world.entry(one.id, kind, one.tenant_id) for kind in TaskKind] == [None] * len(TaskKind)
    assert world.tasks() == []


def test_a_connection_that_needs_its_user_is_skipped(world):
    """No read is queued until the user has connected again; then it is read at once and on schedule."""
    asleep = world.ada.moved_to(ConnectionStatus.REAUTHORIZATION_REQUIRED, at=NOW)
    change(world, world.ada, status=asleep.status)
    world.later(minutes=20)
    world.tick()
    assert queued(world, world.ada) == []
    assert TaskKind.SYNC not in {task.kind for task, _ in world.tasks() if task.tenant_id == TENANT}
    assert waits(world, world.ada) > timedelta(0)
    world.vendor.add_items(item(1))
    world.connect()
    world.work()
    assert [one.title for one in world.signals()] == ["Item 1"]
    world.vendor.add_items(item(2))
    world.later(minutes=20)
    world.tick()
    world.work()
    assert [one.title for one in world.signals()] == ["Item 2", "Item 1"]


def test_a_schedule_entry_without_a_connection_is_deleted(world):
    """Nothing is queued for it, and the others are queued as usual."""
    ghost = ConnectionId(make_id())
    with world.uow() as uow:
        for kind in (TaskKind.SYNC, TaskKind.MAINTAIN, TaskKind.REFRESH):
            uow.schedules.plan(ScheduleEntry(tenant_id=TENANT, subject_id=ghost, kind=kind, next_at=NOW))
    world.later(minutes=20)
    world.tick()
    assert [world.entry(ghost, kind) for kind in TaskKind] == [None] * len(TaskKind)
    assert queued(world, world.bob) == [JobType.INCREMENTAL]


@pytest.mark.parametrize("registry", [[make_acme(sync=None)], [make_acme(slug=ProviderSlug("other"))]])
def test_a_provider_that_is_gone_blocks_no_other(world, registry):
    """A connection whose provider is no longer installed, or cannot be read, is checked again later; the tick ends."""
    world.later(minutes=20)
    schedule = attrs.evolve(world.connectors.schedule, providers=ProviderRegistry(registry))
    schedule.tick()
    assert queued(world, world.ada) == []
    assert waits(world, world.ada) == timedelta(days=1)


# --- subscriptions ---------------------------------------------------------------------------------------------------


def test_subscriptions_are_maintained_on_schedule(world):
    """First soon after connecting; the next run is scheduled even before this one is done."""
    assert timedelta(minutes=8) <= waits(world, world.ada, TaskKind.MAINTAIN) <= timedelta(minutes=12)
    world.later(minutes=12)
    world.tick()
    named = [task.subject_id for task, _ in world.tasks() if task.kind is TaskKind.MAINTAIN]
    assert sorted(named) == sorted([world.ada.id, world.bob.id])
    assert waits(world, world.ada, TaskKind.MAINTAIN) > timedelta(0)


def test_a_disabled_connections_subscriptions_are_left_alone(world):
    """Its schedule entry moves on, and no maintenance is queued."""
    change(world, world.ada, status=ConnectionStatus.DISABLED)
    world.later(minutes=12)
    world.tick()
    assert [task.subject_id for task, _ in world.tasks() if task.kind is TaskKind.MAINTAIN] == [world.bob.id]
    assert waits(world, world.ada, TaskKind.MAINTAIN) > timedelta(0)


# --- the service's own -----------------------------------------------------------------------------------------------


def test_service_tasks_are_repeated(world):
    """Each is run once per interval, from the first tick on."""
    with world.uow() as uow:
        uow.schedules.cancel(ScheduleEntry(kind=TaskKind.SWEEP, next_at=NOW).tenant_id, SERVICE)
    assert world.tick() == len(SERVICE_TASKS)
    assert world.tick() == 0
    world.clock.advance(SERVICE_TASKS[TaskKind.RESCUE])
    assert world.tick() == 1


def test_sweeping_deletes_what_has_expired(world):
    """Expired authorization requests and unused limits are deleted; valid ones stay."""
    world.tick()
    with world.uow() as uow:
        for number, minutes in enumerate((5, 60)):
            request = make_authorization_request(
                state_hash=bytes([number]) * 32, expires_at=NOW + timedelta(minutes=minutes)
            )
            uow.authorization_requests.issue(request)
        uow.limits.pause("short", until=NOW + timedelta(minutes=1))
        uow.limits.pause("long", until=NOW + timedelta(hours=1))
    world.clock.advance(SERVICE_TASKS[TaskKind.SWEEP])
    world.tick()
    with world.uow() as uow:
        now = world.clock.now()
        assert uow.authorization_requests.find(bytes([0]) * 32, now=NOW) is None
        assert uow.authorization_requests.find(bytes([1]) * 32, now=now) is not None
        assert [uow.limits.sweep(now=now + timedelta(hours=at)) for at in (0, 2)] == [0, 1]


def test_retention_deletes_what_is_old(world):
    """Old deliveries and finished jobs are deleted; failed deliveries, unfinished jobs and signals stay."""
    keep = RetentionSettings(deliveries=timedelta(days=2), jobs=timedelta(days=1))
    schedule = world.connectors.schedule
    schedule = attrs.evolve(schedule, housekeeping=attrs.evolve(schedule.housekeeping, retention=keep))
    world.connectors = attrs.evolve(world.connectors, schedule=schedule)
    world.deliver(created())
    waiting = make_job(connection_id=world.ada.id, provider=SLUG)
    with world.uow() as uow:
        uow.deliveries.record(make_delivery(provider=SLUG, delivery_id="failed", status=DeliveryStatus.FAILED))
        uow.jobs.enqueue(waiting)
    world.later(days=1.5)
    world.tick()
    assert len(world.deliveries()) == 2
    assert waiting.id in {one.id for one in world.jobs()}
    assert not [one for one in world.jobs() if one.is_finished]
    world.later(days=1)
    world.tick()
    assert [one.delivery_id for one in world.deliveries()] == ["failed"]
    assert len(world.signals()) == 1


@pytest.mark.parametrize(("status", "attempts"), [(JobStatus.QUEUED, 0), (JobStatus.QUEUED, 1), (JobStatus.RUNNING, 1)])
def test_a_job_without_a_task_is_rescued(world, status, attempts):
    """However it lost its task, after five minutes its connection gets a new one and it is run to its end."""
    job = make_job(type=JobType.WEBHOOK, connection_id=world.ada.id, provider=SLUG, status=status, attempts=attempts)
    world.tick()
    with world.uow() as uow:
        uow.jobs.enqueue(job)
        uow.jobs.save(job)
    world.clock.advance(UNTOUCHED_FOR)
    world.tick()
    assert world.work() == 0
    world.clock.advance(SERVICE_TASKS[TaskKind.RESCUE])
    world.tick()
    world.work()
    assert world.job(job).status is JobStatus.SUCCEEDED


def test_a_job_that_waits_for_its_provider_is_left_waiting(world):
    """Its time has not come, so it has lost nothing."""
    change(world, world.ada, metadata={INTERVAL_SETTING: 10**9})
    with world.uow() as uow:
        uow.schedules.cancel(TENANT, world.ada.id, TaskKind.SYNC)
    job = make_job(type=JobType.WEBHOOK, connection_id=world.ada.id, provider=SLUG, retry_after=NOW + MONTH)
    with world.uow() as uow:
        uow.jobs.enqueue(job)
    world.clock.advance(MONTH - timedelta(days=1))
    world.tick()
    assert read_task(TENANT, world.ada.id) not in [task for task, _ in world.tasks()]


def test_a_connection_whose_worker_died_is_rescued(world):
    """What nobody has stored anything of for five minutes, although a worker had begun it, is read on, also without a
    job."""
    with world.uow() as uow:
        uow.schedules.cancel(TENANT, world.ada.id, TaskKind.SYNC)
        account = uow.accounts.find(TENANT, world.ada.id, lock=True)
        uow.accounts.save(attrs.evolve(account, running_since=NOW, heartbeat_at=NOW))
    world.tick()
    world.clock.advance(UNTOUCHED_FOR)
    world.tick()
    assert read_task(TENANT, world.ada.id) not in [task for task, _ in world.tasks()]
    world.clock.advance(SERVICE_TASKS[TaskKind.RESCUE])
    world.tick()
    assert read_task(TENANT, world.ada.id) in [task for task, _ in world.tasks()]
    world.work()
    assert world.account(world.ada).running_since is None


@pytest.mark.parametrize("change", [{"status": JobStatus.CANCELLED}, {"updated_at": NOW + timedelta(minutes=9)}])
def test_a_rescue_overwrites_nothing(world, change):
    """What its worker or a cancellation writes between the search and the rescue stays."""
    job = make_job(type=JobType.WEBHOOK, connection_id=world.ada.id, provider=SLUG)
    with world.uow() as uow:
        uow.jobs.enqueue(job)
    moved = attrs.evolve(job, **change)
    begin = world.uow

    def begin_slow():
        uow = begin()
        list_untouched = uow.jobs.list_untouched

        def list_then_change(**options):
            found = list_untouched(**options)
            uow.jobs.save(moved)
            return found

        uow.jobs.list_untouched = list_then_change
        return uow

    world.later(minutes=10)
    schedule = world.connectors.schedule
    attrs.evolve(schedule, housekeeping=attrs.evolve(schedule.housekeeping, unit_of_work=begin_slow)).tick()
    assert world.job(job) == moved
