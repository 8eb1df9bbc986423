"""What every store of parked items does."""

import attrs
from hypothesis import given

from connectors.adapters.storable import as_stored, key_text
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.stream_state import ClosedBy
from tests.contracts.stream_rows import CONNECTION, at, full_parked_state, make_parked_state
from tests.contracts.stream_store import ODD_TEXT
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_connection, make_id


class ParkedStoreContract(StoreContract):
    def test_an_item_comes_back_as_it_was(self, unit_of_work):
        """Every field survives, and a save replaces all of them."""
        bare, full = make_parked_state("1"), full_parked_state("1")
        with unit_of_work() as work:
            assert _lock(work, bare) is None
            for item in (full, bare, full):
                work.parked.save(item)
                assert _lock(work, item) == item

    @given(ODD_TEXT, ODD_TEXT)
    def test_odd_text_comes_back_storable(self, unit_of_work, text, key):
        """Text comes back with U+FFFD for what cannot be stored, and keys find their rows however long they are."""
        item = attrs.evolve(full_parked_state("x" * 999 + key, text), stream_key=key)
        with unit_of_work() as work:
            work.parked.save(item)
            assert _lock(work, item) == as_stored(
                attrs.evolve(item, stream_key=key_text(key), reference=key_text(item.reference))
            )

    def test_open_items_are_listed(self, unit_of_work):
        """Those that are open, by stream and reference in the order of code points."""
        places = [("a", "Z"), ("a", "a"), ("a:1", "1"), ("Z", "é"), ("Z", "z")]
        items = [make_parked_state(reference, stream_key=key) for key, reference in places]
        with unit_of_work() as work:
            for item in items:
                work.parked.save(item)
            work.parked.save(full_parked_state("closed"))
            found = work.parked.list_open(TENANT, CONNECTION)
            assert found == sorted(items, key=lambda one: (one.stream_key, one.reference))
            work.parked.save(attrs.evolve(items[0], closed_at=NOW, closed_by=ClosedBy.READ))
            assert len(work.parked.list_open(TENANT, CONNECTION)) == len(items) - 1

    def test_a_connections_items_are_its_own(self, unit_of_work):
        """Neither another tenant nor another connection sees, locks or changes them."""
        mine = make_parked_state()
        others = [
            make_parked_state(tenant_id=OTHER_TENANT, reason="theirs"),
            make_parked_state(connection_id=make_id(), reason="another"),
        ]
        with unit_of_work() as work:
            work.parked.save(mine)
            for one in others:
                assert work.parked.list_open(one.tenant_id, one.connection_id) == []
                assert _lock(work, one) is None
                work.parked.save(one)
                assert work.parked.list_open(one.tenant_id, one.connection_id) == [one]
            assert work.parked.list_open(TENANT, CONNECTION) == [mine]

    def test_a_locked_item_waits_for_its_holder(self, unit_of_work):
        """Changes made under the lock are all kept."""
        item = make_parked_state(failures=0)
        with unit_of_work() as work:
            work.parked.save(item)

        def fail(_):
            with unit_of_work() as work:
                present = _lock(work, item)
                work.parked.save(attrs.evolve(present, failures=present.failures + 1))

        race(fail, 6)
        with unit_of_work() as work:
            assert _lock(work, item).failures == 6

    def test_counting(self, unit_of_work):
        """Open items of all tenants are counted by provider; connections that are not active have none."""
        with unit_of_work() as work:
            assert work.parked.count_open() == {}
            for changes in (
                {"provider": GITHUB},
                {"provider": GITHUB, "tenant_id": OTHER_TENANT},
                {"provider": SLACK},
                {"provider": SLACK, "status": ConnectionStatus.REVOKED},
            ):
                connection = work.connections.save(make_connection(**changes))
                owner = {"tenant_id": connection.tenant_id, "connection_id": connection.id}
                work.parked.save(make_parked_state(**owner))
                work.parked.save(attrs.evolve(full_parked_state("closed"), **owner))
            assert work.parked.count_open() == {GITHUB: 2, SLACK: 1}

    def test_pruning(self, unit_of_work):
        """Items of any tenant that were closed before the instant go; open ones stay, however old."""
        old = {"closed_at": at(-1), "closed_by": ClosedBy.GONE}
        kept = [make_parked_state("open", opened_at=at(-999)), make_parked_state("late", **{**old, "closed_at": NOW})]
        with unit_of_work() as work:
            for item in (*kept, make_parked_state(**old), make_parked_state(tenant_id=OTHER_TENANT, **old)):
                work.parked.save(item)
            assert [work.parked.prune(closed_before=NOW) for _ in range(2)] == [2, 0]
            assert [_lock(work, item) for item in kept] == kept


def _lock(work, item):
    return work.parked.lock(item.tenant_id, item.connection_id, item.stream_key, item.reference)
