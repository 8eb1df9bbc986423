"""A tenant is erased whatever happens meanwhile: from the first commit on, somebody goes on with it."""

from datetime import timedelta

import pytest

from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import InfrastructureError, TenantNotFoundError
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded
from tests.support.builders import TENANT
from tests.support.world import World


@pytest.fixture
def world():
    world = World()
    world.known()
    return world


def tokens_at_the_vendor(world):
    return [one for one in world.vendor.families if not one.dead]


def test_an_erasure_whose_process_dies_is_finished(world, monkeypatch):
    """If the process dies after it has said that the tenant is erased, a worker does the rest within minutes."""
    connection = world.connect()

    def die(*_, **__):
        raise InfrastructureError("The process died.")

    with monkeypatch.context() as patched:
        patched.setattr(DisconnectFlow, "end_connection", die)
        with pytest.raises(InfrastructureError):
            world.connectors.tenants.erase(TENANT)
    with pytest.raises(TenantNotFoundError):
        world.connectors.tenants.get(TENANT)
    assert world.reload(connection).status is ConnectionStatus.ACTIVE

    world.run_for(timedelta(minutes=5))
    assert world.reload(connection).status is ConnectionStatus.REVOKED
    assert (tokens_at_the_vendor(world), world.vendor.live_hooks()) == ([], [])
    assert world.jobs() == ()
    assert world.entry(TENANT, TaskKind.END) is None

    world.run_for(timedelta(hours=3), timedelta(minutes=5))
    assert world.connectors.tenants.ensure(TENANT)[1] is Recorded.NEW
    with world.uow() as uow:
        assert uow.connections.list_all() == []


def test_a_finished_erasure_leaves_no_task(world):
    """When everything was ended at once, nothing of it stays on schedule."""
    world.connect()
    world.connectors.tenants.erase(TENANT)
    assert world.entry(TENANT, TaskKind.END) is None
    assert (tokens_at_the_vendor(world), world.vendor.live_hooks()) == ([], [])


def test_a_late_task_leaves_a_tenant_alone_that_was_made_again(world):
    """A task of an erasure that is over changes nothing of the tenant that has its id now."""
    world.connect()
    world.connectors.tenants.erase(TENANT)
    assert world.connectors.tenants.ensure(TENANT)[1] is Recorded.NEW
    connection = world.connect()
    world.connectors.tasks.handle(TaskKind.END, TENANT, TENANT)
    assert world.reload(connection).status is ConnectionStatus.ACTIVE
    assert len(world.jobs()) == 2
    assert len(tokens_at_the_vendor(world)) == 1
