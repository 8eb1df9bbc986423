"""Renewal of subscriptions that are about to expire."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import SubscriptionReceipt
from tests.support.provider import ACME, make_acme
from tests.support.vendor import answer
from tests.support.world import World, created

LIFETIME = timedelta(days=7)
SOON = timedelta(days=2)


def lasting(lifetime=LIFETIME):
    """Acme with hooks that expire and are replaced by new ones."""
    inner = ACME.webhooks.subscriptions.subscribe

    def subscribe(app, connection, request):
        receipt = yield from inner(app, connection, request)
        return attrs.evolve(receipt, expires_at=request.expires_at)

    return World(make_acme(subscriptions={"lifetime": lifetime, "subscribe": subscribe}))


def active(world, connection):
    return [one for one in world.subscriptions(connection) if one.status is SubscriptionStatus.ACTIVE]


def test_nothing_is_renewed_before_its_time():
    """A subscription with days left is not renewed."""
    world = lasting()
    world.connect()
    assert world.connectors.maintenance.renew_expiring(SOON) == ()


def test_the_successor_is_made_before_the_old_one_is_removed():
    """Where the vendor cannot extend, a successor is made, then the old one is removed and its secret destroyed."""
    calls = []

    def subscribe(app, connection, request):
        yield from ()
        calls.append(("made", str(request.subscription.id)))
        return SubscriptionReceipt(external_id=str(request.subscription.id), expires_at=request.expires_at)

    def unsubscribe(app, connection, subscription):
        yield from ()
        calls.append(("removed", subscription.external_id))

    own = {"lifetime": LIFETIME, "subscribe": subscribe, "unsubscribe": unsubscribe}
    world = World(make_acme(subscriptions=own))
    connection = world.connect()
    (old,) = active(world, connection)
    world.later(days=6)
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    (new,) = active(world, connection)
    assert (renewal.subscription, renewal.error) == (new, None)
    assert calls[1:] == [("made", str(new.id)), ("removed", str(old.id))]
    assert new.expires_at == world.clock.now() + LIFETIME
    assert [one.secret for one in world.subscriptions(connection) if one.id == old.id] == [None]
    assert world.connectors.maintenance.renew_expiring(SOON) == ()


def test_a_reused_hook_stays():
    """A vendor that gives its one hook the new secret is not asked to remove it, and deliveries verify."""
    world = lasting()
    connection = world.connect()
    world.later(days=6)
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    assert active(world, connection) == [renewal.subscription]
    hook = world.hook(connection)
    world.deliver(created(), secret=hook["secret"], hook=hook["id"])
    assert len(world.signals()) == 1


def test_a_subscription_is_extended_where_the_vendor_can():
    """The same subscription gets a later end."""

    def renew(app, connection, subscription):
        yield from ()
        return SubscriptionReceipt(external_id=subscription.external_id, expires_at=subscription.expires_at + LIFETIME)

    world = lasting()
    connection = world.connect()
    (before,) = active(world, connection)
    subscriptions = attrs.evolve(world.acme.webhooks.subscriptions, renew=renew)
    extending = attrs.evolve(world.acme, webhooks=attrs.evolve(world.acme.webhooks, subscriptions=subscriptions))
    world.later(days=6)
    world.connectors.providers._providers["acme"] = extending
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    (after,) = active(world, connection)
    assert (after.id, after.expires_at) == (before.id, before.expires_at + LIFETIME)
    assert renewal.subscription == after


def test_a_failed_renewal_keeps_the_old_one_and_the_others():
    """If the vendor is down, the old subscription stays, the error is reported, and the next run tries again."""
    world = lasting()
    connection = world.connect()
    world.later(days=6)
    world.vendor.before = lambda request: (
        answer(status=503) if request.method == "POST" and "hooks" in request.url else None
    )
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    assert renewal.error
    assert len(active(world, connection)) == 1
    world.vendor.before = lambda request: None
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    assert renewal.error is None


@pytest.mark.parametrize("end", [True, False])
def test_only_active_connections_are_renewed(end):
    """Nothing is renewed for a connection that has ended."""
    world = lasting()
    connection = world.connect()
    if end:
        world.connectors.disconnect.end_connection(connection.tenant_id, connection.id)
    world.later(days=6)
    assert len(world.connectors.maintenance.renew_expiring(SOON)) == int(not end)


# --- errors of the rows ------------------------------------------------------------------------------------------


def prevent(world, reason):
    """Prevent calls to the vendor, for this reason."""
    match reason:
        case "limit":
            world.vendor.before = lambda request: answer(status=429) if "/api/" in request.url else None
        case "not configured":
            world.connectors.apps.clear()
        case "not installed":
            world.connectors.providers._providers.clear()
        case "needs its user":
            world.vendor.kill()
            world.later(hours=2)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("limit", "Acme wants us to wait."),
        ("not configured", "Acme is not configured here."),
        ("not installed", "The provider acme is not installed here."),
        ("needs its user", "Acme refused the grant."),
    ],
)
def test_the_row_says_why_it_was_not_renewed(reason, error):
    """If the vendor cannot be called, or allows no more, the error says so."""
    world = lasting()
    world.connect()
    world.later(days=6)
    prevent(world, reason)
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    assert renewal.error.startswith(error)


def test_a_row_has_its_own_targets_error():
    """If one of two targets is refused, the other one is renewed without an error."""
    world = lasting()
    world.vendor.targets = ["x", "y"]
    world.connect()
    world.later(days=6)
    world.vendor.before = lambda request: (
        answer(status=403) if request.method == "POST" and b'"target": "y"' in (request.body or b"") else None
    )
    renewals = world.connectors.maintenance.renew_expiring(SOON)
    assert {one.subscription.target: one.error for one in renewals} == {"x": None, "y": "Acme answered 403."}


def test_a_renewal_shorter_than_the_period_is_a_success():
    """The caller asks for a month, and the new week, which is all that the vendor gives, has no error."""
    world = lasting()
    connection = world.connect()
    world.later(days=1)
    (renewal,) = world.connectors.maintenance.renew_expiring(timedelta(days=30))
    assert (renewal.subscription, renewal.error) == (active(world, connection)[0], None)


def test_damaged_secrets_of_one_do_not_affect_the_others():
    """A grant that cannot be opened is that connection's error; the others are renewed."""
    world = lasting()
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    damaged, other = world.connect(), world.connect(user="bob")
    grant = world.grant(damaged)
    with world.uow() as uow:
        uow.grants.save(attrs.evolve(grant, token_set=world.grant(other).token_set))
    world.later(days=6)
    renewals = world.connectors.maintenance.renew_expiring(SOON)
    assert {one.subscription.connection_id: bool(one.error) for one in renewals} == {damaged.id: True, other.id: False}


def test_a_limit_on_extending_is_reported():
    """The row says until when the vendor allows no more requests."""

    def renew(app, connection, subscription):
        yield from ()
        raise RateLimitedError("Acme wants us to wait.", retry_at=world.clock.now() + timedelta(minutes=5))

    world = lasting()
    world.connect()
    world.later(days=6)
    own = {"lifetime": LIFETIME, "renew": renew}
    world.connectors.providers._providers["acme"] = make_acme(subscriptions=own)
    (renewal,) = world.connectors.maintenance.renew_expiring(SOON)
    assert renewal.error == "The provider's limits allow no more until 2026-03-10T05:11:07.890123Z."
