"""Connections that are said, or were found, to be dead: only a call to the provider proves it."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.connections.proof import LONGEST_PAUSE
from connectors.domain.model.connection import ConnectionStatus, ReasonCode
from connectors.domain.model.health import Health, health_of, reason_of
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import SubscriptionStatus
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.vendor import answer
from tests.support.world import World

REVOKED = {"event": "revoked", "accounts": ["a-1"]}


@pytest.fixture(params=[True, False], ids=["refreshable", "lasting"])
def world(request):
    found = World()
    found.vendor.expiring = request.param
    found.connection = found.connect()
    found.work()
    found.vendor.log.clear()
    return found


def status(world):
    return world.reload(world.connection).status


def asked(world):
    return world.vendor.count("GET /api/accounts")


def suspect(world):
    world.deliver(REVOKED)
    suspected = world.reload(world.connection)
    assert (health_of(suspected), reason_of(suspected)) == (Health.DEGRADED, ReasonCode.BEING_CHECKED)


def test_a_connection_that_works_is_not_ended_by_word(world):
    """One call clears the suspicion, and leaves nothing scheduled or queued."""
    suspect(world)
    world.work()
    cleared = world.reload(world.connection)
    assert (cleared.status, cleared.suspected_at, health_of(cleared)) == (ConnectionStatus.ACTIVE, None, Health.HEALTHY)
    assert asked(world) == 1
    assert world.entry(world.connection.id, TaskKind.PROVE) is None
    assert world.tasks() == []


def test_a_connection_that_the_vendor_ended_is_ended_here(world):
    """Subscriptions, jobs, schedules and secrets end with it; connecting again revives it."""
    world.connectors.jobs.request(TENANT, world.connection.id, JobType.BACKFILL)
    world.vendor.kill()
    suspect(world)
    world.connectors.tasks.handle(TaskKind.PROVE, TENANT, world.connection.id)
    ended = world.reload(world.connection)
    assert (ended.status, ended.reason_code, ended.suspected_at) == (
        ConnectionStatus.REVOKED,
        ReasonCode.WITHDRAWN_AT_PROVIDER,
        None,
    )
    world.end_all()
    assert world.grants() == []
    # Its hook can be removed by nobody: the tokens are dead.
    assert [(one.status, one.secret) for one in world.subscriptions(ended)] == [(SubscriptionStatus.LEFT, None)]
    assert {one.status for one in world.jobs()} == {JobStatus.SUCCEEDED, JobStatus.CANCELLED}
    assert [world.entry(ended.id, kind) for kind in TaskKind] == [None] * len(TaskKind)
    again = world.connect()
    assert (again.id, again.status, again.reason_code) == (ended.id, ConnectionStatus.ACTIVE, None)


def test_a_vendor_that_is_down_proves_nothing(world):
    """It is asked again, ever more rarely, and its answer counts whenever it comes."""
    world.vendor.kill()
    world.vendor.before = lambda request: answer(status=503) if "/api/accounts" in request.url else None
    suspect(world)
    world.work()
    for _ in range(6):
        world.vendor.log.clear()
        entry = world.entry(world.connection.id, TaskKind.PROVE)
        waited = world.clock.now() - world.reload(world.connection).suspected_at
        assert entry.next_at - world.clock.now() == min(max(waited, timedelta(minutes=1)), LONGEST_PAUSE)
        world.clock.advance(entry.next_at - world.clock.now())
        world.connectors.tasks.handle(TaskKind.PROVE, TENANT, world.connection.id)
    assert status(world) is not ConnectionStatus.REVOKED
    world.vendor.before = lambda request: None
    world.connectors.tasks.handle(TaskKind.PROVE, TENANT, world.connection.id)
    assert status(world) is ConnectionStatus.REVOKED


def test_a_lost_task_is_queued_again(world):
    """The schedule asks if the task never ran."""
    suspect(world)
    with world.uow() as uow:
        for row in list(uow.queue._rows.values()):
            uow.queue._rows.remove((row.task.tenant_id, row.number))
    world.later(minutes=3)
    world.tick()
    world.work()
    assert world.reload(world.connection).suspected_at is None


def test_a_consent_during_the_proof_lives(world):
    """The answer about the former tokens says nothing about the new ones."""
    world.vendor.kill()
    suspect(world)
    new = []

    def reconnect(request):
        if request.url.endswith("/api/accounts") and not new:
            new.append(None)
            world.later(seconds=1)
            world.connect()

    world.vendor.before = reconnect
    world.work()
    present = world.reload(world.connection)
    assert (present.status, present.suspected_at) == (ConnectionStatus.ACTIVE, None)
    assert world.vendor.families[-1].access == world.tokens(present).access_token.reveal()


def test_each_tenant_is_checked_by_itself():
    """An event that names an account of two tenants ends only the connection whose tokens are dead."""
    world = World()
    ours, theirs = world.connect(), world.connect(OTHER_TENANT)
    world.work()
    world.vendor.families[0].dead = True
    world.deliver(REVOKED, tenant=None)
    world.work()
    assert [world.reload(one).status for one in (ours, theirs)] == [ConnectionStatus.REVOKED, ConnectionStatus.ACTIVE]


def test_a_death_that_was_found_before_its_event_came_is_an_ending(world):
    """A connection that needs its user is ended, too, once the vendor says so."""
    world.vendor.kill()
    world.later(minutes=1)
    world.connectors.jobs.request(TENANT, world.connection.id, JobType.INCREMENTAL)
    world.work()
    assert status(world) is ConnectionStatus.REAUTHORIZATION_REQUIRED
    world.deliver(REVOKED)
    world.work()
    assert status(world) is ConnectionStatus.REVOKED


# --- tokens that a vendor refused by mistake ---------------------------------------------------------------------------


def refuse_all(world):
    world.vendor.before = lambda request: answer(status=401) if "/api/" in request.url else None
    world.later(minutes=1)
    world.connectors.jobs.request(TENANT, world.connection.id, JobType.INCREMENTAL)
    world.work()
    dead = world.reload(world.connection)
    assert (dead.status, dead.reason_code) == (ConnectionStatus.REAUTHORIZATION_REQUIRED, ReasonCode.TOKEN_DEAD)


def test_a_vendor_that_refused_every_token_for_a_while_is_asked_again(world):
    """The connection recovers by itself."""
    refuse_all(world)
    world.run_for(timedelta(minutes=20), step=timedelta(minutes=1))
    assert status(world) is ConnectionStatus.REAUTHORIZATION_REQUIRED
    world.vendor.before = lambda request: None
    world.run_for(timedelta(hours=2), step=timedelta(minutes=5))
    assert status(world) is ConnectionStatus.ACTIVE
    assert world.reload(world.connection).sync_error is None


def test_a_dead_token_is_not_asked_about_for_ever(world):
    """After a day nobody asks any more, and in that day few times."""
    refuse_all(world)
    world.vendor.log.clear()
    world.run_for(timedelta(days=3), step=timedelta(minutes=10))
    assert asked(world) <= 3 * 12
    assert world.entry(world.connection.id, TaskKind.PROVE) is None


def test_nothing_is_asked_without_a_doubt(world):
    """A task that comes late does nothing."""
    world.connectors.tasks.handle(TaskKind.PROVE, TENANT, world.connection.id)
    with world.uow() as uow:
        uow.connections.save(
            attrs.evolve(world.connection, status=ConnectionStatus.REVOKED, suspected_at=world.clock.now())
        )
    world.connectors.tasks.handle(TaskKind.PROVE, TENANT, world.connection.id)
    assert asked(world) == 0
