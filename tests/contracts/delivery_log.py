"""What every inbox does."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.errors import NotFoundError
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.webhook import DeliveryFilter, DeliveryStatus, Recorded
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_delivery, make_id


class DeliveryLogContract(StoreContract):
    def test_comes_back_as_it_was(self, unit_of_work):
        """Every field survives, the body byte for byte."""
        delivery = make_delivery(body=bytes(range(256)), connection_id=make_id(), error="why", signal_count=3)
        with unit_of_work() as work:
            assert work.deliveries.record(delivery) is Recorded.NEW
        with unit_of_work() as work:
            assert work.deliveries.get(TENANT, delivery.id, lock=True) == delivery

    def test_a_redelivery_is_a_duplicate(self, unit_of_work):
        """The provider's id is unique within tenant and provider, and a duplicate changes nothing."""
        first = make_delivery(delivery_id="d")
        with unit_of_work() as work:
            work.deliveries.record(first)
            assert work.deliveries.record(make_delivery(delivery_id="d", body=b"other")) is Recorded.DUPLICATE
            assert work.deliveries.record(make_delivery(delivery_id="d", provider=SLACK)) is Recorded.NEW
            assert work.deliveries.record(make_delivery(delivery_id="d", tenant_id=OTHER_TENANT)) is Recorded.NEW
            assert work.deliveries.get(TENANT, first.id) == first
            assert work.deliveries.find_by_delivery_id(TENANT, GITHUB, "d") is not None
            assert work.deliveries.find_by_delivery_id(TENANT, GITHUB, "e") is None

    def test_racing_redeliveries_are_recorded_once(self, unit_of_work):
        """Of one delivery that arrives many times at once, exactly one is NEW."""

        def record(_):
            with unit_of_work() as work:
                return work.deliveries.record(make_delivery(delivery_id="same"))

        assert sorted(race(record, 4)) == [Recorded.DUPLICATE] * 3 + [Recorded.NEW]

    def test_settling(self, unit_of_work):
        """Settling replaces the outcome and nothing else; an unknown delivery is an error."""
        delivery = make_delivery(status=DeliveryStatus.FAILED, error="no connection")
        settled = attrs.evolve(
            delivery, status=DeliveryStatus.PROCESSED, error=None, signal_count=2, event="x", connection_id=make_id()
        )
        with unit_of_work() as work:
            work.deliveries.record(delivery)
            work.deliveries.settle(attrs.evolve(settled, body=b"", headers={}))
            assert work.deliveries.get(TENANT, delivery.id) == settled
        with pytest.raises(NotFoundError), unit_of_work() as work:
            work.deliveries.settle(attrs.evolve(settled, tenant_id=OTHER_TENANT))
        with pytest.raises(NotFoundError), unit_of_work() as work:
            work.deliveries.get(OTHER_TENANT, delivery.id)

    def test_hostile_texts_are_kept_as_far_as_they_go(self, unit_of_work):
        """NUL, lone surrogates and endless ids are recorded, and a redelivery of them is recognised."""
        identity = "d\0\ud800" + "é" * 5000
        delivery = make_delivery(delivery_id=identity, event="e\0", headers={"x\0": "\udfff"}, error="\ud800")
        with unit_of_work() as work:
            assert work.deliveries.record(delivery) is Recorded.NEW
            assert work.deliveries.record(make_delivery(delivery_id=identity)) is Recorded.DUPLICATE
            assert work.deliveries.find_by_delivery_id(TENANT, GITHUB, identity) is not None
            kept = work.deliveries.get(TENANT, delivery.id)
            assert (kept.event, kept.headers, kept.error) == ("e\ufffd", {"x\ufffd": "\ufffd"}, "\ufffd")

    def test_pages_newest_first_without_bodies(self, unit_of_work):
        """Pages descend by (received_at, id), narrow by every filter, and leave bodies empty."""
        connection_id = make_id()
        deliveries = [make_delivery(received_at=NOW + timedelta(microseconds=n // 2)) for n in range(6)]
        special = make_delivery(provider=SLACK, status=DeliveryStatus.FAILED, connection_id=connection_id)
        with unit_of_work() as work:
            for delivery in [*deliveries, special]:
                work.deliveries.record(delivery)
            for where in (
                DeliveryFilter(provider=SLACK),
                DeliveryFilter(status=DeliveryStatus.FAILED),
                DeliveryFilter(connection_id=connection_id),
            ):
                page = work.deliveries.list_page(TENANT, PageRequest(), where)
                assert page.items == (attrs.evolve(special, body=b""),)
            seen, after = [], None
            while True:
                page = work.deliveries.list_page(
                    TENANT, PageRequest(limit=4, after=after), DeliveryFilter(provider=GITHUB)
                )
                seen += [item.id for item in page.items]
                after = page.next
                if after is None:
                    break
            assert seen == [item.id for item in deliveries[::-1]]

    def test_pruning(self, unit_of_work):
        """Older deliveries of any tenant go, so many at once; failed ones stay for a replay, however old."""
        old = {"received_at": NOW - timedelta(microseconds=1)}
        kept = [make_delivery(**old, status=DeliveryStatus.FAILED), make_delivery()]
        gone = [
            make_delivery(**old),
            make_delivery(**old, status=DeliveryStatus.IGNORED),
            make_delivery(**old, tenant_id=OTHER_TENANT),
        ]
        with unit_of_work() as work:
            for delivery in [*kept, *gone]:
                work.deliveries.record(delivery)
            assert [work.deliveries.prune(received_before=NOW, limit=2) for _ in range(3)] == [2, 1, 0]
            left = work.deliveries.list_page(TENANT, PageRequest(), DeliveryFilter()).items
            assert {item.id for item in left} == {item.id for item in kept}
            assert work.deliveries.list_page(OTHER_TENANT, PageRequest(), DeliveryFilter()).items == ()
