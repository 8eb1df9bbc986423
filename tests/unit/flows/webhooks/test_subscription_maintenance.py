"""Maintenance of subscriptions: renewed in time, made again when they vanish, missed deliveries requested again."""

from datetime import timedelta
from itertools import pairwise

import attrs
import pytest

from connectors.domain.flows.webhooks.missed_deliveries import IN_FLIGHT
from connectors.domain.flows.webhooks.subscription_maintenance import (
    AUDIT_EVERY,
    IDLE_PAUSE,
    PROBE_EVERY,
    REFUSED_PAUSE,
    RETRY_BASE,
    RETRY_CAP,
    retry_pause,
)
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import ALL_FAMILIES, CoveragePath, GapCause
from connectors.domain.model.errors import InfrastructureError, ProviderUnavailableError, RefusedForGoodError
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import DeliveryStatus, SubscriptionStatus
from connectors.domain.providers.contract import SubscriptionReceipt
from tests.support.builders import TENANT
from tests.support.provider import ITEMS, STATES, make_acme, missed, probe, redeliver, subscribe, subscribe_for_a_time
from tests.support.vendor import answer
from tests.support.world import World, created

LIFETIME = timedelta(days=7)
EXPIRING = {"lifetime": LIFETIME, "subscribe": subscribe_for_a_time}
LOGGED = {"probe": probe, "missed": missed, "redeliver": redeliver}


class Garden:
    """A connection of Acme with a hook and its first reads done; items can be read, states only webhooks report."""

    def __init__(self, boxes=None, families=(ITEMS, STATES), before=None, **subscriptions):
        self.world = World(make_acme(families=families, subscriptions=subscriptions))
        self.vendor = self.world.vendor
        self.vendor.takes_hooks_over = "lifetime" not in subscriptions
        self.vendor.targets = boxes
        if before is not None:
            self.vendor.before = before
        self.connection = self.world.connect()
        self.world.work()
        self.vendor.log.clear()

    @property
    def now(self):
        return self.world.clock.now()

    def maintain(self):
        return self.world.connectors.maintenance.maintain(TENANT, self.connection.id)

    @property
    def next_at(self):
        return self.world.entry(self.connection.id, TaskKind.MAINTAIN).next_at

    def run_next(self):
        """Advance to the next maintenance run, and run it."""
        self.world.clock.advance(max(self.next_at - self.now, timedelta(0)))
        self.world.tick()
        self.world.work()

    def statuses(self, target=None):
        return [str(one.status) for one in self.world.subscriptions(self.connection) if target in (None, one.target)]

    @property
    def active(self):
        (found,) = [one for one in self.world.subscriptions(self.connection) if one.status is SubscriptionStatus.ACTIVE]
        return found

    def gaps(self, **options):
        """Each as (family, from, to)."""
        return [(one.family, one.from_at, one.to_at) for one in self.world.gaps(self.connection, **options)]

    @property
    def error(self):
        return self.world.reload(self.connection).webhook_error

    def stream(self):
        return self.world.proven(self.connection, CoveragePath.WEBHOOK)["states"]

    def read(self):
        self.world.connectors.jobs.request(TENANT, self.connection.id, JobType.INCREMENTAL)
        self.world.work()

    def miss(self, delivery_id="lost-1", event="item.created", ago=5 * IN_FLIGHT):
        """Add a delivery that never arrived to the vendor's log."""
        at = rfc3339(self.now - ago)
        self.vendor.missed.append({"id": delivery_id, "log_id": f"log-{delivery_id}", "event": event, "at": at})

    def deliver(self, document, delivery_id):
        hook = self.world.hook(self.connection)
        self.world.deliver(document, hook=hook["id"], secret=hook["secret"], x_acme_delivery=delivery_id)


def refuse_hooks(request):
    """Refuse new hooks."""
    return answer(status=503) if request.method == "POST" and request.url.endswith("/api/hooks") else None


# --- renewing --------------------------------------------------------------------------------------------------------


def test_nothing_lapses_in_a_month():
    """There always is a hook, each successor is made before the old one is removed, and nothing is missed."""
    garden = Garden(**EXPIRING)
    most = 0

    def count_hooks(request):
        nonlocal most
        most = max(most, len(garden.vendor.live_hooks()))

    garden.vendor.before = count_hooks
    end = garden.now + timedelta(days=30)
    while garden.now < end:
        garden.world.later(hours=12)
        garden.world.tick()
        garden.world.work()
        assert len(garden.vendor.live_hooks()) == 1
    assert most == 2
    assert 2 <= len(garden.statuses()) <= 4  # ended ones are dropped after a week
    assert set(garden.statuses()) == {"active", "ended"}
    assert (garden.gaps(is_open=False), garden.error) == ([], None)
    assert garden.stream() == [(garden.connection.created_at, None)]


def test_it_is_renewed_with_a_third_of_its_lifetime_left():
    """Not earlier; then the vendor's old hook is removed, and its secret here destroyed."""
    garden = Garden(**EXPIRING)
    first = garden.active
    garden.world.clock.advance(LIFETIME * 2 / 3 - timedelta(minutes=1))
    garden.maintain()
    assert garden.active == first
    assert garden.next_at <= first.expires_at - LIFETIME / 6
    garden.world.later(minutes=1)
    garden.maintain()
    assert garden.active.expires_at == garden.now + LIFETIME
    assert list(garden.vendor.hooks) == [garden.active.external_id]
    (old,) = [one for one in garden.world.subscriptions(garden.connection) if one.id == first.id]
    assert (old.status, old.secret) == (SubscriptionStatus.ENDED, None)


def test_where_it_can_be_extended_it_is():
    """The same subscription gets a later end, and keeps its secret."""

    def extend(app, connection, subscription):
        yield from ()
        return SubscriptionReceipt(external_id=subscription.external_id, expires_at=subscription.expires_at + LIFETIME)

    garden = Garden(**EXPIRING, renew=extend)
    first = garden.active
    garden.world.clock.advance(LIFETIME * 2 / 3)
    garden.maintain()
    assert (garden.active.id, garden.active.secret) == (first.id, first.secret)
    assert garden.active.expires_at == first.expires_at + LIFETIME


def test_a_renewal_that_fails_is_tried_until_it_lapses():
    """It is tried every few minutes until it lapses, which opens a gap, and then with growing pauses."""
    garden = Garden(lifetime=timedelta(hours=6), subscribe=subscribe_for_a_time)
    first = garden.active
    garden.vendor.before = refuse_hooks
    while garden.now < first.expires_at:
        garden.run_next()
        if garden.now < first.expires_at:
            assert garden.active.id == first.id
    assert garden.vendor.count("POST /api/hooks") >= 8
    assert garden.error == "Acme answered 503."
    assert sorted(garden.statuses()) == ["lapsed", "pending"]
    gaps = {family: (from_at, to_at) for family, from_at, to_at in garden.gaps()}
    assert gaps["states"] == (first.expires_at, None)
    assert gaps["items"][0] >= first.expires_at  # a sync may have read its beginning
    garden.vendor.log.clear()
    while garden.now < first.expires_at + timedelta(days=2):
        garden.run_next()
    assert 6 <= garden.vendor.count("POST /api/hooks") <= 12
    assert garden.vendor.count("GET /api/targets") <= 40  # and there are few runs in between
    assert garden.error == "Acme answered 503."


def test_at_the_instant_of_its_end_it_has_lapsed():
    """At its expiry it is replaced and not renewed, and a gap begins there."""
    garden = Garden(**EXPIRING)
    first = garden.active
    garden.world.clock.advance(first.expires_at - garden.now)
    garden.maintain()
    assert garden.statuses() == ["ended", "active"]
    assert ("states", first.expires_at) in {(family, from_at) for family, from_at, _ in garden.gaps(is_open=False)}


def test_what_had_lapsed_is_made_again():
    """The gap gets an end; the next read closes it for items, but not for states."""
    garden = Garden(**EXPIRING)
    first = garden.active
    garden.world.clock.advance(LIFETIME + timedelta(hours=1))  # no run in all that time
    garden.maintain()
    assert garden.active.id != first.id
    assert garden.statuses() == ["ended", "active"]
    assert garden.gaps() == [(name, first.expires_at, garden.now) for name in ("items", "states")]
    assert garden.stream() == [(first.created_at, first.expires_at), (garden.now, None)]
    assert garden.error is None
    garden.world.later(minutes=1)
    garden.read()
    assert [family for family, _, _ in garden.gaps()] == ["states"]
    garden.run_next()
    assert len(garden.gaps()) == 1


def test_connecting_again_after_it_had_lapsed():
    """The gap opens while the user is away and ends when they connect again; then the stream is whole."""
    garden = Garden(**EXPIRING)
    first = garden.active
    with garden.world.uow() as uow:
        uow.connections.save(
            garden.connection.moved_to(ConnectionStatus.REAUTHORIZATION_REQUIRED, at=garden.now, reason="dead")
        )
    garden.world.clock.advance(LIFETIME * 2)
    garden.world.tick()
    garden.world.work()
    assert garden.statuses() == ["lapsed"]
    assert ("states", first.expires_at, None) in garden.gaps()
    back_at = garden.now
    garden.world.connect()
    garden.run_next()
    assert garden.statuses() == ["ended", "active"]
    assert garden.gaps() == [("states", first.expires_at, back_at)]  # the read that follows has closed the other
    assert garden.stream()[-1] == (back_at, None)
    assert garden.next_at - garden.now > timedelta(hours=1)


# --- vanished hooks --------------------------------------------------------------------------------------------------


def test_a_vanished_hook_is_noticed():
    """A hook that is gone at the vendor is made again, and what came since its last proof may be missing."""
    garden = Garden(probe=probe)
    garden.run_next()
    proven_at = garden.now
    garden.run_next()
    assert garden.active.checked_at > proven_at - PROBE_EVERY
    proven_at = garden.active.checked_at
    garden.vendor.hooks.clear()
    garden.run_next()
    garden.run_next()
    assert garden.vendor.live_hooks()
    assert garden.statuses() == ["ended", "active"]
    (gap,) = {(from_at, to_at) for _, from_at, to_at in garden.gaps() if to_at is not None}
    assert gap[0] == proven_at
    garden.world.later(minutes=1)
    garden.read()
    assert [family for family, _, _ in garden.gaps()] == ["states"]


def test_what_was_read_meanwhile_is_no_gap():
    """What syncs have read before the loss was noticed does not count as missing."""
    garden = Garden(probe=probe)
    garden.vendor.hooks.clear()
    for _ in range(4):
        garden.world.later(minutes=15)
        garden.read()
    read_until = garden.now
    garden.world.later(minutes=10)
    garden.maintain()
    gaps = {family: from_at for family, from_at, _ in garden.gaps()}
    assert gaps == {"items": read_until, "states": garden.connection.created_at}


@pytest.mark.parametrize(
    ("subscriptions", "every"), [({"probe": probe}, PROBE_EVERY), (LOGGED, AUDIT_EVERY), ({}, IDLE_PAUSE)]
)
def test_how_often_it_is_maintained(subscriptions, every):
    """The interval depends on what the vendor can show, and has jitter; a run that comes too early probes nothing."""
    garden = Garden(**subscriptions)
    garden.run_next()
    garden.run_next()
    assert every * 0.8 <= garden.next_at - garden.now <= every * 1.2
    garden.vendor.log.clear()
    garden.maintain()
    assert garden.vendor.log == ["GET /api/targets"]


def test_an_error_that_is_over_is_shown_for_an_hour_at_most():
    """If the vendor fails during one run and its hook still works, the next run comes soon and clears the error."""
    garden = Garden()
    garden.vendor.before = lambda request: answer(status=500) if request.url.endswith("/targets") else None
    garden.run_next()
    assert (garden.statuses(), garden.error) == (["active"], "Acme answered 500.")
    garden.vendor.before = lambda request: None
    assert garden.next_at - garden.now <= PROBE_EVERY * 1.2
    garden.run_next()
    assert (garden.error, health_of(garden.world.reload(garden.connection))) == (None, Health.HEALTHY)


# --- targets that were refused ---------------------------------------------------------------------------------------


def test_pauses_grow_to_a_cap():
    """The pauses are five minutes, ten, twenty and at most six hours, however often it has failed."""
    pauses = [retry_pause(failures) for failures in range(1, 12)]
    assert pauses[:3] == [RETRY_BASE, 2 * RETRY_BASE, 4 * RETRY_BASE]
    assert pauses[-1] == retry_pause(10**6) == RETRY_CAP
    assert retry_pause(0) == RETRY_BASE


def test_a_refused_target_is_tried_again_with_growing_pauses():
    """The others work meanwhile, its connection says what is wrong, and once it is made the error is gone."""

    def refuse(request):
        return answer(status=403) if request.method == "POST" and b'"y"' in (request.body or b"") else None

    garden = Garden(boxes=["x", "y"], before=refuse)
    waits = []
    for _ in range(12):
        before = garden.vendor.count("POST /api/hooks")
        began = garden.now
        while garden.vendor.count("POST /api/hooks") == before:
            garden.run_next()
        waits.append(garden.now - began)
    assert garden.statuses("x") == ["active"]
    assert garden.statuses("y") == ["failed"]
    assert waits[6] > waits[3] > waits[1]
    assert max(waits) <= RETRY_CAP * 1.5
    assert garden.error == "Acme answered 403."
    garden.vendor.before = lambda request: None
    while garden.statuses("y") != ["active"]:
        garden.run_next()
    assert (garden.error, garden.gaps()) == (None, [])
    assert garden.stream() == [(garden.now, None)]


def subscribe_but_never(app, connection, request):
    """Like `subscribe`, at a vendor that never pushes what is called "y"; the call is made all the same."""
    receipt = yield from subscribe(app, connection, request)
    if request.subscription.target == "y" and not connection.metadata.get("open"):
        raise RefusedForGoodError("Acme never pushes this; it is polled.")
    return receipt


def test_a_target_that_is_never_pushed_is_settled():
    """It is listed with its reason and asked for again weekly; nothing is wrong with its connection."""
    garden = Garden(boxes=["x", "y"], subscribe=subscribe_but_never)
    (settled,) = [one for one in garden.world.subscriptions(garden.connection) if one.target == "y"]
    assert (settled.status, settled.error) == (SubscriptionStatus.REFUSED, "Acme never pushes this; it is polled.")
    assert settled.secret is None
    assert settled.is_over
    asked = []
    for _ in range(70):
        before = garden.vendor.count("POST /api/hooks")
        garden.run_next()
        asked += [garden.now] * (garden.vendor.count("POST /api/hooks") - before)
        details = garden.world.connectors.queries.inspect_connection(TENANT, garden.connection.id)
        assert (garden.error, details.has_broken_subscription) == (None, False)
        assert garden.statuses("y") == ["refused"]
    assert len(asked) >= 3
    assert all(later - earlier >= REFUSED_PAUSE for earlier, later in pairwise(asked))


def test_what_is_never_pushed_is_claimed_by_reading_only():
    """Deliveries claim nothing of a connection with such a target, from the moment when it was refused."""
    garden = Garden(boxes=["x"], subscribe=subscribe_but_never)
    began = garden.now
    assert garden.stream() == [(began, None)]
    garden.world.later(hours=1)
    garden.vendor.targets = ["x", "y"]
    garden.maintain()
    assert (garden.stream(), garden.gaps(), garden.error) == ([(began, garden.now)], [], None)
    garden.world.later(hours=1)
    garden.world.connectors.jobs.request(TENANT, garden.connection.id, JobType.INCREMENTAL)
    garden.world.work()
    assert garden.world.proven(garden.connection, CoveragePath.SYNC)["items"] == [(began, garden.now)]


def test_a_target_that_is_pushed_after_all():
    """Once the vendor takes it, at the next weekly look, deliveries prove its families again."""
    garden = Garden(boxes=["x", "y"], subscribe=subscribe_but_never)
    with garden.world.uow() as uow:
        row = uow.connections.get(TENANT, garden.connection.id)
        uow.connections.save(attrs.evolve(row, metadata={**row.metadata, "open": True}))
    while garden.statuses("y") != ["active"]:
        garden.run_next()
    assert garden.stream() == [(garden.now, None)]


def test_a_target_that_lapsed_and_is_never_pushed_any_more():
    """The lapsed subscription ends with the refusal, so it is no error for ever."""
    garden = Garden(boxes=["x"], probe=probe)
    never = attrs.evolve(garden.world.acme.webhooks.subscriptions, subscribe=subscribe_never)
    webhooks = attrs.evolve(garden.world.acme.webhooks, subscriptions=never)
    garden.world.connectors.providers._providers["acme"] = attrs.evolve(garden.world.acme, webhooks=webhooks)
    garden.vendor.hooks.clear()
    garden.world.clock.advance(PROBE_EVERY)
    garden.maintain()
    assert (garden.statuses(), garden.error) == (["ended", "refused"], None)


def test_a_target_that_is_never_pushed_any_more_when_it_is_renewed():
    """Its old subscription is removed, and not renewed again and again until it expires."""
    garden = Garden(boxes=["x"], **EXPIRING)
    never = attrs.evolve(garden.world.acme.webhooks.subscriptions, subscribe=subscribe_never)
    webhooks = attrs.evolve(garden.world.acme.webhooks, subscriptions=never)
    garden.world.connectors.providers._providers["acme"] = attrs.evolve(garden.world.acme, webhooks=webhooks)
    garden.world.clock.advance(LIFETIME * 0.7)
    garden.maintain()
    assert (garden.statuses(), garden.error, garden.vendor.hooks) == (["ended", "refused"], None, {})
    assert garden.next_at - garden.now > timedelta(hours=1)
    assert [one[2] for one in garden.gaps()] == []


def subscribe_never(app, connection, request):
    yield from ()
    raise RefusedForGoodError("Acme never pushes this; it is polled.")


def test_a_target_that_is_gone_at_the_vendor_is_no_error():
    """Its subscription ends, and no longer keeps the others' stream from being whole."""
    garden = Garden(boxes=["x", "y"], probe=probe)
    gone = next(name for name, hook in garden.vendor.hooks.items() if hook["target"] == "y")
    garden.vendor.targets = ["x"]
    del garden.vendor.hooks[gone]
    garden.world.clock.advance(PROBE_EVERY)
    garden.maintain()
    assert (garden.statuses("x"), garden.statuses("y")) == (["active"], ["ended"])
    assert [one for one in garden.gaps() if one[2] is None] == []
    assert (garden.error, garden.stream()[-1]) == (None, (garden.now, None))


def test_a_hook_of_unknown_outcome_is_removed_with_its_connection():
    """A disconnect also removes a hook that was made although no answer came."""
    garden = Garden()
    garden.vendor.hooks.clear()

    def lose(request):
        if request.method == "POST" and request.url.endswith("/api/hooks"):
            garden.vendor.before = lambda request: None
            garden.vendor(request)
            raise ProviderUnavailableError("No answer.", outcome_unknown=True)

    with garden.world.uow() as uow:
        for one in uow.subscriptions.list_of_connection(TENANT, garden.connection.id):
            uow.subscriptions.delete(TENANT, one.id)
    garden.vendor.before = lose
    garden.maintain()
    assert (garden.statuses(), len(garden.vendor.hooks)) == (["pending"], 1)
    garden.world.connectors.disconnect.end_connection(TENANT, garden.connection.id)
    assert (garden.statuses(), garden.vendor.hooks) == (["ended"], {})
    assert garden.world.entry(garden.connection.id, TaskKind.MAINTAIN) is None


# --- missed deliveries -----------------------------------------------------------------------------------------------


def test_a_missed_delivery_is_a_gap_until_it_arrives():
    """The vendor is asked to send it again, and when it arrives the gap is closed by the webhook path."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.miss()
    garden.maintain()
    (gap,) = garden.world.gaps(garden.connection)
    assert (gap.cause, gap.family, gap.reference) == (GapCause.DELIVERY_MISSED, "items", "lost-1")
    assert gap.from_at == gap.to_at
    assert garden.vendor.count("POST /api/missed/log-lost-1") == 1
    garden.deliver(created(), "lost-1")
    garden.run_next()
    assert garden.gaps() == []
    assert [one.closed_by for one in garden.world.gaps(garden.connection, is_open=False)] == [CoveragePath.WEBHOOK]
    assert garden.vendor.count("POST /api/missed/log-lost-1") == 1
    assert garden.stream() == [(garden.connection.created_at, None)]


def test_the_gap_is_closed_by_the_delivery_itself():
    """The ledger does not need another audit of the log."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.miss()
    garden.miss("lost-2")
    garden.maintain()
    garden.deliver(created(), "lost-1")
    assert [one.reference for one in garden.world.gaps(garden.connection)] == ["lost-2"]


def test_a_limit_does_not_hide_a_missed_delivery():
    """All gaps are recorded although the vendor's limit delays the redeliveries, and the connection has no error."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.miss()
    garden.miss("lost-2")
    garden.vendor.before = lambda request: answer(status=429) if "/missed/" in request.url else None
    garden.maintain()
    assert (len(garden.gaps()), garden.error) == (2, None)
    assert garden.vendor.count("POST /api/missed/log-lost-2") == 0
    garden.vendor.before = lambda request: None
    assert garden.next_at - garden.now < AUDIT_EVERY / 2
    garden.run_next()
    assert garden.vendor.count("POST /api/missed/log-lost-2") == 1


def test_a_read_closes_what_was_missed():
    """If it is not sent again, the next sync closes the gap of a family that it reads."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.miss()
    garden.miss("lost-2", event="item.changed")
    garden.miss("lost-3", event=None)
    garden.maintain()
    assert sorted(family for family, _, _ in garden.gaps()) == [ALL_FAMILIES, "items", "states"]
    garden.read()
    assert sorted(family for family, _, _ in garden.gaps()) == [ALL_FAMILIES, "states"]


def test_what_a_read_has_shown_was_not_missed():
    """A delivery that was lost before the last sync is recorded as a closed gap."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=10)
    garden.miss(ago=timedelta(minutes=3))
    garden.read()
    garden.maintain()
    assert garden.gaps() == []
    assert [one.closed_by for one in garden.world.gaps(garden.connection, is_open=False)] == [CoveragePath.SYNC]


def test_what_is_in_flight_or_has_arrived_is_not_missed():
    """A delivery that the vendor's log lists as missed too early opens no gap."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.deliver(created(1), "came")
    garden.miss("came")
    garden.miss("late", ago=IN_FLIGHT / 2)
    garden.maintain()
    assert garden.gaps(is_open=False) == []
    garden.run_next()
    assert len(garden.gaps(is_open=False)) == 1


def test_a_delivery_that_could_not_be_read_is_missed():
    """It opens a gap, and the vendor is asked to send it again."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.deliver({"event": "item.created", "item": None}, "came")
    assert [one.status for one in garden.world.deliveries()] == [DeliveryStatus.FAILED]
    garden.miss("came")
    garden.maintain()
    missed = [one for one in garden.world.gaps(garden.connection) if one.cause is GapCause.DELIVERY_MISSED]
    assert [one.reference for one in missed] == ["came"]
    assert garden.vendor.count("POST /api/missed/log-came") == 1


def test_late_entries_of_the_log_are_found():
    """What the vendor adds to its log between two audits is found, even with earlier times."""
    garden = Garden(**LOGGED)
    for number in range(5):
        garden.run_next()
        garden.miss(f"lost-{number}", ago=timedelta(minutes=45))
    garden.run_next()
    assert len(garden.world.gaps(garden.connection, is_open=False)) == 5


def test_a_refused_redelivery_is_no_error():
    """The gap stays open for the sync, and the subscription counts as proven."""
    garden = Garden(**LOGGED)
    garden.world.later(minutes=20)
    garden.miss()
    garden.vendor.before = lambda request: answer(status=422) if "/missed/" in request.url else None
    garden.maintain()
    assert (len(garden.gaps()), garden.error, garden.active.checked_at) == (1, None, garden.now)


# --- failures --------------------------------------------------------------------------------------------------------


def crash(*args):
    yield from ()
    raise KeyError("a bug in the package")


@pytest.mark.parametrize(
    ("subscriptions", "before"),
    [
        ({}, lambda request: answer(status=500)),
        ({}, lambda request: answer(status=429)),
        ({}, lambda request: answer(status=401)),
        ({"probe": crash}, None),
        ({"targets": crash}, None),
        (LOGGED, lambda request: answer({"not": "a list"})),
    ],
)
def test_there_is_always_a_next_run(subscriptions, before):
    """Whatever the vendor or its package does, the subscriptions are maintained again within hours."""
    garden = Garden()
    garden.world.connectors.providers._providers["acme"] = make_acme(subscriptions=subscriptions)
    garden.vendor.before = before or (lambda request: None)
    for _ in range(3):
        garden.run_next()
        garden.run_next()
        assert timedelta(0) < garden.next_at - garden.now <= IDLE_PAUSE * 1.2


def test_a_database_error_leaves_the_schedule_entry():
    """Even if a run can write nothing, the tick has already scheduled the next one."""
    garden = Garden(probe=probe)

    class Broken:
        def __call__(self):
            raise InfrastructureError("The database is gone.")

    tasks = garden.world.connectors.tasks
    maintenance = attrs.evolve(tasks.maintenance, unit_of_work=Broken())
    garden.world.connectors = attrs.evolve(
        garden.world.connectors, tasks=attrs.evolve(tasks, maintenance=maintenance, time_slice=timedelta(0))
    )
    garden.world.clock.advance(garden.next_at - garden.now)
    garden.world.tick()
    garden.world.work()
    assert garden.next_at > garden.now
    assert len(garden.world.tasks()) == 1  # queued again


def test_a_bug_with_one_does_not_affect_the_others(caplog):
    """A probe that crashes keeps no other subscription from being renewed, and no target from being subscribed."""

    def probing(app, connection, subscription):
        yield from crash()

    garden = Garden(boxes=["x", "y"], probe=probing, **EXPIRING)
    with garden.world.uow() as uow:
        x = next(one for one in garden.world.subscriptions(garden.connection) if one.target == "x")
        uow.subscriptions.save(attrs.evolve(x, expires_at=None))
    garden.vendor.targets = ["x", "y", "z"]
    garden.world.clock.advance(LIFETIME * 0.7)
    garden.maintain()
    assert garden.statuses("y") == ["ended", "active"]
    assert garden.statuses("z") == ["active"]
    assert garden.error == "internal error: KeyError"
    assert "subscription_maintenance_crashed" in caplog.text


def test_a_dead_grant_is_reported(caplog):
    """The connection needs its user, and no gap is opened, because the hook may still deliver."""
    garden = Garden(probe=probe)
    garden.world.later(hours=2)
    garden.vendor.kill()
    garden.maintain()
    assert garden.world.reload(garden.connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert (garden.gaps(), garden.statuses()) == ([], ["active"])


def test_a_connection_that_ends_during_a_run_stays_ended():
    """The result of the run does not overwrite a disconnect."""
    garden = Garden(probe=probe)
    garden.world.later(hours=2)

    def end(request):
        if request.method == "GET" and "/hooks/" in request.url:
            garden.vendor.before = lambda request: None
            garden.world.connectors.disconnect.end_connection(TENANT, garden.connection.id)

    garden.vendor.before = end
    garden.maintain()
    assert garden.world.reload(garden.connection).status is ConnectionStatus.REVOKED
    assert (garden.statuses(), garden.vendor.hooks) == (["ended"], {})
    assert [one for one in garden.gaps() if one[2] is None] == []
    assert garden.world.entry(garden.connection.id, TaskKind.MAINTAIN) is None


@pytest.mark.parametrize("reason", ["disabled", "no webhooks"])
def test_without_anything_to_maintain_no_request_is_sent(reason):
    """For a disabled connection, or a provider without webhooks, only the next run is scheduled."""
    garden = Garden()
    if reason == "disabled":
        with garden.world.uow() as uow:
            uow.connections.save(garden.connection.moved_to(ConnectionStatus.DISABLED, at=garden.now))
    else:
        bare = attrs.evolve(garden.world.acme, webhooks=None)
        garden.world.connectors.providers._providers["acme"] = bare
    garden.maintain()
    assert garden.vendor.log == []
    assert garden.next_at > garden.now


# --- whose error it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_maintenance_does_not_change_the_sync_error(fails):
    """A sync error stays, whether the subscriptions work or not."""
    garden = Garden(boxes=["x", "y"])
    with garden.world.uow() as uow:
        broken = attrs.evolve(garden.world.reload(garden.connection), sync_error="Acme answered 500.")
        uow.connections.save(broken)
    if fails:
        garden.vendor.targets = ["x", "y", "z"]
        garden.vendor.before = refuse_hooks
    garden.maintain()
    shown = garden.world.reload(garden.connection)
    assert (shown.sync_error, shown.webhook_error) == ("Acme answered 500.", "Acme answered 503." if fails else None)
    assert health_of(shown) is Health.DEGRADED


def test_a_refused_target_is_an_error_until_it_works():
    """A run in which no retry was due does not clear the error."""
    garden = Garden(boxes=["x"])
    garden.vendor.targets = ["x", "y"]
    garden.vendor.before = refuse_hooks
    garden.maintain()
    garden.vendor.log.clear()
    garden.maintain()
    assert garden.vendor.count("POST /api/hooks") == 0
    assert garden.error == "Acme answered 503."
    assert health_of(garden.world.reload(garden.connection)) is Health.DEGRADED


def test_a_limit_does_not_hide_a_lapsed_subscription():
    """While the vendor's limit keeps a lapsed subscription from being made again, the connection says so."""
    garden = Garden(**EXPIRING)
    garden.world.clock.advance(LIFETIME + timedelta(hours=1))
    garden.vendor.before = lambda request: answer(status=429) if "/api/" in request.url else None
    garden.maintain()
    assert garden.statuses() == ["lapsed"]
    assert garden.error == "It has expired."


def test_what_expired_unnoticed_is_an_error():
    """If the vendor cannot be asked, an expired subscription is still shown on the connection."""
    garden = Garden(**EXPIRING)
    garden.world.clock.advance(LIFETIME + timedelta(hours=1))
    garden.world.connectors.maintenance.access.apps.clear()
    garden.maintain()
    assert garden.statuses() == ["lapsed"]
    assert garden.error == "A webhook subscription had lapsed."


def test_a_list_of_targets_that_is_refused_is_asked_for_ever_more_rarely():
    """While the vendor does not show what there is to subscribe to, a failed target is no reason to ask every minute."""
    garden = Garden(before=refuse_hooks)
    garden.vendor.before = lambda request: answer(status=401) if request.url.endswith("/api/targets") else None
    garden.world.run_for(timedelta(hours=12), step=timedelta(minutes=1))
    assert 1 < garden.vendor.count("GET /api/targets") / 2 < 20
    assert garden.world.reload(garden.connection).status is ConnectionStatus.ACTIVE
    garden.vendor.before = lambda request: None
    garden.world.run_for(RETRY_CAP, step=timedelta(minutes=5))
    assert garden.error is None
