"""Webhook subscriptions: recorded before the provider is called, removed with their connection."""

import json
from datetime import timedelta

import pytest

from connectors.domain.flows.webhooks.subscriptions import webhook_url
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import DeliveryRejectedError, ProviderUnavailableError
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import SubscriptionReceipt, SubscriptionScope
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.provider import SLUG, make_acme
from tests.support.vendor import answer
from tests.support.world import World, created


@pytest.fixture
def world():
    world = World()
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    return world


def on_hook(world, do):
    """Call this when the vendor is asked to make a hook."""
    world.vendor.before = lambda request: do(request) if request.url.endswith("/hooks") else None


def ping(world, request, hook="early"):
    world.deliver({"event": "ping"}, secret=json.loads(request.body)["secret"], hook=hook)


@pytest.mark.parametrize(
    ("scope", "path"),
    [(SubscriptionScope.APP, ""), (SubscriptionScope.TENANT, "/T"), (SubscriptionScope.CONNECTION, "/T/C")],
)
def test_urls_name_what_the_vendor_does_not_say(scope, path):
    """The URL has the tenant, or the connection too, where deliveries name neither."""
    assert (
        webhook_url("https://us.example/base/", scope, SLUG, "T", "C") == f"https://us.example/base/webhooks/acme{path}"
    )


def test_the_row_is_stored_before_the_call(world):
    """During the call the subscription is pending here, and a ping that comes at once verifies."""
    seen = []

    def check_row(request):
        with world.uow() as uow:
            seen.extend(uow.subscriptions.list_candidates(TENANT, SLUG, None))
        ping(world, request)

    on_hook(world, check_row)
    connection = world.connect()
    assert [(one.status, one.external_id) for one in seen] == [(SubscriptionStatus.PENDING, None)]
    (row,) = world.subscriptions(connection)
    assert (row.status, row.external_id) == (SubscriptionStatus.ACTIVE, world.hook(connection)["id"])
    assert world.deliveries()[0].status == "ignored"


@pytest.mark.parametrize("status", [403, 422])
def test_a_refused_subscription_is_recorded(world, status):
    """The connection works without it and shows the error; connecting again tries once more."""
    on_hook(world, lambda request: answer(status=status))
    connection = world.connect()
    assert connection.status is ConnectionStatus.ACTIVE
    assert connection.last_error == f"Webhooks: Acme answered {status}."
    (row,) = world.subscriptions(connection)
    assert (row.status, row.error) == (SubscriptionStatus.FAILED, f"Acme answered {status}.")
    world.connectors.connect.refresh(TENANT, connection.id)
    world.vendor.before = lambda request: None
    assert world.connect().last_error is None
    assert [one.status for one in world.subscriptions(connection)] == [SubscriptionStatus.ACTIVE]


def test_an_error_listing_targets_does_not_prevent_connecting(world):
    """The account is connected, with the error, although the vendor did not list what there is to subscribe to."""
    world.vendor.before = lambda request: answer(status=403) if request.url.endswith("/targets") else None
    connection = world.connect()
    assert (connection.last_error, world.subscriptions(connection)) == ("Webhooks: Acme answered 403.", [])


def test_a_lost_answer_loses_no_delivery(world):
    """If the vendor may have made the hook, its deliveries are accepted and give the hook's id."""
    secrets = []

    def lose(request):
        secrets.append(json.loads(request.body)["secret"])
        raise ProviderUnavailableError("No answer.", outcome_unknown=True)

    on_hook(world, lose)
    connection = world.connect()
    assert [one.status for one in world.subscriptions(connection)] == [SubscriptionStatus.PENDING]
    world.deliver(created(), secret=secrets[0], hook="theirs")
    (row,) = world.subscriptions(connection)
    assert (row.status, row.external_id, row.error) == (SubscriptionStatus.ACTIVE, "theirs", None)
    assert len(world.signals()) == 1


def test_a_ping_outweighs_a_failed_answer(world):
    """A subscription that a delivery has proven is not marked as failed by a garbled answer."""

    def garble(request):
        ping(world, request)
        return answer(status=500)

    on_hook(world, garble)
    connection = world.connect()
    assert [(one.status, one.external_id) for one in world.subscriptions(connection)] == [("active", "early")]
    assert connection.last_error is None


def test_a_pending_subscription_has_its_own_secret(world):
    """A ping that is signed with another secret is not accepted for it."""

    def forge(request):
        with pytest.raises(DeliveryRejectedError):
            world.deliver({"event": "ping"}, secret="forged", hook="x")

    on_hook(world, forge)
    world.connect()
    assert world.deliveries() == ()


def test_each_target_is_independent(world):
    """One target that fails does not affect the others, and only the missing ones are made again."""
    world.vendor.targets = ["x", "y", "z"]
    on_hook(world, lambda request: answer(status=403) if json.loads(request.body)["target"] == "y" else None)
    connection = world.connect()
    assert [one.status for one in world.subscriptions(connection)] == ["active", "failed", "active"]
    world.vendor.before = lambda request: None
    world.vendor.log.clear()
    world.connect()
    assert world.vendor.count("POST /api/hooks") == 1
    assert {(one.target, one.status) for one in world.subscriptions(connection)} == {
        ("x", "active"),
        ("y", "active"),
        ("z", "active"),
    }


def test_a_lapsed_subscription_is_made_again():
    """Connecting again replaces what has expired at the vendor."""
    world = World(make_acme(subscriptions={"lifetime": timedelta(days=1), "subscribe": lapsing}))
    connection = world.connect()
    world.later(hours=23)
    world.connect()
    assert len(world.subscriptions(connection)) == 1
    world.later(hours=2)
    world.connect()
    assert len(world.subscriptions(connection)) == 2


def lapsing(app, connection, request):
    assert request.expires_at is not None
    return SubscriptionReceipt(external_id=str(request.subscription.id), expires_at=request.expires_at)
    yield


def test_without_a_public_url_nothing_is_subscribed():
    """If no provider can deliver, none is asked to."""
    world = World(public_url=None)
    connection = world.connect()
    assert (world.subscriptions(connection), world.vendor.hooks) == ([], {})


def test_disconnecting_during_subscribing_leaves_nothing(world):
    """A hook that is made while its connection ends is removed, and its secret destroyed."""
    connection = world.connect()
    world.vendor.targets = ["late"]

    def disconnect(request):
        world.vendor.before = lambda request: None
        world.connectors.disconnect.end_connection(TENANT, connection.id)

    on_hook(world, disconnect)
    world.connectors.maintenance.maintain(TENANT, connection.id)
    world.end_all()
    assert {(one.status, one.secret) for one in world.subscriptions(connection)} == {(SubscriptionStatus.ENDED, None)}
    assert (world.vendor.hooks, world.grants()) == ({}, [])


def test_a_hook_that_is_gone_is_no_error(world):
    """Unsubscribing a hook that the vendor no longer has is success."""
    connection = world.connect()
    world.vendor.hooks.clear()
    assert world.connectors.disconnect.end_connection(TENANT, connection.id).last_error is None


def test_one_hook_for_two_connections(world):
    """Two connections of a tenant to one target share its secret, and the hook is removed with the last of them."""
    world.vendor.targets = ["common"]
    first, second = world.connect(), world.connect(user="bob")
    assert [one["accounts"] for one in world.vendor.hooks.values()] == [["a-1", "b-1"]]
    world.connectors.disconnect.end_connection(TENANT, first.id)
    assert len(world.vendor.hooks) == 1
    world.deliver(created(), secret=world.hook(second)["secret"], hook=world.hook(second)["id"])
    assert world.signals()[0].connection_id == second.id
    world.connectors.disconnect.end_connection(TENANT, second.id)
    assert world.vendor.hooks == {}


def test_tenants_share_no_secret(world):
    """The same target has another secret in another tenant."""
    world.vendor.targets = ["common"]
    mine = world.connect(TENANT)
    secret = world.hook(mine)["secret"]
    world.vendor.hooks.clear()
    assert world.hook(world.connect(OTHER_TENANT))["secret"] != secret


def test_a_shared_subscription_stays_for_the_others():
    """Where the vendor has one subscription for all tenants, only the last connection's end removes it."""
    world = World(make_acme(subscriptions={"is_one_per_user": True}))
    mine, theirs = world.connect(TENANT), world.connect(OTHER_TENANT)
    world.connectors.disconnect.end_connection(TENANT, mine.id)
    assert len(world.vendor.hooks) == 2
    world.connectors.disconnect.end_connection(OTHER_TENANT, theirs.id)
    assert len(world.vendor.hooks) == 1


def test_subscribing_twice_makes_nothing_new(world):
    """An active subscription is not made again."""
    connection = world.connect()
    session = world.connectors.connect.access.open(connection)
    made = world.connectors.connect.subscriber.subscribe_all(session)
    assert (made, len(world.vendor.hooks)) == ((), 1)
