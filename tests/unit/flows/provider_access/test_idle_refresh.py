"""Refreshes of tokens that would expire because nothing uses them."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.provider_access.holding import HOLD_LIFETIME
from connectors.domain.flows.provider_access.token_sets import idle_refresh_at
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.schedule import RETRY_REFRESH
from connectors.domain.model.secret import Secret
from connectors.domain.model.tasks import TaskKind
from tests.support.builders import NOW, TENANT
from tests.support.provider import ACME, make_acme
from tests.support.vendor import answer
from tests.support.world import World

DAY = timedelta(days=1)
LIFETIME = 90 * DAY


class Idle:
    """A connection that nothing uses, at a vendor whose refresh tokens expire after ninety days without use."""

    def __init__(self):
        self.world = World(make_acme(oauth={"idle_lifetime": LIFETIME}, sync=None, webhooks={"subscriptions": None}))
        self.connection = self.world.connect()
        self.grant_id = self.connection.grant_id
        self.world.vendor.log.clear()

    @property
    def wait(self):
        """The time until the schedule entry, or None."""
        found = self.world.entry(self.grant_id, TaskKind.REFRESH)
        return None if found is None else found.next_at - self.world.clock.now()

    @property
    def refreshes(self):
        return self.world.vendor.count("POST /oauth/token")

    def pass_time(self, duration):
        self.world.clock.advance(duration)
        self.world.tick()
        self.world.work()


@pytest.fixture
def idle():
    return Idle()


def test_an_unused_grant_is_refreshed_after_a_third_of_its_lifetime(idle):
    """Not earlier, then once, and again after a third of the new tokens' lifetime."""
    assert idle.wait == LIFETIME / 3
    idle.pass_time(LIFETIME / 3 - timedelta(seconds=1))
    assert idle.refreshes == 0
    idle.pass_time(timedelta(seconds=1))
    assert (idle.refreshes, idle.wait) == (1, LIFETIME / 3)
    idle.pass_time(LIFETIME / 3)
    assert (idle.refreshes, idle.wait) == (2, LIFETIME / 3)


def test_no_unused_grant_dies_in_years(idle):
    """The vendor never gets a refresh token that was unused for too long, and the connection stays active."""
    last = NOW
    for _ in range(100):
        before = idle.refreshes
        idle.pass_time(15 * DAY)
        if idle.refreshes > before:
            assert idle.world.clock.now() - last < LIFETIME
            last = idle.world.clock.now()
    assert idle.world.reload(idle.connection).status is ConnectionStatus.ACTIVE
    assert idle.refreshes == 50


def test_use_postpones_the_idle_refresh(idle):
    """Any refresh counts as use: the next idle refresh is a third of a lifetime after it."""
    idle.world.clock.advance(20 * DAY)
    idle.world.keeper.fresh_tokens(TENANT, idle.grant_id)
    assert idle.wait == LIFETIME / 3
    idle.pass_time(10 * DAY)
    assert idle.refreshes == 1


@pytest.mark.parametrize("status", [ConnectionStatus.REAUTHORIZATION_REQUIRED, ConnectionStatus.DISABLED])
def test_a_grant_without_active_connections_is_not_refreshed(idle, status):
    """It gets no refresh, and its schedule entry is deleted."""
    with idle.world.uow() as uow:
        uow.connections.save(idle.connection.moved_to(status, at=NOW))
    idle.pass_time(LIFETIME / 3)
    assert (idle.refreshes, idle.wait) == (0, None)


def test_one_active_connection_is_enough():
    """A grant with several connections is refreshed while one of them is active."""
    idle = Idle()
    with idle.world.uow() as uow:
        other = attrs.evolve(idle.connection, id=idle.grant_id, account=attrs.evolve(idle.connection.account, id="a-2"))
        uow.connections.save(other.moved_to(ConnectionStatus.DISABLED, at=NOW))
    idle.pass_time(LIFETIME / 3)
    assert idle.refreshes == 1


def test_a_disconnected_grant_is_forgotten(idle):
    """Its schedule entry is deleted, and no refresh is sent."""
    idle.world.connectors.disconnect.end_connection(TENANT, idle.connection.id)
    idle.world.vendor.log.clear()
    idle.pass_time(LIFETIME / 3)
    assert (idle.refreshes, idle.wait, idle.world.tasks()) == (0, None, [])


def test_a_failed_refresh_is_tried_again(idle):
    """A vendor that refuses for now is asked again every few hours, and the connection stays active."""
    idle.world.vendor.before = lambda request: answer({}, 503, retry_after="60")
    idle.pass_time(LIFETIME / 3)
    assert idle.wait == RETRY_REFRESH
    idle.pass_time(RETRY_REFRESH)
    assert idle.refreshes == 2
    idle.world.vendor.before = lambda request: None
    idle.pass_time(RETRY_REFRESH)
    assert (idle.refreshes, idle.wait) == (3, LIFETIME / 3)
    assert idle.world.reload(idle.connection).status is ConnectionStatus.ACTIVE


def test_a_dead_grant_is_reported_and_not_tried_again(idle):
    """Its connection needs its user, and no further schedule entry follows."""
    idle.world.vendor.kill()
    idle.pass_time(LIFETIME / 3)
    assert idle.world.reload(idle.connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    idle.pass_time(RETRY_REFRESH)
    assert (idle.refreshes, idle.wait) == (1, None)
    again = idle.world.connect()
    assert idle.world.entry(again.grant_id, TaskKind.REFRESH).next_at - idle.world.clock.now() == LIFETIME / 3


def test_a_database_error_is_raised(idle):
    """The error of our database reaches the worker, which queues the task again."""
    idle.world.clock.advance(LIFETIME / 3)
    idle.world.tick()

    def fail(*args, **options):
        raise InfrastructureError("The database is gone.")

    keeper = idle.world.connectors.tasks.keeper
    begin = keeper.unit_of_work

    def broken():
        uow = begin()
        uow.grants.claim_refresh = fail
        return uow

    with pytest.raises(InfrastructureError):
        attrs.evolve(keeper, unit_of_work=broken).refresh_idle(TENANT, idle.grant_id)


def test_the_new_tokens_and_their_schedule_entry_are_stored_together(idle):
    """If the tokens cannot be stored because the lease is lost, the schedule does not take them for stored either."""
    idle.world.clock.advance(LIFETIME / 3)

    def lose(request):
        with idle.world.uow() as uow:
            now = idle.world.clock.now() + timedelta(minutes=5)
            until = now + timedelta(minutes=1)
            uow.grants.claim_refresh(TENANT, idle.grant_id, now=now, until=until, hold=HOLD_LIFETIME)

    idle.world.vendor.before = lose
    idle.world.keeper.refresh_idle(TENANT, idle.grant_id)
    assert idle.wait < LIFETIME / 3


def test_tokens_that_may_stay_unused_have_no_schedule_entry():
    """A vendor whose tokens do not expire for want of use gets no refresh."""
    world = World()
    connection = world.connect()
    assert world.entry(connection.grant_id, TaskKind.REFRESH) is None
    world.clock.advance(LIFETIME)
    world.tick()
    assert TaskKind.REFRESH not in {task.kind for task, _ in world.tasks()}


def tokens(**changes):
    return TokenSet(**{"access_token": Secret("a"), "refresh_token": Secret("r"), **changes})


@pytest.mark.parametrize(
    ("lifetime", "token_set", "third"),
    [
        (None, tokens(), None),
        (None, tokens(refresh_expires_at=NOW + 6 * DAY), 2 * DAY),
        (30 * DAY, tokens(refresh_expires_at=NOW + 6 * DAY), 2 * DAY),
        (3 * DAY, tokens(refresh_expires_at=NOW + 6 * DAY), DAY),
        (3 * DAY, tokens(refresh_token=None), None),
        (None, tokens(companions={"user": tokens(refresh_expires_at=NOW + 3 * DAY)}), DAY),
        (9 * DAY, tokens(refresh_token=None, companions={"user": tokens()}), 3 * DAY),
    ],
)
def test_the_first_expiry_counts(lifetime, token_set, third):
    """Expiry for want of use and other expiry count, of companions too, but only for pairs with a refresh token."""
    provider = attrs.evolve(ACME, oauth=attrs.evolve(ACME.oauth, idle_lifetime=lifetime))
    at = idle_refresh_at(provider, token_set, NOW)
    assert (None if at is None else at - NOW) == third
