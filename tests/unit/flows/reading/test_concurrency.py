"""Which jobs may run: concurrency slots of tenants and providers."""

from datetime import timedelta

import attrs
import pytest

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.domain.flows.reading.concurrency import LONGEST_WAIT, SHORTEST_WAIT, Concurrency, ConcurrencySettings
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.sync import JobStatus, JobType
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id, make_job, make_tenant

NOTHING = timedelta(0)


class Fraction:
    """An entropy that gives the same fraction every time."""

    def __init__(self, value):
        self.value = value

    def fraction(self):
        return self.value


class Slots:
    """A memory database of jobs and the `Concurrency` over it."""

    def __init__(self, fraction=0.5, **settings):
        self.begin = memory_unit_of_work(MemoryDatabase())
        with self.begin() as uow:
            for tenant in (TENANT, OTHER_TENANT):
                uow.tenants.record(make_tenant(id=tenant))
        self.concurrency = Concurrency(settings=ConcurrencySettings(**settings), entropy=Fraction(fraction))

    def store_jobs(self, number=1, **changes):
        """Store so many jobs of other connections."""
        for _ in range(number):
            job = make_job(**changes)
            with self.begin() as uow:
                uow.jobs.enqueue(job)
                uow.jobs.save(job)

    def store_running_jobs(self, number=1, **changes):
        self.store_jobs(number, **{"status": JobStatus.RUNNING, **changes})

    def wait(self, **changes):
        with self.begin() as uow:
            return self.concurrency.wait_for(uow, make_job(**changes), NOW)

    def pause(self, **changes):
        job = make_job(**{"status": JobStatus.RUNNING, **changes})
        self.store_jobs(id=job.id, **{"status": JobStatus.RUNNING, **changes, "connection_id": job.connection_id})
        with self.begin() as uow:
            return self.concurrency.yield_slot(uow, attrs.evolve(job, status=JobStatus.QUEUED), NOW)


@pytest.mark.parametrize(
    ("settings", "running", "job", "is_admitted"),
    [
        ({}, {"number": 3}, {}, True),
        ({}, {"number": 4}, {}, False),
        ({}, {"number": 4}, {"type": JobType.WEBHOOK}, False),
        ({}, {"number": 4}, {"tenant_id": OTHER_TENANT}, True),
        ({}, {"number": 2}, {"type": JobType.BACKFILL}, True),
        ({}, {"number": 3}, {"type": JobType.BACKFILL}, False),
        ({}, {"number": 4}, {"status": JobStatus.RUNNING}, True),
        ({}, {"number": 5}, {"status": JobStatus.RUNNING}, False),
        ({"per_tenant": 1}, {"number": 0}, {"type": JobType.BACKFILL}, True),
        ({"per_provider": 2}, {"number": 2, "tenant_id": OTHER_TENANT}, {}, False),
        ({"per_provider": 2}, {"number": 2, "tenant_id": OTHER_TENANT, "provider": SLACK}, {}, True),
        ({"per_provider": 2}, {"number": 1, "tenant_id": OTHER_TENANT}, {"type": JobType.BACKFILL}, False),
        ({"providers": {GITHUB: 1}}, {"number": 1, "tenant_id": OTHER_TENANT}, {}, False),
        ({"providers": {SLACK: 1}}, {"number": 1, "tenant_id": OTHER_TENANT}, {}, True),
        ({"per_provider": 1, "providers": {GITHUB: 2}}, {"number": 1, "tenant_id": OTHER_TENANT}, {}, True),
    ],
)
def test_slots(settings, running, job, is_admitted):
    """Up to the limit jobs run; backfills leave one slot free; a crashed job already counts in its own slot."""
    slots = Slots(**settings)
    slots.store_running_jobs(**running)
    assert (slots.wait(**job) == NOTHING) is is_admitted


def test_a_lost_run_keeps_no_slot_from_its_connection():
    """Its other job comes first in the queue: waiting for the slot of the lost one, it would wait for ever."""
    slots = Slots(per_tenant=1, per_provider=1)
    connection_id = ConnectionId(make_id())
    slots.store_running_jobs(connection_id=connection_id)
    assert slots.wait(connection_id=connection_id, type=JobType.WEBHOOK) == NOTHING
    assert slots.wait(type=JobType.WEBHOOK) > NOTHING


@pytest.mark.parametrize(("fraction", "wait"), [(0, SHORTEST_WAIT), (0.999_999, LONGEST_WAIT)])
def test_waiting_for_a_slot_is_short_and_jittered(fraction, wait):
    """A job that finds no slot tries again within fifteen seconds, at a random time."""
    slots = Slots(fraction, per_tenant=1)
    slots.store_running_jobs()
    assert abs(slots.wait() - wait) < timedelta(milliseconds=1)


def test_a_job_waits_for_its_retry_after():
    """The time of `retry_after` counts whether a slot is free or not, and no longer once it has come."""
    slots = Slots()
    assert slots.wait(retry_after=NOW + LONGEST_WAIT * 9) == LONGEST_WAIT * 9
    assert slots.wait(retry_after=NOW) == NOTHING


@pytest.mark.parametrize(
    ("waiting", "job", "yields"),
    [
        ({}, {}, True),
        ({}, {"type": JobType.BACKFILL}, True),
        ({"type": JobType.BACKFILL}, {"type": JobType.BACKFILL}, True),
        ({"type": JobType.BACKFILL}, {}, False),
        ({"retry_after": NOW + LONGEST_WAIT}, {}, False),
        ({"retry_after": NOW}, {}, True),
        ({"tenant_id": OTHER_TENANT}, {}, False),
        ({"status": JobStatus.SUCCEEDED}, {}, False),
    ],
)
def test_a_tenants_last_slot_is_shared(waiting, job, yields):
    """After its time slice a job yields to jobs of its tenant that could run, but not to a backfill if it is none."""
    slots = Slots(per_tenant=1)
    slots.store_jobs(**waiting)
    assert slots.pause(**job) == (LONGEST_WAIT if yields else NOTHING)


def test_no_job_yields_to_another_one_of_its_connection():
    """The two cannot run at the same time, so the slot would stay empty."""
    slots = Slots(per_tenant=1)
    connection_id = ConnectionId(make_id())
    slots.store_jobs(connection_id=connection_id, type=JobType.WEBHOOK)
    assert slots.pause(connection_id=connection_id) == NOTHING


def test_no_job_yields_while_a_slot_is_free():
    """A waiting job takes the free slot."""
    slots = Slots(per_tenant=2, per_provider=2)
    slots.store_jobs()
    assert slots.pause() == NOTHING


@pytest.mark.parametrize(("provider", "yields"), [(GITHUB, True), (SLACK, False)])
def test_a_providers_last_slot_is_shared(provider, yields):
    """A job yields to jobs of the same provider of any tenant."""
    slots = Slots(per_provider=1)
    slots.store_jobs(tenant_id=OTHER_TENANT, provider=provider)
    assert slots.pause() == (LONGEST_WAIT if yields else NOTHING)
