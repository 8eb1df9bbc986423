"""Secrets of single connections."""

import pytest

from connectors.domain.model.errors import ConflictError, DeliveryRejectedError
from connectors.domain.providers import contract
from tests.support import provider
from tests.support.builders import OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.world import World, created


def by_hand(**webhooks):
    scope = contract.SubscriptionScope.CONNECTION
    own = {"url_scope": scope, "manual_secret_scope": scope, "subscriptions": None}
    return World(make_acme(webhooks={**own, **webhooks}))


def test_a_secret_signs_for_its_own_connection():
    """An issued secret verifies at the URL that is issued with it, and the app's own secret does not any more."""
    world = by_hand()
    connection = world.connect()
    issued = world.connectors.webhook_secrets.issue(TENANT, connection.id)
    assert issued.url.endswith(f"/webhooks/acme/{TENANT}/{connection.id}")
    assert issued.secret.reveal() not in repr(issued)
    world.deliver(created(1), secret=issued.secret.reveal(), connection=connection)
    assert len(world.signals()) == 1
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(2), connection=connection)


def test_two_are_valid_while_one_rotates():
    """The previous secret still verifies, the one before it does not."""
    world = by_hand()
    connection = world.connect()
    first, second, third = (world.connectors.webhook_secrets.issue(TENANT, connection.id).secret for _ in range(3))
    for secret in (second, third):
        world.deliver(created(1), secret=secret.reveal(), connection=connection)
    with pytest.raises(DeliveryRejectedError):
        world.deliver(created(2), secret=first.reveal(), connection=connection)


def test_a_vendor_that_announces_its_secret_may_do_so_again():
    """After `forget` the vendor can announce a secret again; until then a second one is refused."""
    world = by_hand(read_handshake=provider.read_handshake)
    connection = world.connect()
    key = world.url_key(connection)

    def announce(secret):
        world.deliver(b"{}", secret=None, connection=connection, url_key=key, x_acme_handshake=secret)

    announce("one")
    with pytest.raises(DeliveryRejectedError):
        announce("two")
    assert world.connectors.webhook_secrets.forget(TENANT, connection.id) == 1
    announce("two")
    world.deliver(created(1), secret="two", connection=connection)
    assert len(world.signals()) == 1


def test_providers_without_such_secrets_are_refused():
    """A provider with one URL per tenant has no such secrets, and one that announces its secret takes none of ours."""
    tenant_wide = World()
    connection = tenant_wide.connect()
    for verb in (tenant_wide.connectors.webhook_secrets.issue, tenant_wide.connectors.webhook_secrets.forget):
        with pytest.raises(ConflictError):
            verb(TENANT, connection.id)
    announced = by_hand(read_handshake=provider.read_handshake)
    with pytest.raises(ConflictError):
        announced.connectors.webhook_secrets.issue(TENANT, announced.connect().id)


def test_a_tenants_own_secret_replaces_the_apps():
    """A webhook set up by hand on the tenant's URL verifies with its own secret, not with the app's."""
    world = World(make_acme(webhooks={"manual_secret_scope": contract.SubscriptionScope.TENANT, "subscriptions": None}))
    connection = world.connect()
    world.connect(OTHER_TENANT)
    issued = world.connectors.webhook_secrets.issue(TENANT, connection.id)
    assert issued.url.endswith(f"/webhooks/acme/{TENANT}")
    world.deliver(created(1), secret=issued.secret.reveal())
    for tenant, secret in ((TENANT, "webhook-secret"), (OTHER_TENANT, issued.secret.reveal())):
        with pytest.raises(DeliveryRejectedError):
            world.deliver(created(2), secret=secret, tenant=tenant)
    assert len(world.signals()) == 1


def test_a_connections_own_url_stays_until_it_is_renewed():
    """It has a key that no other connection has; a renewed one makes the one before worthless."""
    world = by_hand(read_handshake=provider.read_handshake)
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    connection, other = world.connect(), world.connect(user="bob")
    own = world.connectors.webhook_secrets.url
    first = own(TENANT, connection.id)
    base, _, key = first.rpartition("/")
    assert base.endswith(f"/webhooks/acme/{TENANT}/{connection.id}")
    assert len(key) >= 32
    assert own(TENANT, connection.id) == first != own(TENANT, other.id)
    renewed = own(TENANT, connection.id, renew=True)
    assert renewed != first
    for known, is_taken in ((key, False), (renewed.rpartition("/")[2], True)):
        about = {"secret": None, "connection": connection, "url_key": known, "x_acme_handshake": "theirs"}
        if is_taken:
            world.deliver(b"{}", **about)
        else:
            with pytest.raises(DeliveryRejectedError):
                world.deliver(b"{}", **about)


def test_who_has_no_url_of_its_own():
    """A connection that has ended, a provider with one URL per tenant, and a service without a public URL have none."""
    world = by_hand()
    connection = world.connect()
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    scope = contract.SubscriptionScope.CONNECTION
    unreachable = World(make_acme(webhooks={"url_scope": scope, "subscriptions": None}), public_url=None)
    for one in (world, World(), unreachable):
        found = connection if one is world else one.connect()
        with pytest.raises(ConflictError):
            one.connectors.webhook_secrets.url(TENANT, found.id)
