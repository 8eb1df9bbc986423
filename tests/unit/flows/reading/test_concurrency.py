"""Who may run: places by tenant and by provider."""

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
    """Chance, as it is wanted."""

    def __init__(self, value):
        self.value = value

    def fraction(self):
        return self.value


class Door:
    """Jobs at work, and one that would like to be."""

    def __init__(self, fraction=0.5, **settings):
        self.begin = memory_unit_of_work(MemoryDatabase())
        with self.begin() as uow:
            for tenant in (TENANT, OTHER_TENANT):
                uow.tenants.record(make_tenant(id=tenant))
        self.concurrency = Concurrency(settings=ConcurrencySettings(**settings), entropy=Fraction(fraction))

    def put(self, number=1, **changes):
        """So many jobs of other connections."""
        for _ in range(number):
            job = make_job(**changes)
            with self.begin() as uow:
                uow.jobs.enqueue(job)
                uow.jobs.save(job)

    def run(self, number=1, **changes):
        self.put(number, **{"status": JobStatus.RUNNING, **changes})

    def wait(self, **changes):
        with self.begin() as uow:
            return self.concurrency.wait_for(uow, make_job(**changes), NOW)

    def pause(self, **changes):
        job = make_job(**{"status": JobStatus.RUNNING, **changes})
        self.put(id=job.id, **{"status": JobStatus.RUNNING, **changes, "connection_id": job.connection_id})
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
def test_places(settings, running, job, is_admitted):
    """Up to as many as there are places run; history leaves one; a dead worker's job has its place already."""
    door = Door(**settings)
    door.run(**running)
    assert (door.wait(**job) == NOTHING) is is_admitted


@pytest.mark.parametrize(("fraction", "wait"), [(0, SHORTEST_WAIT), (0.999_999, LONGEST_WAIT)])
def test_waiting_for_a_place_is_short_and_strayed(fraction, wait):
    """Whoever finds none looks again within fifteen seconds, not all at once."""
    door = Door(fraction, per_tenant=1)
    door.run()
    assert abs(door.wait() - wait) < timedelta(milliseconds=1)


def test_an_instant_to_wait_for_is_waited_for():
    """Whether there is a place or not, the provider's instant counts; once it has come, it does not."""
    door = Door()
    assert door.wait(retry_after=NOW + LONGEST_WAIT * 9) == LONGEST_WAIT * 9
    assert door.wait(retry_after=NOW) == NOTHING


@pytest.mark.parametrize(
    ("waiting", "job", "makes_way"),
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
def test_a_tenants_last_place_goes_round(waiting, job, makes_way):
    """After its turn a job makes way for those of its tenant that could run, and news do not for history."""
    door = Door(per_tenant=1)
    door.put(**waiting)
    assert door.pause(**job) == (LONGEST_WAIT if makes_way else NOTHING)


def test_no_job_yields_to_another_one_of_its_connection():
    """The two cannot run at once, so the slot would stay empty."""
    door = Door(per_tenant=1)
    connection_id = ConnectionId(make_id())
    door.put(connection_id=connection_id, type=JobType.WEBHOOK)
    assert door.pause(connection_id=connection_id) == NOTHING


def test_nobody_makes_way_where_there_are_places():
    """While there is a place left, whoever waits takes that one."""
    door = Door(per_tenant=2, per_provider=2)
    door.put()
    assert door.pause() == NOTHING


@pytest.mark.parametrize(("provider", "makes_way"), [(GITHUB, True), (SLACK, False)])
def test_a_providers_last_place_goes_round(provider, makes_way):
    """Across tenants, for jobs of the same provider."""
    door = Door(per_provider=1)
    door.put(tenant_id=OTHER_TENANT, provider=provider)
    assert door.pause() == (LONGEST_WAIT if makes_way else NOTHING)
