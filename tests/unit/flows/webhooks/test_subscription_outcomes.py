"""Subscriptions whose outcome is unknown, refused or cut short: nothing says "healthy" over them, and they recover."""

import json
from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.webhooks.subscription_maintenance import RETRY_BASE, RETRY_CAP, UNCONFIRMED
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ProviderUnavailableError
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import SubscriptionStatus
from tests.support.builders import TENANT
from tests.support.provider import make_acme, probe, subscribe, subscribe_for_a_time
from tests.support.vendor import answer
from tests.support.world import World, created

LIFETIME = timedelta(days=7)
EXPIRING = {"lifetime": LIFETIME, "subscribe": subscribe_for_a_time}


def make_world(**subscriptions):
    world = World(make_acme(subscriptions=subscriptions))
    world.vendor.takes_hooks_over = "lifetime" not in subscriptions
    return world


def on_hook(world, do):
    """Do this when the vendor is asked to make a hook."""
    world.vendor.before = lambda request: (
        do(request) if request.method == "POST" and request.url.endswith("/hooks") else None
    )


def lose(request):
    raise ProviderUnavailableError("No answer.", outcome_unknown=True)


def crash(*args):
    yield from ()
    raise KeyError("a bug in the package")


def maintain(world, connection):
    world.connectors.maintenance.maintain(TENANT, connection.id)
    return world.reload(connection)


def statuses(world, connection, target=None):
    return [str(one.status) for one in world.subscriptions(connection) if target in (None, one.target)]


def inspected(world, connection):
    return world.connectors.queries.inspect_connection(TENANT, connection.id).health


def next_run(world, connection):
    """Time passes until the next maintenance run, which is done; how long that was."""
    began = world.clock.now()
    entry = world.entry(connection.id, TaskKind.MAINTAIN)
    world.clock.advance(max(entry.next_at - began, timedelta(0)))
    world.connectors.maintenance.maintain(TENANT, connection.id)
    return world.clock.now() - began


# --- an unknown outcome ------------------------------------------------------------------------------------------


def test_lost_answers_are_tried_less_and_less_often():
    """While every answer is lost, the pauses grow to the cap, and only few subscriptions pile up."""
    world = make_world()
    on_hook(world, lose)
    connection = world.connect()
    waits = [next_run(world, connection) for _ in range(40)]
    assert RETRY_CAP / 2 < max(waits) <= RETRY_CAP * 1.5
    assert sum(waits, timedelta(0)) > RETRY_CAP * 4
    world.vendor.before = lambda request: None
    while "active" not in statuses(world, connection):
        next_run(world, connection)
    assert set(statuses(world, connection)) == {"active", "ended"}
    assert health_of(world.reload(connection)) is Health.HEALTHY


def test_refusals_before_a_success_do_not_count():
    """After a subscription has worked, its next refusal is the first in a row."""
    world = make_world(**EXPIRING)
    on_hook(world, lose)
    connection = world.connect()
    for _ in range(5):
        next_run(world, connection)
    world.vendor.before = lambda request: None
    while "active" not in statuses(world, connection):
        next_run(world, connection)
    world.clock.advance(LIFETIME)
    on_hook(world, lambda request: answer(status=503))
    maintain(world, connection)
    assert [one.failures for one in world.subscriptions(connection) if one.status == "failed"] == [1]


def test_what_is_gone_while_its_outcome_is_unknown_ends():
    """A pending subscription whose target is gone does not degrade its connection for ever, nor stay at the vendor."""
    world = make_world()
    world.vendor.targets = ["x", "y"]

    def lose_y(request):
        if json.loads(request.body)["target"] == "y":
            world.vendor.before = lambda request: None
            world.vendor(request)
            lose(request)

    on_hook(world, lose_y)
    connection = world.connect()
    assert statuses(world, connection, "y") == ["pending"]
    world.vendor.targets = ["x"]
    assert health_of(maintain(world, connection)) is Health.DEGRADED  # the answer may still be on its way
    world.clock.advance(RETRY_BASE)
    assert health_of(maintain(world, connection)) is Health.HEALTHY
    assert (statuses(world, connection, "x"), statuses(world, connection, "y")) == (["active"], ["ended"])
    assert [hook["target"] for hook in world.vendor.hooks.values()] == ["x"]


def test_a_delivery_that_confirms_tells_no_end_but_we_know_it():
    """A subscription that only a delivery has confirmed is renewed before it ends at the vendor."""
    world = make_world(**EXPIRING)
    secrets = []

    def make_and_lose(request):
        secrets.append(json.loads(request.body)["secret"])
        lose(request)

    on_hook(world, make_and_lose)
    connection = world.connect()
    world.deliver(created(), secret=secrets[0], hook="theirs")
    (confirmed,) = world.subscriptions(connection)
    assert (confirmed.status, confirmed.failures) == (SubscriptionStatus.ACTIVE, 0)
    assert confirmed.expires_at == connection.created_at + LIFETIME
    world.vendor.before = lambda request: None
    world.clock.advance(LIFETIME * 0.7)
    maintain(world, connection)
    assert statuses(world, connection) == ["ended", "active"]


def test_a_delivery_that_confirms_ends_the_lapsed_one():
    """It had lapsed, the answer of the next try was lost, a delivery came: the connection is healthy again."""
    world = make_world(probe=probe)
    connection = world.connect()
    world.vendor.hooks.clear()
    world.clock.advance(timedelta(hours=2))
    secrets = []

    def make_and_lose(request):
        secrets.append(json.loads(request.body)["secret"])
        world.vendor.hooks["theirs"] = {"id": "theirs", "accounts": [], **json.loads(request.body)}
        lose(request)

    on_hook(world, make_and_lose)
    assert health_of(maintain(world, connection)) is Health.DEGRADED
    assert statuses(world, connection) == ["lapsed", "pending"]
    world.deliver(created(), secret=secrets[0], hook="theirs")
    assert statuses(world, connection) == ["ended", "active"]
    assert health_of(maintain(world, connection)) is Health.HEALTHY


def test_what_nobody_has_answered_yet_is_not_healthy():
    """A process that died between the row and the call leaves a pending subscription without an error."""
    world = make_world()
    connection = world.connect()
    with world.uow() as uow:
        (one,) = world.subscriptions(connection)
        pending = attrs.evolve(one, status=SubscriptionStatus.PENDING, external_id=None, updated_at=world.clock.now())
        uow.subscriptions.save(pending)
    assert inspected(world, connection) is Health.DEGRADED
    shown = maintain(world, connection)
    assert (shown.webhook_error, health_of(shown)) == (UNCONFIRMED, Health.DEGRADED)
    world.clock.advance(RETRY_BASE)
    assert health_of(maintain(world, connection)) is Health.HEALTHY


def test_what_has_expired_unnoticed_is_not_healthy():
    """Where no worker has noticed yet that a subscription has expired, the connection shows it all the same."""
    world = make_world(**EXPIRING)
    connection = world.connect()
    assert inspected(world, connection) is Health.HEALTHY
    world.clock.advance(LIFETIME)
    assert inspected(world, connection) is Health.DEGRADED


# --- bugs of a provider's package --------------------------------------------------------------------------------


def crash_for(target):
    def subscribing(app, connection, request):
        if request.subscription.target == target:
            yield from crash()
        return (yield from subscribe(app, connection, request))

    return subscribing


def test_a_bug_with_one_target_costs_neither_the_connection_nor_the_others():
    """The account is connected, the other targets are subscribed, and the bug shows until it is mended."""
    world = make_world(subscribe=crash_for("x"))
    world.vendor.targets = ["x", "y"]
    connection = world.connect()
    assert (statuses(world, connection, "x"), statuses(world, connection, "y")) == (["pending"], ["active"])
    assert connection.webhook_error == "internal error: KeyError"
    world.connectors.providers._providers["acme"] = make_acme()
    world.clock.advance(RETRY_BASE)
    assert maintain(world, connection).webhook_error is None
    assert statuses(world, connection, "x") == ["ended", "active"]


def test_a_bug_in_the_targets_costs_no_connection():
    """A package that cannot even say what there is to subscribe to still gives a connection."""
    connection = make_world(targets=crash).connect()
    assert (connection.status, connection.webhook_error) == (ConnectionStatus.ACTIVE, "internal error: KeyError")


@pytest.mark.parametrize("bug", ["unsubscribe", "revoke", "subscribe"])
def test_a_bug_does_not_keep_a_connection_from_ending(bug):
    """Its secrets are destroyed, its tenant can be erased, and what failed is on record."""
    if bug == "subscribe":
        world = make_world(subscribe=crash)  # asked again for the id of what may have been made
    else:
        changes = {"oauth": {"revoke": crash}} if bug == "revoke" else {"subscriptions": {"unsubscribe": crash}}
        world = World(make_acme(**changes))
    connection = world.connect()
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert (ended.status, ended.grant_id) == (ConnectionStatus.REVOKED, None)
    assert ended.end_error.endswith(": internal error: KeyError")
    assert statuses(world, connection) == ["ended"]
    world.connectors.tenants.erase(TENANT)


def test_what_could_not_be_revoked_because_it_is_not_configured_is_said():
    """Without our client nothing ends at the vendor, and the ended connection does not hide it."""
    world = make_world()
    connection = world.connect()
    world.connectors.apps.clear()
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert ended.end_error == "Acme is not configured here. Nothing could be unsubscribed or revoked there."


# --- who says what, and when -------------------------------------------------------------------------------------


def test_a_limit_does_not_hide_what_is_still_missing():
    """A run that the vendor's limits cut short proves nothing: the error before it stays."""
    world = make_world()
    world.vendor.before = lambda request: answer(status=403) if request.url.endswith("/targets") else None
    connection = world.connect()
    world.vendor.before = lambda request: answer(status=429) if request.url.endswith("/targets") else None
    assert maintain(world, connection).webhook_error == "Acme answered 403."
    world.vendor.before = lambda request: None
    world.clock.advance(timedelta(hours=1))
    assert maintain(world, connection).webhook_error is None


def test_connecting_says_nothing_of_a_connection_that_has_ended_meanwhile():
    """It is disconnected while it is being subscribed: no webhook error is written over its end."""
    world = make_world()

    def end(request):
        if request.url.endswith("/targets"):
            world.vendor.before = lambda request: None
            (connection,) = world.connectors.queries.list_connections(TENANT).items
            world.connectors.disconnect.end_connection(TENANT, connection.id)
            return answer(status=403)
        return None

    world.vendor.before = end
    connection = world.connect()
    assert (connection.status, connection.webhook_error) == (ConnectionStatus.REVOKED, None)
