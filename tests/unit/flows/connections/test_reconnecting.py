"""Consents that are asked for one certain connection."""

import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    ConflictError,
    ConnectionNotFoundError,
    ReauthorizationRequiredError,
    TenantNotFoundError,
)
from connectors.domain.model.ids import ConnectionId
from connectors.domain.providers.contract import RevocationScope
from tests.support.builders import OTHER_TENANT, TENANT, make_connection, make_id
from tests.support.provider import make_acme
from tests.support.world import World

SITES = [{"id": f"s-{number}", "name": f"site {number}", "email": "lee@acme.test"} for number in (1, 2)]
BOB = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]


@pytest.fixture
def world():
    world = World()
    world.vendor.accounts |= {"bob": BOB, "lee": SITES}
    return world


def consented(world, user, connection, **changes):
    """The redirect's query after a consent that was asked for this connection."""
    return world.vendor.consent(world.start(connection_id=connection.id, **changes).authorize_url, user)


def access_token(world, connection):
    return world.tokens(connection).access_token.reveal()


def connections(world):
    return world.connectors.queries.list_connections(TENANT).items


def test_the_asked_connection_is_connected_again(world):
    """The same account's consent makes the connection work again, with the options of this request."""
    connection = world.connect(options={"packages": ["x"]})
    world.vendor.kill()
    with pytest.raises(ReauthorizationRequiredError):
        world.connectors.connect.refresh(TENANT, connection.id)
    (again,) = world.finish(consented(world, "ada", connection, options={"packages": ["y"]}))
    assert (again.id, again.status, again.metadata["packages"]) == (connection.id, ConnectionStatus.ACTIVE, ["y"])


def test_another_account_changes_nothing(world):
    """The error names both accounts; the connection and its tokens stay, the new tokens are revoked."""
    connection = world.connect()
    before, tokens = world.reload(connection), access_token(world, connection)
    query = consented(world, "bob", connection)
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            world.finish(query)
        (detail,) = caught.value.details
        assert detail["field"] == "connection_id"
        assert (detail["connection_account"], detail["consent_accounts"]) == ("ada", ["bob"])
        assert "consent as ada" in caught.value.next_step
    assert connections(world) == (before,)
    assert access_token(world, connection) == tokens
    assert [family.dead for family in world.vendor.families] == [False, True]
    assert (world.vendor.count("POST /oauth/token"), world.vendor.count("POST /oauth/revoke")) == (2, 1)


def test_another_account_that_is_connected_too_keeps_its_tokens(world):
    """A consent of another connected account leaves that account's connection as it is, too."""
    ada, bob = world.connect(), world.connect(user="bob")
    before, tokens = connections(world), access_token(world, bob)
    with pytest.raises(ConflictError):
        world.finish(consented(world, "bob", ada))
    assert (connections(world), access_token(world, bob)) == (before, tokens)


@pytest.mark.parametrize("is_connected", [False, True])
def test_nothing_is_revoked_where_that_ends_what_somebody_needs(is_connected):
    """Where a revocation ends all that the user has granted us, it is left out if the other account is connected."""
    world = World(make_acme(oauth={"revocation_scope": RevocationScope.ACCOUNT}))
    world.vendor.accounts["bob"] = BOB
    connection = world.connect()
    if is_connected:
        world.connect(user="bob")
    with pytest.raises(ConflictError):
        world.finish(consented(world, "bob", connection))
    world.end_all()
    assert world.vendor.count("POST /oauth/revoke") == int(not is_connected)
    assert len(world.grants()) == 1 + is_connected


def test_one_of_several_accounts_is_enough(world):
    """A consent of several accounts, the asked one among them, connects all of them."""
    first = world.connect(user="lee")
    assert [one.account.id for one in world.finish(consented(world, "lee", first))] == ["s-1", "s-2"]
    world.vendor.accounts["lee"] = SITES[1:]
    with pytest.raises(ConflictError) as caught:
        world.finish(consented(world, "lee", first))
    assert (caught.value.details[0]["connection_account"], caught.value.details[0]["consent_accounts"]) == (
        "site 1",
        ["site 2"],
    )


def test_a_revoked_connection_can_be_connected_again(world):
    """A connection that was ended here comes back with its account's consent."""
    connection = world.connect()
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    (again,) = world.finish(consented(world, "ada", connection))
    assert (again.id, again.status) == (connection.id, ConnectionStatus.ACTIVE)


def test_an_unknown_connection_cannot_be_asked_for(world):
    """A connection that the tenant does not have is not found, and no tenant is created for it."""
    theirs = world.connect(OTHER_TENANT)
    for wanted in (theirs.id, ConnectionId(make_id())):
        with pytest.raises(ConnectionNotFoundError):
            world.start(connection_id=wanted)
    with pytest.raises(TenantNotFoundError):
        world.connectors.tenants.get(TENANT)


def test_another_providers_connection_cannot_be_asked_for(world):
    """A connection of another provider is a conflict."""
    world.known()
    with world.uow() as uow:
        other = uow.connections.save(make_connection(provider="other"))
    with pytest.raises(ConflictError) as caught:
        world.start(connection_id=other.id)
    assert caught.value.details == ({"field": "connection_id", "message": "is a connection of other"},)
