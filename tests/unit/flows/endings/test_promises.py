"""What docs/reliability.md promises of tokens and webhooks that have to go, attacked one by one."""

from datetime import timedelta

import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    ConflictError,
    InfrastructureError,
    ProviderUnavailableError,
    TenantNotFoundError,
)
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import RevocationScope
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World

HOUR = timedelta(hours=1)
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def world():
    return World()


def end(world, connection):
    return world.connectors.disconnect.end_connection(connection.tenant_id, connection.id)


def live(world):
    """The consents whose tokens work."""
    return [family for family in world.vendor.families if not family.dead]


def once(world, part, act, *, after=False):
    """Run `act` at the first request with this part in its address, before the vendor answers it or after."""

    def step(request):
        if part not in request.url or request.method == "DELETE":
            return None
        world.vendor.before = lambda _: None
        result = world.vendor(request) if after else None
        act()
        return result

    world.vendor.before = step


# --- on record before it is tried ------------------------------------------------------------------------------------


def test_a_process_that_dies_at_once_has_promised_all(world, monkeypatch):
    """If the process dies before it has asked the vendor for anything, workers end it all within minutes."""
    connection = world.connect()
    monkeypatch.setattr(type(world.connectors.disconnect.endings), "try_now", lambda *_: None)
    assert end(world, connection).status is ConnectionStatus.REVOKED
    assert (len(world.vendor.hooks), len(live(world))) == (1, 1)
    world.run_for(TEN_MINUTES)
    assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])


def test_a_database_that_fails_in_the_middle_delays_it(world, monkeypatch):
    """A database that fails while the vendor is asked costs nothing: `DELETE` has been answered, and workers go on."""
    connection = world.connect()
    endings = type(world.connectors.disconnect.endings)
    whole = endings.end

    def fail(*_):
        raise InfrastructureError("The database cannot be reached.")

    monkeypatch.setattr(endings, "end", fail)
    assert end(world, connection).status is ConnectionStatus.REVOKED
    monkeypatch.setattr(endings, "end", whole)
    world.run_for(TEN_MINUTES)
    assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])


def test_hooks_go_before_the_tokens_that_can_remove_them(world):
    """While a hook stands, the tokens that made it are not revoked, however often that is tried."""
    connection = world.connect()
    world.vendor.before = lambda request: answer(status=503) if request.method == "DELETE" else None
    end(world, connection)
    world.run_for(3 * HOUR, step=TEN_MINUTES)
    assert world.vendor.count("POST /oauth/revoke") == 0
    assert len(live(world)) == 1
    world.vendor.before = lambda _: None
    world.run_for(2 * HOUR, step=TEN_MINUTES)
    assert (world.vendor.hooks, live(world)) == ({}, [])


def test_a_hook_whose_tokens_are_dead_is_left_at_once(world):
    """Where the vendor has ended the tokens and a hook stands, nothing can remove it: it is left, and says why."""
    connection = world.connect()
    world.vendor.kill()
    assert "box:ada" in end(world, connection).last_error
    (hook,) = world.connectors.held.list(TENANT, limit=10)
    assert (hook.is_left, hook.target, hook.reason) == (True, "box:ada", "The tokens that could remove it are gone.")
    assert world.grants() == []
    assert all(one.secret is None for one in world.subscriptions(connection))


def test_a_bug_ends_in_a_day_too(world):
    """Answers that the provider package cannot make sense of keep nothing ending for ever."""
    connection = world.connect()
    world.vendor.before = lambda request: answer(status=418)
    end(world, connection)
    world.run_for(27 * HOUR, step=TEN_MINUTES)
    assert world.grant(connection).state in {GrantState.ENDED, GrantState.LEFT}
    assert world.grants() == []
    assert all(one.secret is None for one in world.subscriptions(connection))
    assert not world.has_endings()


# --- at the same moment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_an_ending_while_its_hook_is_made(world, after):
    """A connection that ends while a request for its hook is out leaves no hook, whichever the vendor does first."""
    connection = world.connect()
    world.vendor.hooks.clear()
    world.vendor.targets = ["another"]
    once(world, "/api/hooks", lambda: end(world, connection), after=after)
    world.connectors.maintenance.maintain(TENANT, connection.id)
    world.end_all()
    assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])
    assert {one.status for one in world.subscriptions(connection)} == {SubscriptionStatus.ENDED}


@pytest.mark.parametrize("part", ["/oauth/token", "/api/accounts", "/api/hooks"])
@pytest.mark.parametrize("after", [False, True])
def test_an_ending_while_its_user_connects_again(world, part, after):
    """Whichever is stored last counts, and what lives at the vendor is what the connection says."""
    first = world.connect()
    once(world, part, lambda: end(world, first), after=after)
    again = world.connect()
    world.end_all()
    shown = world.reload(again)
    if shown.status is ConnectionStatus.ACTIVE:
        assert [family.access for family in live(world)] == [world.tokens(shown).access_token.reveal()]
        assert len(world.vendor.hooks) == 1
        assert world.connectors.connect.refresh(TENANT, shown.id).status is ConnectionStatus.ACTIVE
    else:
        assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])


def test_two_connections_of_one_consent_end_at_once(world, monkeypatch):
    """Of two that end at the same moment, one of them removes the hook and revokes the tokens that they share."""
    world.vendor.accounts["lee"] = [
        {"id": f"s-{number}", "name": str(number), "email": "lee@acme.test"} for number in (1, 2)
    ]
    one, two = world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    endings = type(world.connectors.disconnect.endings)
    whole = endings.try_now

    def overtaken(self, tenant_id, begun):
        monkeypatch.setattr(endings, "try_now", whole)
        end(world, two)
        self.try_now(tenant_id, begun)

    monkeypatch.setattr(endings, "try_now", overtaken)
    end(world, one)
    assert world.reload(two).status is ConnectionStatus.REVOKED
    world.end_all()
    assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])
    assert world.vendor.count("POST /oauth/revoke") == 1


def test_two_tenants_of_one_account_end_at_once():
    """Where a revocation ends all of an account, and both tenants end at the same moment, it is revoked."""
    world = World(make_acme(oauth={"revocation_scope": RevocationScope.ACCOUNT}))
    mine, theirs = world.connect(TENANT), world.connect(OTHER_TENANT)

    def step(request):
        if request.method == "DELETE":
            world.vendor.before = lambda _: None
            end(world, theirs)

    world.vendor.before = step
    end(world, mine)
    world.end_all()
    assert world.vendor.count("POST /oauth/revoke") >= 1
    assert (world.vendor.hooks, world.grants()) == ({}, [])


def test_a_connection_that_does_not_work_needs_no_tokens():
    """A connection whose user has to connect again does not keep another tenant's tokens from being revoked."""
    world = World(make_acme(oauth={"revocation_scope": RevocationScope.ACCOUNT}))
    mine, theirs = world.connect(TENANT), world.connect(OTHER_TENANT)
    world.vendor.families[1].dead = True
    world.later(hours=2)
    with pytest.raises(Exception, match="refused the grant"):
        world.connectors.connect.refresh(OTHER_TENANT, theirs.id)
    end(world, mine)
    assert world.vendor.count("POST /oauth/revoke") == 1
    assert live(world) == []


# --- what a vendor's lost answer leaves --------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["/oauth/revoke", "/api/hooks/"])
def test_an_end_whose_answer_is_lost(world, part):
    """The vendor has done it, and its answer never came: it is asked again, and "already gone" is success."""
    connection = world.connect()

    def lose(request):
        if part not in request.url:
            return
        world.vendor.before = lambda _: None
        world.vendor(request)
        raise ProviderUnavailableError("No answer.", outcome_unknown=True)

    world.vendor.before = lose
    end(world, connection)
    world.end_all()
    assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])
    assert world.reload(connection).last_error is None


@pytest.mark.parametrize("hours", [0, 2])
@pytest.mark.parametrize("targets", [[], None])
def test_an_ending_after_a_refresh_whose_answer_was_lost(world, hours, targets):
    """The stored tokens are dead and their successors alive: the lost refresh is settled before anything is revoked."""
    world.vendor.targets = targets
    connection = world.connect()
    world.later(hours=hours)

    def lose(request):
        if "/oauth/token" in request.url:
            world.vendor.before = lambda _: None
            world.vendor(request)
            raise ProviderUnavailableError("No answer.", outcome_unknown=True)

    world.vendor.before = lose
    with pytest.raises(ProviderUnavailableError):
        world.connectors.connect.refresh(TENANT, connection.id)
    assert len(live(world)) == 1
    end(world, connection)
    world.end_all()
    assert (live(world), world.grants()) == ([], [])
    assert not world.has_endings()


# --- what is kept, and how long --------------------------------------------------------------------------------------


def test_an_erased_tenant_is_known_until_nothing_of_it_is_ending(world):
    """It is gone at once for everybody, cannot be made again while something of it is ending, and then can."""
    connection = world.connect()
    world.vendor.before = lambda request: answer(status=503) if request.method == "DELETE" else None
    world.connectors.tenants.erase(TENANT)
    with pytest.raises(TenantNotFoundError):
        world.connectors.tenants.get(TENANT)
    with pytest.raises(ConflictError):
        world.connectors.tenants.ensure(TENANT)
    world.run_for(3 * HOUR, step=TEN_MINUTES)
    assert {one.kind for one in world.connectors.held.list(TENANT, limit=10)} == {"hook", "token"}
    world.vendor.before = lambda _: None
    world.run_for(3 * HOUR, step=TEN_MINUTES)
    assert (world.vendor.hooks, live(world), world.grants()) == ({}, [], [])
    world.connectors.tenants.ensure(TENANT)
    assert world.connectors.queries.list_connections(TENANT).items == ()
    assert connection.tenant_id == TENANT


def test_what_has_ended_is_forgotten_after_a_week(world):
    """Ended and left rows are shown for seven days, and then there is no trace of them, however many there were."""
    connection = world.connect()
    for _ in range(5):
        world.connect()
    end(world, connection)
    world.run_for(2 * HOUR, step=TEN_MINUTES)
    assert len(world.subscriptions(connection)) >= 1
    world.run_for(timedelta(days=9), step=6 * HOUR)
    assert world.subscriptions(connection) == []
    with world.uow() as uow:
        assert list(uow.grants._rows.values()) == []
