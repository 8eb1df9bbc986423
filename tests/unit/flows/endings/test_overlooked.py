"""Endings must not be lost between two transactions, nor take what somebody still needs."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ProviderFailedError, ReauthorizationRequiredError, VaultError
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import SubscriptionStatus
from tests.support.builders import TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World

TWO_SITES = [
    {"id": "s-1", "name": "one", "email": "lee@acme.test"},
    {"id": "s-2", "name": "two", "email": "lee@acme.test"},
]


@pytest.fixture
def world():
    return World()


def test_a_consent_that_lists_fewer_accounts_keeps_the_others(world):
    """The user's other connections go on with the new tokens, and nothing of theirs is removed."""
    world.vendor.accounts["lee"] = TWO_SITES
    one, two = world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    world.vendor.accounts["lee"] = TWO_SITES[:1]
    (again,) = world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    world.end_all()
    assert again.id == one.id
    assert world.reload(two).grant_id == again.grant_id
    assert world.connectors.connect.refresh(TENANT, two.id).status is ConnectionStatus.ACTIVE
    assert {one.status for one in world.subscriptions(two)} == {SubscriptionStatus.ACTIVE}


def test_a_refresh_that_got_lost_is_said_to_be_left(world):
    """What it brought may live: after the vendor's refusal of the old token, too."""
    connection = world.connect()
    world.later(hours=1)

    def lose(request):
        if request.url.endswith("/oauth/token"):
            world.vendor.before = lambda request: None
            world.vendor(request)
            return answer(status=502)
        return None

    world.vendor.before = lose
    with pytest.raises(ProviderFailedError):
        world.keeper.fresh_tokens(TENANT, connection.grant_id)
    world.later(minutes=10)
    with pytest.raises(ReauthorizationRequiredError):
        world.keeper.fresh_tokens(TENANT, connection.grant_id)
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    world.end_all()
    assert world.grant(connection).state is GrantState.LEFT


def test_tokens_that_are_ending_revive_nobody(world):
    """A refresh for an ending says nothing about a connection whose user has to connect again."""
    world.vendor.accounts["lee"] = TWO_SITES
    one, two = world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    with world.uow() as uow:
        needs_user = ConnectionStatus.REAUTHORIZATION_REQUIRED
        uow.connections.save(attrs.evolve(world.reload(two), status=needs_user))
    world.later(hours=2)
    world.connectors.disconnect.end_connection(TENANT, one.id)
    world.end_all()
    assert world.reload(two).status is needs_user
    assert world.grants() == []


def test_a_hook_that_is_only_switched_off_is_removed_too():
    """The vendor has it still, although it counts as lapsed here."""
    world = World(make_acme(subscriptions={"probe": lambda app, connection, subscription: _no()}))
    connection = world.connect()
    world.later(hours=2)
    world.vendor.before = lambda request: (
        answer(status=403) if request.method == "POST" and request.url.endswith("/api/hooks") else None
    )
    world.connectors.maintenance.maintain(TENANT, connection.id)
    assert SubscriptionStatus.LAPSED in {one.status for one in world.subscriptions(connection)}
    assert world.vendor.hooks
    world.vendor.before = lambda request: None
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    world.end_all()
    assert world.vendor.hooks == {}


def test_a_key_that_comes_back_in_time_ends_all(world, monkeypatch):
    """While a vault key is missing, nothing is given up; with it, hook and tokens go."""
    connection = world.connect()
    vault = type(world.keeper.vault)
    opened = vault.open

    def refuse(self, sealed, context):
        raise VaultError("The key is not in the key ring.")

    monkeypatch.setattr(vault, "open", refuse)
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    monkeypatch.setattr(vault, "open", opened)
    world.end_all(within=timedelta(hours=3))
    assert (world.vendor.hooks, [family.dead for family in world.vendor.families]) == ({}, [True])


def _no():
    yield from ()
    return False
