"""Subscriptions that are unconfirmed, refused or cut short: their connection is not healthy, and they recover."""

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
    """Call this when the vendor is asked to make a hook."""
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
    """Advance to the next maintenance run, and run it; how long that was."""
    began = world.clock.now()
    entry = world.entry(connection.id, TaskKind.MAINTAIN)
    world.clock.advance(max(entry.next_at - began, timedelta(0)))
    world.connectors.maintenance.maintain(TENANT, connection.id)
    return world.clock.now() - began


# --- an unknown outcome ------------------------------------------------------------------------------------------


def test_lost_answers_are_tried_less_and_less_often():
    """While every answer is lost, the pauses grow to the cap, so that few subscriptions are made."""
    world = make_world()
    on_hook(world, lose)
    connection = world.connect()
    waits = [next_run(world, connection) for _ in range(40)]
    assert RETRY_CAP / 2 < max(waits) <= RETRY_CAP * 1.5
    assert sum(waits, timedelta(0)) > RETRY_CAP * 4
    world.vendor.before = lambda request: None
    while "active" not in statuses(world, connection):
        next_run(world, connection)
    assert statuses(world, connection) == ["active"]
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
    on_hook(world, lambda request: answer(status=403))
    maintain(world, connection)
    assert [one.failures for one in world.subscriptions(connection) if one.status == "failed"] == [1]


def test_a_pending_subscription_ends_with_its_target():
    """It does not degrade its connection for ever, and does not stay at the vendor."""
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
    world.end_all()
    assert (statuses(world, connection, "x"), statuses(world, connection, "y")) == (["active"], ["ended"])
    assert [hook["target"] for hook in world.vendor.hooks.values()] == ["x"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_outage_does_not_leave_a_hook_behind(method):
    """Of a target that is gone, what may exist at the vendor is asked for until the vendor answers, and then removed."""
    world = make_world()
    world.vendor.targets = ["x", "y"]

    def lose_y(request):
        if json.loads(request.body)["target"] == "y":
            world.vendor.before = lambda request: None
            world.vendor(request)
            lose(request)

    on_hook(world, lose_y)
    connection = world.connect()
    world.vendor.targets = ["x"]
    world.vendor.before = lambda request: (
        answer(status=503) if "/api/hooks" in request.url and request.method == method else None
    )
    world.clock.advance(RETRY_BASE)
    assert health_of(maintain(world, connection)) is Health.HEALTHY  # events are missing nowhere
    assert statuses(world, connection, "y") == ["ending"]
    world.clock.advance(timedelta(hours=5))
    world.vendor.before = lambda request: None
    world.end_all()
    assert statuses(world, connection, "y") == ["ended"]
    assert [hook["target"] for hook in world.vendor.hooks.values()] == ["x"]


def test_a_subscription_confirmed_by_a_delivery_is_renewed_in_time():
    """It is renewed before it ends at the vendor, although no answer gave its end."""
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


def test_a_confirming_delivery_ends_the_lapsed_subscription():
    """If it confirms the successor, whose answer was lost, the connection is healthy again."""
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
    assert statuses(world, connection) == ["ending", "active"]
    assert health_of(maintain(world, connection)) is Health.HEALTHY
    assert statuses(world, connection) == ["ended", "active"]


def test_an_unanswered_subscription_is_not_healthy():
    """A process that crashed between the row and the call leaves a pending subscription without an error."""
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
    """The connection shows an expired subscription even before a worker has noticed it."""
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


def test_a_bug_with_one_target_affects_no_other():
    """The account is connected, the other targets are subscribed, and the bug is shown until it is fixed."""
    world = make_world(subscribe=crash_for("x"))
    world.vendor.targets = ["x", "y"]
    connection = world.connect()
    assert (statuses(world, connection, "x"), statuses(world, connection, "y")) == (["pending"], ["active"])
    assert connection.webhook_error == "internal error: KeyError"
    world.connectors.providers._providers["acme"] = make_acme()
    world.clock.advance(RETRY_BASE)
    assert maintain(world, connection).webhook_error is None
    assert statuses(world, connection, "x") == ["active"]


def test_a_bug_in_the_targets_does_not_prevent_connecting():
    """The account is connected although the package cannot list its targets."""
    connection = make_world(targets=crash).connect()
    assert (connection.status, connection.webhook_error) == (ConnectionStatus.ACTIVE, "internal error: KeyError")


@pytest.mark.parametrize("bug", ["unsubscribe", "revoke", "subscribe"])
def test_a_bug_does_not_keep_a_connection_from_ending(bug, caplog):
    """Its secrets are destroyed after a day, error and traceback are recorded, and its tenant can be erased."""
    if bug == "subscribe":
        world = make_world(subscribe=crash)  # asked again for the id of what may have been made
    else:
        changes = {"oauth": {"revoke": crash}} if bug == "revoke" else {"subscriptions": {"unsubscribe": crash}}
        world = World(make_acme(**changes))
    connection = world.connect()
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert ended.status is ConnectionStatus.REVOKED
    world.end_all()
    assert world.reload(connection).end_error.endswith(": internal error: KeyError")
    failed = [record for record in caplog.records if record.message in {"unsubscribe_failed", "revoke_failed"}]
    assert {record.exc_info[0] for record in failed} == {KeyError}
    assert (statuses(world, connection), world.grants()) == (["ended" if bug == "revoke" else "left"], [])
    world.connectors.tenants.erase(TENANT)


def test_a_disconnect_reports_that_the_provider_is_not_configured():
    """Without our client id nothing can be removed at the vendor, and the ended connection says so."""
    world = make_world()
    connection = world.connect()
    world.connectors.apps.clear()
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert ended.end_error == "box:ada: Acme is not configured here."


# --- which errors stay -------------------------------------------------------------------------------------------


def test_a_limit_does_not_clear_an_error():
    """A run that the vendor's limits cut short leaves the previous error."""
    world = make_world()
    world.vendor.before = lambda request: answer(status=403) if request.url.endswith("/targets") else None
    connection = world.connect()
    world.vendor.before = lambda request: answer(status=429) if request.url.endswith("/targets") else None
    assert maintain(world, connection).webhook_error == "Acme answered 403."
    world.vendor.before = lambda request: None
    world.clock.advance(timedelta(hours=1))
    assert maintain(world, connection).webhook_error is None


def test_connecting_does_not_change_an_ended_connection():
    """A connection that is disconnected while it is being subscribed gets no webhook error."""
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
