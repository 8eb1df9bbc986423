"""Our public URL moves, is taken away and comes back: subscriptions follow it, and nothing is missed or trusted blindly."""

import json
from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.webhooks.routing import IS_ENDING
from connectors.domain.flows.webhooks.subscription_maintenance import MOVED_REASON, PROBE_EVERY, UNCONFIGURED_PAUSE
from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import DeliveryStatus, SubscriptionStatus
from connectors.domain.providers.contract import SubscriptionScope
from tests.support.builders import TENANT
from tests.support.provider import HOST, ITEMS, STATES, make_acme, probe, unsubscribe
from tests.support.vendor import answer
from tests.support.world import World, created
from tests.unit.flows.webhooks.test_subscription_maintenance import EXPIRING, LIFETIME, Garden

OLD = "https://connectors.invalid"
NEW = "https://new.example"


class Plot(Garden):
    """A garden whose URL can be changed. The vendor shows where its hooks deliver to."""

    def move(self, public_url):
        """Restart with this public URL."""
        connectors = self.world.connectors
        subscriber = attrs.evolve(connectors.maintenance.subscriber, public_url=public_url)
        endings = attrs.evolve(connectors.maintenance.endings, remover=subscriber)
        maintenance = attrs.evolve(connectors.maintenance, subscriber=subscriber, endings=endings)
        tasks = attrs.evolve(connectors.tasks, maintenance=maintenance, endings=endings)
        self.world.connectors = attrs.evolve(connectors, maintenance=maintenance, tasks=tasks)

    def forget_addresses(self):
        """As for rows from before addresses were stored."""
        with self.world.uow() as uow:
            for one in self.world.subscriptions(self.connection):
                uow.subscriptions.save(attrs.evolve(one, address=None))

    @property
    def urls(self):
        return [hook["url"].partition("/webhooks")[0] for hook in self.vendor.live_hooks()]


def iter_nothing():
    """No target."""
    yield from ()
    return ()


def probe_url(app, connection, subscription):
    """Whether the hook is there and delivers to the address."""
    response = yield HttpRequest(
        method="GET", url=f"{HOST}/api/hooks/{subscription.external_id}", expects=frozenset({404})
    )
    return response.status != 404 and subscription.address in {None, response.json_object()["url"]}


def one_url(garden):
    """Refuse a hook while another one stands that has another URL."""

    def refuse(request):
        if request.method == "POST" and request.url.endswith("/api/hooks") and garden.vendor.live_hooks():
            return answer({"error": "one URL per app"}, status=400)
        return None

    return refuse


@pytest.mark.parametrize("subscriptions", [{}, {"probe": probe}, EXPIRING])
def test_the_successor_is_made_before_the_old_one_is_removed(subscriptions):
    """A hook with the old URL is replaced in the next run; both stand for a moment, and nothing is missed."""
    garden = Plot(**subscriptions)
    old = garden.active
    garden.move(NEW)
    garden.world.later(minutes=1)
    garden.maintain()
    assert garden.urls == [NEW]
    changes = [one.partition(" ")[0] for one in garden.vendor.log if one.startswith(("POST", "DELETE"))]
    assert changes == ["POST", "DELETE"]
    assert garden.active.address.startswith(NEW)
    assert (garden.active.id != old.id, garden.error, garden.gaps(is_open=False)) == (True, None, [])
    garden.vendor.log.clear()
    garden.maintain()
    assert not [one for one in garden.vendor.log if one.startswith(("POST", "DELETE"))]


def test_while_the_successor_is_refused_the_old_one_stays():
    """It may still deliver; the new one is asked for with growing pauses, and the connection says why."""
    garden = Plot(probe=probe)
    garden.move(NEW)
    garden.vendor.before = lambda request: answer(status=403) if request.method == "POST" else None
    for _ in range(5):
        garden.maintain()
    assert garden.vendor.count("POST /api/hooks") == 1
    assert len(garden.urls) == 1
    assert sorted(garden.statuses()) == ["active", "failed"]
    assert garden.error == "Acme answered 403."
    garden.vendor.before = lambda request: None
    garden.run_next()
    garden.run_next()  # a run has jitter, and may be too early for the next try
    assert (garden.urls, garden.error) == ([NEW], None)


def test_where_the_vendor_takes_one_url_the_old_one_goes_first():
    """What happens in between is a gap with an end, and a read is due at once."""
    garden = Plot(one_address=True)
    garden.vendor.before = one_url(garden)
    garden.move(NEW)
    garden.world.later(minutes=1)
    moved_at = garden.now
    garden.maintain()
    assert garden.urls == [NEW]
    assert {(one.reason, one.from_at, one.to_at) for one in garden.world.gaps(garden.connection)} == {
        (MOVED_REASON, moved_at, garden.now)
    }
    assert garden.world.entry(garden.connection.id, TaskKind.SYNC).next_at == garden.now
    garden.world.later(seconds=1)
    garden.world.tick()
    garden.world.work()
    assert [family for family, _, _ in garden.gaps()] == ["states"]  # nobody can read those
    assert garden.error is None


def test_a_removal_that_fails_is_tried_again_until_the_new_one_fits():
    """The vendor that is down keeps the old hook; the connection says so, and both settle by themselves."""
    garden = Plot(one_address=True)
    refuse = one_url(garden)
    garden.vendor.before = lambda request: answer(status=503) if request.method == "DELETE" else refuse(request)
    garden.move(NEW)
    garden.maintain()
    assert sorted(garden.statuses()) == ["ending", "failed"]
    assert garden.error == "Acme answered 400."
    garden.vendor.before = refuse
    for _ in range(20):
        garden.world.later(minutes=1)
        garden.world.tick()
        garden.world.work()
    assert (garden.urls, garden.error) == ([NEW], None)
    assert set(garden.statuses()) == {"ended", "active"}


def test_where_the_address_is_unknown_the_vendor_decides():
    """A hook that delivers to us is kept, and its address is known then; one that does not is replaced and removed."""
    garden = Plot(probe=probe_url)
    shown = garden.vendor

    def show(request):
        hook = shown.hooks.get(request.url.rpartition("/")[2])
        return answer({"url": hook["url"]}) if request.method == "GET" and hook is not None else None

    garden.vendor.before = show
    first = garden.active
    garden.forget_addresses()
    garden.run_next()
    garden.run_next()
    assert (garden.active.id, garden.active.address) == (first.id, first.address)
    garden.forget_addresses()
    garden.move(NEW)
    garden.world.later(hours=1)
    garden.maintain()
    assert (garden.urls, garden.active.id == first.id) == ([NEW], False)
    assert garden.gaps()[0][1] <= garden.now - timedelta(minutes=50)  # since the vendor last confirmed it


def test_without_a_public_url_a_vanished_hook_is_noticed():
    """What stands is looked after, at the URL that it was made for; what is gone is not made again, and no error."""
    garden = Plot(boxes=["x", "y"], probe=probe)
    garden.move(None)
    garden.run_next()
    garden.run_next()
    assert garden.statuses() == ["active", "active"]
    assert garden.stream()[-1][1] is None
    garden.vendor.hooks.popitem()
    for _ in range(2):
        garden.run_next()
    assert sorted(garden.statuses()) == ["active", "ended"]
    assert (garden.error, health_of(garden.world.reload(garden.connection))) == (None, Health.HEALTHY)
    assert garden.stream()[-1][1] is not None
    garden.run_next()
    assert garden.stream()[-1][1] is not None  # one of two proves nothing
    assert garden.vendor.count("POST /api/hooks") == 0
    assert garden.next_at - garden.now <= PROBE_EVERY * 1.2
    garden.move(OLD)
    garden.run_next()
    assert garden.urls == [OLD, OLD]
    assert garden.stream()[-1][1] is None


def test_without_a_public_url_nothing_is_renewed():
    """A hook that expires is not extended, and its end is no error: nobody is asked every minute meanwhile."""
    garden = Plot(**EXPIRING)
    garden.move(None)
    first, runs = garden.active, 0
    while garden.statuses() == ["active"]:
        garden.run_next()
        runs += 1
        assert runs < LIFETIME / PROBE_EVERY * 1.5
    assert garden.now >= first.expires_at
    assert (garden.statuses(), garden.error) == (["ended"], None)
    assert garden.gaps()[0][1] >= first.expires_at


def test_without_a_public_url_nobody_waits_for_what_was_refused():
    """It is not wanted any more, and its error with it; what may have been made is removed at its own URL."""
    garden = Plot(boxes=["x", "y"])
    garden.vendor.hooks.clear()
    with garden.world.uow() as uow:
        x, y = garden.world.subscriptions(garden.connection)
        uow.subscriptions.save(attrs.evolve(x, status=SubscriptionStatus.FAILED, error="no"))
        uow.subscriptions.save(attrs.evolve(y, status=SubscriptionStatus.PENDING, external_id=None, error="lost"))
        uow.connections.save(attrs.evolve(garden.world.reload(garden.connection), webhook_error="no"))
    garden.move(None)
    garden.maintain()
    assert (garden.statuses(), garden.error, garden.vendor.hooks) == (["ended", "ended"], None, {})
    asked = [one for one in garden.vendor.requests if one.method == "POST" and one.url.endswith("/api/hooks")]
    assert len(asked) == 3  # the last one only to learn which it is
    assert json.loads(asked[-1].body)["url"].startswith(OLD)


def test_an_app_that_is_back_is_noticed_soon():
    """Without its client id nothing can be asked; that is looked at again within minutes, not half a day later."""
    garden = Plot()
    connectors = garden.world.connectors
    bare = attrs.evolve(connectors.maintenance, access=attrs.evolve(connectors.maintenance.access, apps={}))
    bare.maintain(TENANT, garden.connection.id)
    assert garden.next_at - garden.now <= UNCONFIGURED_PAUSE * 1.2


def test_what_a_person_has_set_up_is_not_asked_for():
    """The vendor's API does not know it: its secret stays valid, and what it delivers proves nothing complete."""
    acme = make_acme(
        webhooks={"manual_secret_scope": SubscriptionScope.TENANT},
        subscriptions={"probe": probe, "targets": lambda app, connection: iter_nothing()},
        families=(ITEMS, STATES),
    )
    world = World(acme)
    connection = world.connect()
    world.work()
    issued = world.connectors.webhook_secrets.issue(TENANT, connection.id)
    for public_url in (OLD, None):
        maintenance = world.connectors.maintenance
        subscriber = attrs.evolve(maintenance.subscriber, public_url=public_url)
        world.later(hours=2)
        attrs.evolve(maintenance, subscriber=subscriber).maintain(TENANT, connection.id)
        assert [one.status for one in world.subscriptions(connection)] == [SubscriptionStatus.ACTIVE]
        world.deliver(created(1), secret=issued.secret.reveal())
    assert world.proven(connection, CoveragePath.WEBHOOK) == {}
    assert world.gaps(connection) == []


# --- what is ending ----------------------------------------------------------------------------------------------------


def nameless(app, connection, subscription):
    """Like a vendor that closes only what is named in full."""
    if "resource" not in subscription.metadata:
        raise UnexpectedResponseError("Acme has not said which resource it is.")
    yield from unsubscribe(app, connection, subscription)


@pytest.fixture
def world():
    acme = make_acme(subscriptions={**EXPIRING, "unsubscribe": nameless})
    webhooks = attrs.evolve(
        acme.webhooks, read_subscription_metadata=lambda delivery: {"resource": delivery.request.headers["x-acme-hook"]}
    )
    return World(attrs.evolve(acme, webhooks=webhooks))


def end(world):
    """A connection whose hook could not be removed when it ended; the hook as the vendor has it."""
    connection = world.connect()
    world.work()
    (hook,) = world.vendor.live_hooks()
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    (row,) = world.subscriptions(connection)
    assert (row.status, row.secret is None) == (SubscriptionStatus.ENDING, False)
    return connection, hook


def test_what_is_ending_still_verifies_and_says_what_its_removal_needs(world):
    """Its delivery is accepted and ignored, without signals; then the hook can be removed."""
    connection, hook = end(world)
    accepted = world.deliver(created(7), hook=hook["id"], secret=hook["secret"])
    assert accepted.success_status == 202
    (kept,) = world.deliveries()
    assert (kept.status, kept.error, kept.event) == (DeliveryStatus.IGNORED, IS_ENDING, "item.created")
    assert world.signals() == ()
    world.tick()
    world.work()
    (row,) = world.subscriptions(connection)
    assert (row.status, row.secret, world.vendor.live_hooks()) == (SubscriptionStatus.ENDED, None, [])
    assert world.reload(connection).end_error is None


def test_an_unreadable_delivery_of_what_is_ending_is_ignored_too(world):
    """Nobody has to look at it."""
    _, hook = end(world)
    world.deliver(b"{", hook=hook["id"], secret=hook["secret"])
    assert [(one.status, one.error) for one in world.deliveries()] == [(DeliveryStatus.IGNORED, IS_ENDING)]


def test_another_secret_proves_nothing_of_what_is_ending(world):
    """A delivery has to verify like any other."""
    _, hook = end(world)
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(7), hook=hook["id"], secret="another")
    assert world.deliveries() == ()


def test_what_cannot_be_removed_is_said_to_lapse(world):
    """After a day the secret is destroyed, and the connection says until when the hook may live on."""
    connection, hook = end(world)
    world.end_all()
    (row,) = world.subscriptions(connection)
    assert (row.status, row.secret) == (SubscriptionStatus.LEFT, None)
    assert f"It lapses at {rfc3339(row.expires_at)}." in (world.reload(connection).end_error or "")
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(7), hook=hook["id"], secret=hook["secret"])


def test_what_lapses_within_the_day_has_ended_then(world):
    """Nothing is left of a hook that is over."""
    connection, _ = end(world)
    (row,) = world.subscriptions(connection)
    with world.uow() as uow:
        uow.subscriptions.save(attrs.evolve(row, expires_at=world.clock.now() + timedelta(hours=3)))
    world.end_all()
    (row,) = world.subscriptions(connection)
    assert row.status is SubscriptionStatus.ENDED
    assert world.reload(connection).end_error is None


def test_a_replaced_subscription_of_a_living_connection_is_read_to_its_end():
    """What the old hook still delivers is no less true than what the new one does."""
    garden = Plot(probe=probe)
    (hook,) = garden.vendor.live_hooks()
    garden.vendor.before = lambda request: answer(status=503) if request.method == "DELETE" else None
    garden.move(NEW)
    garden.maintain()
    assert sorted(garden.statuses()) == ["active", "ending"]
    garden.world.deliver(created(7), hook=hook["id"], secret=hook["secret"])
    assert [one.subject.id for one in garden.world.signals()] == ["7"]
