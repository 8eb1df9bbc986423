"""Queries of stored data, always of one tenant."""

from datetime import timedelta
from uuid import uuid4

import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    ConnectionNotFoundError,
    NotFoundError,
    TenantNotFoundError,
    ValidationError,
)
from connectors.domain.model.ids import UNROUTED, ConnectionId, DeliveryId, ProviderSlug, SignalId
from connectors.domain.model.signal import SignalFilter, SignalKind
from connectors.domain.model.webhook import DeliveryFilter, DeliveryStatus, Recorded
from tests.support.builders import NOW, OTHER_TENANT, TENANT
from tests.support.world import World, created


@pytest.fixture
def world():
    """Two tenants with the same data: one connection, five signals."""
    world = World()
    for tenant in (TENANT, OTHER_TENANT):
        connection = world.connect(tenant)
        for number in range(5):
            world.deliver(created(number), tenant=tenant)
        assert connection.tenant_id == tenant
    return world


@pytest.fixture
def queries(world):
    return world.connectors.queries


LISTS = {
    "signals": lambda queries, tenant, **options: queries.list_signals(tenant, **options),
    "deliveries": lambda queries, tenant, **options: queries.list_deliveries(tenant, **options),
    "connections": lambda queries, tenant, **options: queries.list_connections(tenant, **options),
}


@pytest.mark.parametrize("kind", ["signals", "deliveries"])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
def test_pages_cover_the_list(queries, kind, limit):
    """The pages give every item once, and the last page says so."""
    seen, cursor = [], None
    while True:
        page = LISTS[kind](queries, TENANT, limit=limit, cursor=cursor)
        seen += page.items
        assert page.has_more is (page.next_cursor is not None) is (len(seen) < 5)
        if not page.has_more:
            break
        cursor = page.next_cursor
    assert len({one.id for one in seen}) == len(seen) == 5


def test_a_page_stays_where_it_is(world, queries):
    """What arrives between two pages does not move the second."""
    expected = [one.id for one in queries.list_deliveries(TENANT).items]
    first = queries.list_deliveries(TENANT, limit=2)
    world.later(seconds=1)
    world.deliver(created(9))
    second = queries.list_deliveries(TENANT, limit=10, cursor=first.next_cursor)
    assert [one.id for one in (*first.items, *second.items)] == expected


@pytest.mark.parametrize(
    "other",
    [
        SignalFilter(provider=ProviderSlug("acme")),
        SignalFilter(kind=SignalKind.ISSUE_CREATED),
        SignalFilter(occurred_after=NOW - timedelta(days=9)),
        SignalFilter(occurred_before=NOW),
    ],
)
def test_a_cursor_is_for_its_filters(queries, other):
    """A cursor is refused with other filters, in both directions."""
    plain = queries.list_signals(TENANT, limit=1).next_cursor
    filtered = queries.list_signals(TENANT, other, limit=1).next_cursor
    assert queries.list_signals(TENANT, other, limit=1, cursor=filtered).items
    for where, cursor in ((other, plain), (None, filtered)):
        with pytest.raises(ValidationError):
            queries.list_signals(TENANT, where, cursor=cursor)


def test_a_cursor_is_for_its_tenant_and_list(queries):
    """Another tenant, or another list, refuses it."""
    cursor = queries.list_signals(TENANT, limit=1).next_cursor
    with pytest.raises(ValidationError) as caught:
        queries.list_signals(OTHER_TENANT, cursor=cursor)
    assert caught.value.details[0]["field"] == "cursor"
    with pytest.raises(ValidationError):
        queries.list_deliveries(TENANT, cursor=cursor)


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("tenant", [UNROUTED, uuid4()])
def test_unknown_tenants_have_no_lists(world, queries, kind, tenant):
    """The nil UUID, which owns unrouted deliveries, and unknown tenants are not found."""
    world.deliver(created(accounts=["stranger"]), tenant=None)
    with pytest.raises(TenantNotFoundError):
        LISTS[kind](queries, tenant)


def test_nothing_of_another_tenant_is_shown(world, queries):
    """Connections, signals and deliveries are found by their own tenant only."""
    connection = queries.list_connections(TENANT).items[0]
    signal, delivery = world.signals()[0], world.deliveries()[0]
    assert queries.get_signal(TENANT, signal.id).payload["id"] == signal.subject.id
    assert queries.get_delivery(TENANT, delivery.id).body
    with pytest.raises(ConnectionNotFoundError):
        queries.get_connection(OTHER_TENANT, connection.id)
    with pytest.raises(ConnectionNotFoundError):
        queries.inspect_connection(OTHER_TENANT, connection.id)
    with pytest.raises(ConnectionNotFoundError):
        queries.list_signals(OTHER_TENANT, SignalFilter(connection_id=connection.id))
    with pytest.raises(NotFoundError):
        queries.get_signal(OTHER_TENANT, signal.id)
    with pytest.raises(NotFoundError):
        queries.get_delivery(OTHER_TENANT, delivery.id)


def test_what_does_not_exist_is_not_found(queries):
    """Each kind of thing has its error."""
    with pytest.raises(ConnectionNotFoundError):
        queries.get_connection(TENANT, ConnectionId(uuid4()))
    with pytest.raises(NotFoundError):
        queries.get_signal(TENANT, SignalId(uuid4()))
    with pytest.raises(NotFoundError):
        queries.get_delivery(TENANT, DeliveryId(uuid4()))


def test_filters_narrow_the_lists(world, queries):
    """Lists give what the filters select, and nothing for filters that contradict each other."""
    connection = queries.list_connections(TENANT).items[0]
    assert queries.list_connections(TENANT, status=ConnectionStatus.REVOKED).items == ()
    assert queries.list_connections(TENANT, provider=ProviderSlug("acme")).items == (connection,)
    assert queries.list_deliveries(TENANT, DeliveryFilter(status=DeliveryStatus.FAILED)).items == ()
    assert len(queries.list_signals(TENANT, SignalFilter(connection_id=connection.id)).items) == 5
    contradiction = SignalFilter(connection_id=connection.id, provider=ProviderSlug("github"))
    assert queries.list_signals(TENANT, contradiction).items == ()


def test_lists_leave_out_bodies_and_payloads(queries):
    """Lists have no bodies, and payloads only if they are requested."""
    assert {one.body for one in queries.list_deliveries(TENANT).items} == {b""}
    assert {one.payload for one in queries.list_signals(TENANT).items} == {None}
    assert all(one.payload for one in queries.list_signals(TENANT, with_payload=True).items)


def test_tenants_are_recorded_and_erased(world, queries):
    """A tenant is recorded once and erased with all its data, and the nil one never exists."""
    fresh = uuid4()
    assert world.connectors.tenants.ensure(fresh)[1] is Recorded.NEW
    assert world.connectors.tenants.ensure(fresh)[1] is Recorded.DUPLICATE
    world.connectors.tenants.erase(TENANT)
    with pytest.raises(TenantNotFoundError):
        world.connectors.tenants.get(TENANT)
    assert {one.tenant_id for one in world.grants()} == {OTHER_TENANT}
    assert len(queries.list_signals(OTHER_TENANT).items) == 5
    for verb in (world.connectors.tenants.ensure, world.connectors.tenants.get, world.connectors.tenants.erase):
        with pytest.raises(TenantNotFoundError):
            verb(UNROUTED)
