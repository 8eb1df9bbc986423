"""Which connections may be read: concurrency slots of tenants and providers."""

from datetime import timedelta

import attrs
import pytest

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.domain.flows.reading.concurrency import LONGEST_WAIT, SHORTEST_WAIT, Concurrency, ConcurrencySettings
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.stream_state import AccountState, HistoryRequest
from connectors.domain.model.sync import JobStatus, JobType
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id, make_job, make_tenant

NOTHING = timedelta(0)


class Fraction:
    """An entropy that gives the same fraction every time."""

    def __init__(self, value):
        self.value = value

    def fraction(self):
        return self.value


def make_account_state(**changes):
    return AccountState(
        **{
            "tenant_id": TENANT,
            "connection_id": ConnectionId(make_id()),
            "provider": GITHUB,
            "requests": (HistoryRequest(since=NOW),),
            "updated_at": NOW,
            **changes,
        }
    )


class Slots:
    """A memory database of accounts and jobs, and the `Concurrency` over it."""

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

    def store_running(self, number=1, **changes):
        """So many other connections are being read."""
        for _ in range(number):
            with self.begin() as uow:
                uow.accounts.add(make_account_state(**{"running_since": NOW, **changes}))

    def wait(self, *, is_history_only=False, **changes):
        account = make_account_state(**changes)
        with self.begin() as uow:
            uow.accounts.add(account)
            return self.concurrency.wait_for(uow, account, is_history_only=is_history_only)

    def pause(self, *, is_history_only=False, **changes):
        """The pause of a connection whose time slice is over."""
        account = make_account_state(**changes)
        with self.begin() as uow:
            uow.accounts.add(attrs.evolve(account, running_since=NOW))
        with self.begin() as uow:
            uow.accounts.save(account)
            return self.concurrency.yield_slot(uow, account, is_history_only=is_history_only, now=NOW)


@pytest.mark.parametrize(
    ("settings", "running", "account", "is_admitted"),
    [
        ({}, {"number": 3}, {}, True),
        ({}, {"number": 4}, {}, False),
        ({}, {"number": 4}, {"tenant_id": OTHER_TENANT}, True),
        ({}, {"number": 2}, {"is_history_only": True}, True),
        ({}, {"number": 3}, {"is_history_only": True}, False),
        ({}, {"number": 3}, {"running_since": NOW}, True),
        ({}, {"number": 4}, {"running_since": NOW}, False),
        ({"per_tenant": 1}, {"number": 0}, {"is_history_only": True}, True),
        ({"per_provider": 2}, {"number": 2, "tenant_id": OTHER_TENANT}, {}, False),
        ({"per_provider": 2}, {"number": 2, "tenant_id": OTHER_TENANT, "provider": SLACK}, {}, True),
        ({"per_provider": 2}, {"number": 1, "tenant_id": OTHER_TENANT}, {"is_history_only": True}, False),
        ({"providers": {GITHUB: 1}}, {"number": 1, "tenant_id": OTHER_TENANT}, {}, False),
        ({"providers": {SLACK: 1}}, {"number": 1, "tenant_id": OTHER_TENANT}, {}, True),
        ({"per_provider": 1, "providers": {GITHUB: 2}}, {"number": 1, "tenant_id": OTHER_TENANT}, {}, True),
    ],
)
def test_slots(settings, running, account, is_admitted):
    """Up to the limit connections are read; history leaves one slot free; a crashed worker's slot is its connection's."""
    slots = Slots(**settings)
    slots.store_running(**running)
    assert (slots.wait(**account) == NOTHING) is is_admitted


def test_a_lost_run_keeps_no_slot_from_its_connection():
    """Its next task comes first in the queue: waiting for the slot of the lost one, it would wait for ever."""
    slots = Slots(per_tenant=1, per_provider=1)
    assert slots.wait(running_since=NOW) == NOTHING
    assert slots.wait() > NOTHING


@pytest.mark.parametrize(("fraction", "wait"), [(0, SHORTEST_WAIT), (0.999_999, LONGEST_WAIT)])
def test_waiting_for_a_slot_is_short_and_jittered(fraction, wait):
    """A connection that finds no slot tries again within fifteen seconds, at a random time."""
    slots = Slots(fraction, per_tenant=1)
    slots.store_running()
    assert abs(slots.wait() - wait) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("waiting", "is_history_only", "yields"),
    [
        ({}, False, True),
        ({}, True, True),
        ({"type": JobType.BACKFILL}, True, True),
        ({"type": JobType.BACKFILL}, False, False),
        ({"retry_after": NOW + LONGEST_WAIT}, False, False),
        ({"retry_after": NOW}, False, True),
        ({"tenant_id": OTHER_TENANT}, False, False),
        ({"status": JobStatus.SUCCEEDED}, False, False),
    ],
)
def test_a_tenants_last_slot_is_shared(waiting, is_history_only, yields):
    """After its time slice a connection yields to those of its tenant that could be read; what is new yields to no
    history."""
    slots = Slots(per_tenant=1)
    slots.store_jobs(**waiting)
    assert slots.pause(is_history_only=is_history_only) == (LONGEST_WAIT if yields else NOTHING)


def test_no_connection_yields_to_itself():
    """Its own jobs are what it reads for, so the slot would stay empty."""
    slots = Slots(per_tenant=1)
    connection_id = ConnectionId(make_id())
    slots.store_jobs(connection_id=connection_id, type=JobType.WEBHOOK)
    assert slots.pause(connection_id=connection_id) == NOTHING


def test_no_connection_yields_while_a_slot_is_free():
    """A waiting one takes the free slot."""
    slots = Slots(per_tenant=2, per_provider=2)
    slots.store_jobs()
    assert slots.pause() == NOTHING


@pytest.mark.parametrize(("provider", "yields"), [(GITHUB, True), (SLACK, False)])
def test_a_providers_last_slot_is_shared(provider, yields):
    """A connection yields to those of the same provider of any tenant."""
    slots = Slots(per_provider=1)
    slots.store_jobs(tenant_id=OTHER_TENANT, provider=provider)
    assert slots.pause() == (LONGEST_WAIT if yields else NOTHING)


def test_a_providers_last_slot_is_yielded_to_others_only():
    """With the last slot of its provider, a connection whose own jobs wait, and nobody else's, goes on at once."""
    slots = Slots(per_provider=1)
    connection_id = ConnectionId(make_id())
    slots.store_jobs(connection_id=connection_id)
    assert slots.pause(connection_id=connection_id) == NOTHING
