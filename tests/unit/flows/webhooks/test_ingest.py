"""Receiving webhooks and replaying them."""

import json
import threading
from uuid import uuid4

import attrs
import pytest

from connectors.adapters.memory.connections import MemoryConnectionStore
from connectors.domain.flows.webhooks.routing import NO_CONNECTION
from connectors.domain.flows.webhooks.verification import Trust
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import GapCause
from connectors.domain.model.errors import (
    ConnectionNotFoundError,
    DeliveryRejectedError,
    InfrastructureError,
    NotFoundError,
    ProviderNotSupportedError,
    TenantNotFoundError,
    UnexpectedResponseError,
)
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.ids import UNROUTED, ConnectionId, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import DeliveryStatus, Recorded, SubscriptionStatus, WebhookEvent
from connectors.domain.providers import contract
from tests.support import provider
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World, created

THIRD_TENANT = TenantId(uuid4())


@pytest.fixture
def world():
    world = World()
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    return world


def handshaking(**webhooks):
    scope = contract.SubscriptionScope.CONNECTION
    return World(
        make_acme(webhooks={"url_scope": scope, "subscriptions": None, "read_handshake": provider.read_handshake})
    )


def signed(world, connection):
    """The headers of a delivery of the connection's own hook."""
    hook = world.hook(connection)
    return {"secret": hook["secret"], "hook": hook["id"]}


def only(world, tenant=TENANT):
    (row,) = world.deliveries(tenant)
    return row


# --- whose secret --------------------------------------------------------------------------------------------------


def test_a_signed_delivery_becomes_a_signal(world):
    """It is verified with its subscription's secret, stored with its signal, and acknowledged."""
    connection = world.connect()
    acceptance = world.deliver(created(), **signed(world, connection))
    assert (acceptance.recorded, acceptance.success_status) == (Recorded.NEW, 202)
    row = only(world)
    assert (row.status, row.event, row.signal_count) == (DeliveryStatus.PROCESSED, "item.created", 1)
    (signal,) = world.signals()
    assert (signal.connection_id, signal.origin, signal.dedupe_key) == (connection.id, "webhook", "item:1:created")


@pytest.mark.parametrize("secret", [None, "wrong", "webhook-secret"])
def test_a_named_subscription_has_to_match(world, secret):
    """A delivery that names a hook is checked with that hook's secret, not with the app's."""
    connection = world.connect()
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(), secret=secret, hook=world.hook(connection)["id"])
    assert (world.deliveries(), world.signals()) == ((), ())


def test_of_two_subscriptions_to_one_hook_either_may_match(world):
    """Where two connections share a vendor's hook, the deliveries of both are accepted."""
    first = world.connect()
    second = world.connect(user="bob")
    mine, theirs = world.hook(first), world.hook(second)
    with world.uow() as uow:
        (row,) = uow.subscriptions.list_of_connection(TENANT, second.id)
        uow.subscriptions.save(attrs.evolve(row, external_id=mine["id"]))
    world.deliver(created(1), secret=mine["secret"], hook=mine["id"])
    world.deliver(created(2), secret=theirs["secret"], hook=mine["id"])
    assert {one.connection_id for one in world.signals()} == {first.id, second.id}


def test_without_a_hook_the_apps_secret_counts(world):
    """A delivery that names no hook is checked with the app's secrets, of which any may match."""
    world.connect()
    world.deliver(created())
    assert only(world).status is DeliveryStatus.PROCESSED
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(2), secret="other")


def test_without_a_secret_every_delivery_is_refused(world):
    """If no secret is configured, a delivery signed with an empty one is refused too."""
    world.connect()
    world.connectors.apps["acme"] = attrs.evolve(world.app, webhook_secrets=())
    for secret in ("", None, "webhook-secret"):
        with pytest.raises(DeliveryRejectedError):
            world.deliver(created(), secret=secret)


def test_an_ended_subscription_proves_nothing(world):
    """After a disconnect the hook's old secret is refused."""
    connection = world.connect()
    about = signed(world, connection)
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(), **about)


def test_a_pending_subscription_verifies_and_becomes_active(world):
    """The first delivery may come before the vendor's answer, and gives the hook's id."""
    connection = world.connect()
    about = signed(world, connection)
    with world.uow() as uow:
        (row,) = uow.subscriptions.list_of_connection(TENANT, connection.id)
        uow.subscriptions.save(attrs.evolve(row, status=SubscriptionStatus.PENDING, external_id=None))
    world.deliver(created(), **about)
    (row,) = world.subscriptions(connection)
    assert (row.status, row.external_id) == (SubscriptionStatus.ACTIVE, about["hook"])


def test_another_tenants_hook_is_unknown(world):
    """A tenant's URL does not accept what another tenant's subscription signed."""
    connection = world.connect()
    world.known(OTHER_TENANT)
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(), **signed(world, connection), tenant=OTHER_TENANT)


def test_another_connections_hook_is_unknown(world):
    """A connection's URL does not accept what another connection's subscription signed."""
    first, second = world.connect(), world.connect(user="bob")
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(), **signed(world, first), connection=second)


def test_a_relay_is_trusted(world):
    """For an operator no signature is checked, and a missing delivery id becomes the hash of the body."""
    world.connect()
    request = world.request(created(), secret=None)
    headers = {name: value for name, value in request.headers.items() if name != "x-acme-delivery"}
    for expected in (Recorded.NEW, Recorded.DUPLICATE):
        acceptance = world.connectors.ingest.accept_delivery(
            attrs.evolve(request, headers=headers), trust=Trust.OPERATOR
        )
        assert acceptance.recorded is expected
    assert len(only(world).delivery_id) == 64


@pytest.mark.parametrize("tenant", [OTHER_TENANT, UNROUTED])
def test_an_unknown_tenant_is_not_created(world, tenant):
    """A webhook URL never creates the tenant that it names, and the nil one does not exist."""
    with pytest.raises(TenantNotFoundError):
        world.deliver(created(), tenant=tenant)
    with pytest.raises(TenantNotFoundError):
        world.connectors.tenants.get(tenant)


def test_unknown_paths_are_not_found(world):
    """Unknown connections and providers, and providers without webhooks, are not found."""
    connection = world.connect()
    request = world.request(created(), connection=connection)
    accept = world.connectors.ingest.accept_delivery
    with pytest.raises(ConnectionNotFoundError):
        accept(attrs.evolve(request, connection_id=ConnectionId(uuid4())))
    with pytest.raises(ProviderNotSupportedError):
        accept(attrs.evolve(request, provider="nobody"))
    mute = attrs.evolve(provider.ACME, slug="mute", webhooks=None)
    world.connectors.providers._providers["mute"] = mute
    with pytest.raises(NotFoundError):
        accept(attrs.evolve(request, provider="mute"))
    world.connectors.providers._providers["other"] = attrs.evolve(provider.ACME, slug="other")
    with pytest.raises(ConnectionNotFoundError):
        accept(attrs.evolve(request, provider="other"))


# --- handshakes ----------------------------------------------------------------------------------------------------


def announce(world, connection, secret, url_key):
    return world.deliver(b"", connection=connection, secret=None, url_key=url_key, x_acme_handshake=secret)


def test_a_handshake_is_accepted_once():
    """The first announced secret stays the connection's; a later one is refused and changes nothing."""
    world = handshaking()
    connection = world.connect()
    key = world.url_key(connection)
    assert (announce(world, connection, "theirs", key).recorded, world.deliveries()) == (Recorded.NEW, ())
    before = world.subscriptions(connection)
    with pytest.raises(DeliveryRejectedError):
        announce(world, connection, "evil", key)
    assert world.subscriptions(connection) == before
    world.deliver(created(1), connection=connection, secret="theirs")
    for secret in ("evil", "webhook-secret"):
        with pytest.raises(DeliveryRejectedError):
            world.deliver(created(2), connection=connection, secret=secret)
    assert len(world.signals()) == 1


def test_a_handshake_needs_the_key_of_the_connections_url():
    """Who knows the ids of tenant and connection, or another connection's key, cannot announce a secret."""
    world = handshaking()
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    connection, other = world.connect(), world.connect(user="bob")
    key = world.url_key(connection)
    for wrong in (None, "", "x", "\ud800", world.url_key(other), str(connection.id)):
        with pytest.raises(DeliveryRejectedError):
            announce(world, connection, "evil", wrong)
    announce(world, connection, "theirs", key)
    world.deliver(created(1), connection=connection, secret="theirs")


def test_the_key_of_a_url_is_no_secret_to_sign_with():
    """A delivery that is signed with it is refused, before the vendor announces its secret and after."""
    world = handshaking()
    connection = world.connect()
    key = world.url_key(connection)
    for announced in (False, True):
        if announced:
            announce(world, connection, "theirs", key)
        with pytest.raises(DeliveryRejectedError):
            world.deliver(created(1), connection=connection, secret=key, url_key=key)


def test_a_secret_from_before_verifies_at_the_url_without_a_key():
    """A connection whose vendor has announced its secret goes on at the URL that it was set up with."""
    world = handshaking()
    connection = world.connect()
    announce(world, connection, "theirs", world.url_key(connection))
    for key in (None, "an old one"):
        world.deliver(created(1), connection=connection, secret="theirs", url_key=key)
    assert len(world.signals()) == 1


def test_a_handshake_of_an_ended_connection_is_refused():
    """A disconnected connection stores no secret, not even a new one."""
    world = handshaking()
    connection = world.connect()
    key = world.url_key(connection)
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    with pytest.raises(DeliveryRejectedError):
        announce(world, connection, "theirs", key)
    assert [(one.status, one.secret) for one in world.subscriptions(connection)] == [(SubscriptionStatus.ENDED, None)]


# --- signing keys --------------------------------------------------------------------------------------------------


def test_an_unknown_key_is_fetched_once():
    """A key that the vendor has just added is found by one fetch, and a forged one does not cause a second."""
    world = World(make_acme(webhooks={"signing_keys": provider.signing_keys}))
    world.connect()
    world.deliver(created(1), secret=None, x_acme_key="k1")
    world.vendor.keys["k2"] = {}
    world.later(minutes=1)
    world.deliver(created(2), secret=None, x_acme_key="k2")
    assert (len(world.signals()), world.vendor.count("GET /keys")) == (2, 2)
    for _ in range(3):
        with pytest.raises(DeliveryRejectedError):
            world.deliver(created(3), secret=None, x_acme_key="forged")
    assert world.vendor.count("GET /keys") == 2


def test_a_relay_needs_no_keys():
    """A trusted relay is accepted while the vendor's keys are unavailable; other senders are told to try again."""
    world = World(make_acme(webhooks={"signing_keys": provider.signing_keys}))
    world.connect()
    world.vendor.before = lambda request: answer(status=503)
    world.connectors.ingest.accept_delivery(world.request(created(), secret=None), trust=Trust.OPERATOR)
    with pytest.raises(InfrastructureError):
        world.deliver(created(2))


# --- whose connection ----------------------------------------------------------------------------------------------


def test_the_paths_connection_comes_first(world):
    """The connection in the path owns the event, whatever accounts it names."""
    first, _ = world.connect(), world.connect(user="bob")
    world.deliver(created(accounts=["b-1"]), connection=first, secret=world.hook(first)["secret"])
    assert world.signals()[0].connection_id == first.id


def test_the_subscriptions_connection_comes_next(world):
    """The subscription's connection owns the event, whatever accounts it names."""
    first, _ = world.connect(), world.connect(user="bob")
    world.deliver(created(accounts=["b-1"]), **signed(world, first))
    assert world.signals()[0].connection_id == first.id


@pytest.mark.parametrize("name", ["b-1", "email:bob@acme.test"])
def test_then_the_account_that_the_event_names(world, name):
    """An account's id or address finds its connection."""
    _, second = world.connect(), world.connect(user="bob")
    world.deliver(created(accounts=[name]))
    assert world.signals()[0].connection_id == second.id


def test_then_the_only_active_one(world):
    """A single active connection gets the event; with two, or none, the delivery is stored as failed."""
    world.known()
    world.deliver(created(1))
    first = world.connect()
    world.deliver(created(2))
    world.connect(user="bob")
    world.deliver(created(3))
    rows = world.deliveries()
    assert sorted(one.status for one in rows) == ["failed", "failed", "processed"]
    assert {one.error for one in rows if one.status == "failed"} == {NO_CONNECTION}
    assert [one.connection_id for one in world.signals()] == [first.id]


@pytest.mark.parametrize("by", ["path", "account", "only"])
def test_an_ended_connection_gets_nothing_more(world, by):
    """After a disconnect nothing is added, whichever way the delivery finds the connection."""
    connection = world.connect()
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    changes = {"path": {"connection": connection}}.get(by, {})
    world.deliver(created(accounts=["a-1"] if by == "account" else []), **changes)
    assert (only(world).error, world.signals()) == (NO_CONNECTION, ())


def test_an_app_level_event_reaches_every_tenant(world):
    """A delivery on the app's URL is stored for each tenant that has connected the account."""
    owners = (TENANT, OTHER_TENANT, THIRD_TENANT)
    connections = [world.connect(tenant) for tenant in owners]
    world.connectors.disconnect.end_connection(THIRD_TENANT, connections[2].id)
    acceptance = world.deliver(created(accounts=["a-1"]), tenant=None)
    assert len(acceptance.deliveries) == 2
    assert [len(world.signals(tenant)) for tenant in owners] == [1, 1, 0]
    assert only(world, OTHER_TENANT).connection_id == connections[1].id
    assert world.unrouted() == ()


def test_an_app_level_event_is_nobodys_if_its_connection_ends_meanwhile(world, monkeypatch):
    """Where another delivery ends the connection between two looks, the tenant gets nothing that a replay could do."""
    world.connect()
    look = MemoryConnectionStore.list_by_accounts

    def look_and_end(store, *args):
        found = look(store, *args)
        for one in found:
            store.save(attrs.evolve(one, status=ConnectionStatus.REVOKED))
        return found

    monkeypatch.setattr(MemoryConnectionStore, "list_by_accounts", look_and_end)
    world.deliver(created(accounts=["a-1"]), tenant=None)
    (row,) = world.unrouted()
    assert (row.status, world.deliveries()) == (DeliveryStatus.IGNORED, ())


@pytest.mark.parametrize("strangers", [{OTHER_TENANT}, {TENANT, OTHER_TENANT}])
def test_a_tenant_gets_no_events_of_others(strangers):
    """An event for another tenant's subscription is not stored for a tenant whose account it names."""

    def finish(delivery, event, connection):
        if connection.tenant_id in strangers:
            raise DeliveryRejectedError("It is not for this connection.")
        return event

    world = World(make_acme(webhooks={"to_signals": finish}))
    owners = (TENANT, OTHER_TENANT)
    for tenant in owners:
        world.connect(tenant)
    world.deliver(created(accounts=["a-1"]), tenant=None)
    assert [len(world.deliveries(tenant)) for tenant in owners] == [int(one not in strangers) for one in owners]
    assert [len(world.signals(tenant)) for tenant in owners] == [int(one not in strangers) for one in owners]
    assert len(world.unrouted()) == int(strangers == set(owners))


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (created(accounts=["stranger"]), DeliveryStatus.IGNORED),
        (created(), DeliveryStatus.IGNORED),
        ({"event": "other"}, DeliveryStatus.IGNORED),
        (b"{", DeliveryStatus.FAILED),
    ],
)
def test_a_delivery_without_owner_is_stored_unrouted(world, document, status):
    """An app-level delivery of an unknown account is acknowledged and stored without an owner."""
    world.connect()
    world.deliver(document, tenant=None)
    (row,) = world.unrouted()
    assert (row.status, world.deliveries(), world.signals()) == (status, (), ())


def test_an_unrouted_delivery_finds_its_owners_later(world):
    """A replay after the account was connected stores it for its tenants, once."""
    world.deliver(created(accounts=["a-1"]), tenant=None)
    (row,) = world.unrouted()
    world.connect()
    world.connect(OTHER_TENANT)
    for _ in range(2):
        settled = world.connectors.ingest.replay(UNROUTED, row.id)
        assert settled.status is DeliveryStatus.PROCESSED
    assert [len(world.signals(one)) for one in (TENANT, OTHER_TENANT)] == [1, 1]
    assert [only(world, one).signal_count for one in (TENANT, OTHER_TENANT)] == [1, 1]


# --- duplicates and failures ---------------------------------------------------------------------------------------


def test_a_redelivery_changes_nothing(world):
    """The same delivery again is a duplicate: one row, one signal, one job."""
    world.connect()
    world.jobs()
    for document in (created(), {"event": "changed"}):
        request = world.request(document)
        results = [world.connectors.ingest.accept_delivery(request).recorded for _ in range(3)]
        assert results == [Recorded.NEW, Recorded.DUPLICATE, Recorded.DUPLICATE]
    assert (len(world.deliveries()), len(world.signals())) == (2, 1)
    assert [one.type for one in world.jobs()].count(JobType.WEBHOOK) == 1


def test_sixteen_senders_of_one_delivery(world):
    """A delivery that is sent many times at once is recorded once."""
    world.connect()
    request, results = world.request(created()), []
    accept = world.connectors.ingest.accept_delivery
    threads = [threading.Thread(target=lambda: results.append(accept(request).recorded)) for _ in range(16)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert sorted(results) == [Recorded.DUPLICATE] * 15 + [Recorded.NEW]
    assert len(world.signals()) == 1


def test_one_event_in_two_deliveries_is_one_signal(world):
    """Two deliveries of one event are both stored, its signal once."""
    world.connect()
    world.deliver(created())
    world.deliver(created())
    assert sorted(one.signal_count for one in world.deliveries()) == [0, 1]
    assert len(world.signals()) == 1


@pytest.mark.parametrize("document", [b"", b"\xff\0", b"[]", b"{}", b"null", b'{"event": null}', b"[" * 100_000])
def test_no_body_is_lost(world, document):
    """Whatever a proven sender sends is acknowledged and stored, byte for byte."""
    connection = world.connect()
    world.deliver(document)
    row = only(world)
    assert row.status in {DeliveryStatus.FAILED, DeliveryStatus.IGNORED}
    assert world.connectors.queries.get_delivery(TENANT, row.id).body == document
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def test_what_is_not_tracked_is_ignored(world):
    """An event that the package ignores on purpose is stored as ignored, with the reason."""
    world.connect()
    world.deliver({"event": "weather"})
    row = only(world)
    assert (row.status, row.event, row.error) == (DeliveryStatus.IGNORED, "weather", "not tracked")


@pytest.mark.parametrize(
    ("bug", "error"),
    [
        (KeyError("secret-value"), "internal error: KeyError"),
        (RecursionError(), "internal error: RecursionError"),
        (UnexpectedResponseError("Odd.", details=[{"field": "x"}]), 'Odd. [{"field": "x"}]'),
    ],
)
@pytest.mark.parametrize("ability", ["read_event", "to_signals"])
def test_a_packages_bug_loses_nothing(bug, error, ability):
    """A package that crashes leaves a failed delivery, which the fixed package processes, once."""
    broken = True

    def crash(*arguments):
        if broken:
            raise bug
        return provider.read_event(*arguments) if ability == "read_event" else arguments[1]

    world = World(make_acme(webhooks={ability: crash}))
    connection = world.connect()
    world.deliver(created(), **signed(world, connection))
    row = only(world)
    assert (row.status, row.error, row.signal_count) == (DeliveryStatus.FAILED, error, 0)
    assert world.connectors.ingest.replay(TENANT, row.id).status is DeliveryStatus.FAILED
    broken = False
    for _ in range(2):
        settled = world.connectors.ingest.replay(TENANT, row.id)
        assert (settled.status, settled.error, settled.signal_count) == (DeliveryStatus.PROCESSED, None, 1)
    assert len(world.signals()) == 1


def test_a_replay_remembers_the_subscription():
    """A failed delivery of one of two connections is replayed for that one."""
    broken = True

    def crash(*arguments):
        if broken:
            raise KeyError
        return provider.read_event(*arguments)

    world = World(make_acme(webhooks={"read_event": crash}))
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    world.connect()
    second = world.connect(user="bob")
    world.deliver(created(), **signed(world, second))
    broken = False
    settled = world.connectors.ingest.replay(TENANT, only(world).id)
    assert (settled.connection_id, settled.signal_count) == (second.id, 1)


def test_a_partial_failure_is_a_failure():
    """If the event fails for one of two connections, the other's signal is kept and the replay adds the rest."""
    broken = True

    def finish(delivery, event, connection):
        if broken and connection.account.id == "b-1":
            raise KeyError
        draft = attrs.evolve(event.signals[0], dedupe_key=f"{connection.account.id}:1")
        return attrs.evolve(event, signals=(draft,))

    world = World(make_acme(webhooks={"to_signals": finish}))
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    world.connect()
    world.connect(user="bob")
    world.deliver(created(accounts=["a-1", "b-1"]))
    row = only(world)
    assert (row.status, row.signal_count) == (DeliveryStatus.FAILED, 1)
    broken = False
    assert world.connectors.ingest.replay(TENANT, row.id).signal_count == 2
    assert {one.dedupe_key for one in world.signals()} == {"a-1:1", "b-1:1"}


def accounts_of(delivery):
    return tuple(json.loads(delivery.request.body).get("accounts", ()))


def gap_references(world, connection, **which):
    return [one.reference for one in world.gaps(connection, **which) if one.cause is GapCause.DELIVERY_FAILED]


@pytest.mark.parametrize("ability", ["read_event", "to_signals"])
@pytest.mark.parametrize("tenant", [TENANT, None])
def test_an_unread_delivery_opens_a_gap_for_the_accounts_that_it_names(ability, tenant):
    """On the app's URL and on a tenant's, each connection to the account gets one, which its own replay closes."""
    broken = True

    def crash(*arguments):
        if broken:
            raise KeyError
        return provider.read_event(*arguments) if ability == "read_event" else arguments[1]

    world = World(make_acme(webhooks={ability: crash, "read_accounts": accounts_of}))
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    owners = [TENANT] if tenant else [TENANT, OTHER_TENANT]
    connections = [world.connect(owner) for owner in owners]
    stranger = world.connect(user="bob")
    world.deliver(created(accounts=["a-1"]), tenant=tenant)
    assert world.unrouted() == ()
    assert gap_references(world, stranger) == []
    broken = False
    for connection in connections:
        row = only(world, connection.tenant_id)
        assert gap_references(world, connection) == [str(row.id)]
        settled = world.connectors.ingest.replay(connection.tenant_id, row.id)
        assert (settled.status, gap_references(world, connection)) == (DeliveryStatus.PROCESSED, [])
        assert len(world.signals(connection.tenant_id)) == 1


def test_each_connection_that_missed_an_event_has_its_gap():
    """Of two connections of a tenant only the one whose event could not be made gets a gap, and the replay closes it."""
    broken = True

    def finish(delivery, event, connection):
        if broken and connection.account.id == "b-1":
            raise UnexpectedResponseError("Odd.")
        return event

    world = World(make_acme(webhooks={"to_signals": finish}))
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    first, second = world.connect(), world.connect(user="bob")
    request = world.request(created(accounts=["a-1", "b-1"]), tenant=None)
    world.connectors.ingest.accept_delivery(request)
    assert gap_references(world, first) == []
    assert gap_references(world, second) == [str(only(world).id)]
    broken = False
    world.connectors.ingest.accept_delivery(request)
    assert gap_references(world, second) == []
    assert gap_references(world, second, is_open=False) == [str(only(world).id)]


@pytest.mark.parametrize("error", [DeliveryRejectedError("It is not for this connection."), KeyError()])
def test_an_unread_delivery_is_given_to_nobody_without_proof(error):
    """If it is not shown to be the connection's, neither its body nor a gap comes to the tenant."""

    def refuse(delivery, connection):
        raise error

    def crash(*arguments):
        raise KeyError

    webhooks = {"read_event": crash, "read_accounts": accounts_of, "verify_owner": refuse}
    world = World(make_acme(webhooks=webhooks))
    connection = world.connect()
    world.deliver(created(accounts=["a-1"]), tenant=None)
    (row,) = world.unrouted()
    assert (row.status, world.deliveries(), gap_references(world, connection)) == (DeliveryStatus.FAILED, (), [])


def test_a_crash_while_reading_accounts_loses_nothing():
    """The delivery is stored without an owner."""

    def crash(*arguments):
        raise KeyError

    world = World(make_acme(webhooks={"read_event": crash, "read_accounts": crash}))
    world.connect()
    world.deliver(created(accounts=["a-1"]), tenant=None)
    assert [one.status for one in world.unrouted()] == [DeliveryStatus.FAILED]


def test_a_delivery_without_connection_waits_for_one(world):
    """It is stored as failed, and a replay after the account was connected processes it."""
    world.known()
    world.deliver(created())
    row = only(world)
    connection = world.connect()
    settled = world.connectors.ingest.replay(TENANT, row.id)
    assert (settled.status, settled.connection_id, len(world.signals())) == ("processed", connection.id, 1)


def test_a_redelivery_settles_what_failed():
    """A failed delivery that is sent again after the package was fixed is processed, once, in its own row."""
    broken = True

    def crash(*arguments):
        if broken:
            raise KeyError
        return provider.read_event(*arguments)

    world = World(make_acme(webhooks={"read_event": crash}))
    connection = world.connect()
    request = world.request(created(needs_sync=True), **signed(world, connection))
    world.connectors.ingest.accept_delivery(request)
    assert only(world).status is DeliveryStatus.FAILED
    broken = False
    again = [world.connectors.ingest.accept_delivery(request).recorded for _ in range(2)]
    assert again == [Recorded.DUPLICATE, Recorded.DUPLICATE]
    assert (only(world).status, only(world).signal_count) == (DeliveryStatus.PROCESSED, 1)
    assert len(world.signals()) == 1


def test_another_tenants_delivery_cannot_be_replayed(world):
    """Another tenant's delivery and an unknown one are not found."""
    world.connect()
    world.deliver(created())
    world.known(OTHER_TENANT)
    with pytest.raises(NotFoundError):
        world.connectors.ingest.replay(OTHER_TENANT, only(world).id)


class Failing:
    """A unit of work whose store fails at one method."""

    def __init__(self, world, store, method):
        self.begin, self.store, self.method = world.uow, store, method

    def __call__(self):
        uow = self.begin()
        store = getattr(uow, self.store)

        def fail(*args, **options):
            raise InfrastructureError("The database is gone.")

        setattr(store, self.method, fail)
        return uow


@pytest.mark.parametrize(
    ("store", "method"),
    [
        ("tenants", "get"),
        ("signals", "record_all"),
        ("deliveries", "record"),
        ("jobs", "enqueue"),
        ("connections", "save"),
    ],
)
def test_a_failing_database_stores_nothing(world, store, method):
    """Wherever it fails, nothing is stored and the sender is told to try again; then everything is."""
    everything = WebhookEvent(
        event="all",
        signals=(provider.item_created(created()["item"]),),
        needs_sync=True,
        connection_metadata={"seen": True},
    )
    acme = make_acme(webhooks={"read_event": lambda delivery, context: everything})
    world = World(acme)
    connection = world.connect()
    jobs = len(world.jobs())
    request = world.request({})
    failing = attrs.evolve(world.connectors.ingest, unit_of_work=Failing(world, store, method))
    with pytest.raises(InfrastructureError):
        failing.accept_delivery(request)
    assert (world.deliveries(), world.signals(), len(world.jobs())) == ((), (), jobs)
    assert "seen" not in world.reload(connection).metadata
    assert world.connectors.ingest.accept_delivery(request).recorded is Recorded.NEW
    assert (len(world.deliveries()), len(world.signals()), len(world.jobs())) == (1, 1, jobs + 1)


# --- what follows --------------------------------------------------------------------------------------------------


def test_change_notifications_queue_one_read(world):
    """However many come, one read is queued for each target, and one more while it runs."""
    world.connect()
    for target in (None, None, "x", "x", None):
        world.deliver({"event": "changed", "target": target})
    queued = [one for one in world.jobs() if one.type is JobType.WEBHOOK]
    assert sorted(str(one.target) for one in queued) == ["None", "x"]
    with world.uow() as uow:
        uow.jobs.save(attrs.evolve(queued[0], status=JobStatus.RUNNING))
    world.deliver({"event": "changed", "target": queued[0].target})
    assert len([one for one in world.jobs() if one.type is JobType.WEBHOOK]) == 3


def test_a_revoked_consent_ends_the_connection_with_proof(world):
    """The vendor's event that access was revoked only leads to a question; its answer ends the connection."""
    connection = world.connect()
    world.vendor.kill()
    world.deliver({"event": "revoked"})
    suspected = world.reload(connection)
    assert (suspected.status, suspected.suspected_at) == (ConnectionStatus.ACTIVE, world.clock.now())
    assert health_of(suspected) is Health.DEGRADED
    world.work()
    ended = world.reload(connection)
    assert (ended.status, ended.status_reason) == (ConnectionStatus.REVOKED, "withdrawn at the provider")


@pytest.mark.parametrize("url", [TENANT, None])
def test_an_event_older_than_the_consent_changes_nothing(world, url):
    """What the vendor says of a former consent is kept as ignored, and nobody is asked."""
    happened = rfc3339(world.clock.now())
    world.later(seconds=1)
    connection = world.connect()
    world.work()
    world.vendor.log.clear()
    world.deliver({"event": "revoked", "at": happened, "accounts": ["a-1"]}, tenant=url)
    world.work()
    (row,) = world.deliveries()
    assert (row.status, row.error, row.connection_id) == (
        DeliveryStatus.IGNORED,
        "older than the consent",
        connection.id,
    )
    assert world.reload(connection).suspected_at is None
    world.connectors.ingest.replay(TENANT, row.id)
    world.work()
    assert world.vendor.log == []


def test_an_event_of_the_present_consent_is_checked(world):
    """It is as old as the consent, or younger."""
    connection = world.connect()
    world.deliver({"event": "revoked", "at": rfc3339(world.clock.now())})
    assert world.reload(connection).suspected_at is not None


def test_an_old_revocation_does_not_end_a_new_connection(world):
    """Neither its redelivery nor its replay changes what the user has connected since."""
    connection = world.connect()
    request = world.request({"event": "revoked"})
    world.connectors.ingest.accept_delivery(request)
    world.connect()
    assert world.connectors.ingest.accept_delivery(request).recorded is Recorded.DUPLICATE
    world.connectors.ingest.replay(TENANT, only(world).id)
    world.work()
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def test_an_unrouted_revocation_does_not_end_a_later_connection(world):
    """Stored without an owner and sent again, it does not end what was connected in between."""
    request = world.request({"event": "revoked", "accounts": ["a-1"]}, tenant=None)
    world.connectors.ingest.accept_delivery(request)
    connection = world.connect()
    world.connectors.ingest.accept_delivery(request)
    world.work()
    proven = world.reload(connection)
    assert (proven.status, proven.suspected_at) == (ConnectionStatus.ACTIVE, None)


def test_an_event_can_update_the_connections_metadata(world):
    """What the event says about the connection is merged into its metadata."""
    connection = world.connect(options={"packages": ["x"]})
    world.deliver({"event": "renamed", "name": "New"})
    assert world.reload(connection).metadata == {"packages": ["x"], "hooked": True, "name": "New"}


def test_secrets_in_headers_are_dropped(world):
    """Signatures, tokens and cookies are not stored; the other headers are, under lower-case names."""
    world.connect()
    world.deliver(
        created(), Authorization="Bearer x", Cookie="a=b", X_API_Key="k", X_Auth_Token="t", Proxy_Authorization="p"
    )
    assert set(only(world).headers) == {"x-acme-delivery", "content-type"}


def test_the_vendors_reply_is_passed_on():
    """The reply that the vendor expects is returned, with the status that it requires."""
    from connectors.domain.model.webhook import Ignored, WebhookReply

    reply = WebhookReply(body=b"challenge")
    world = World(make_acme(webhooks={"read_event": lambda *_: Ignored("hello", reply=reply), "success_status": 200}))
    world.connect()
    acceptance = world.deliver({})
    assert (acceptance.reply, acceptance.success_status) == (reply, 200)
