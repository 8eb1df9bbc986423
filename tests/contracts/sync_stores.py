"""What every store of snapshots and cursors does."""

from datetime import timedelta

from connectors.domain.model.sync import SyncState
from tests.contracts.unit_of_work import StoreContract
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_id


class SyncStoresContract(StoreContract):
    def test_snapshots(self, unit_of_work):
        """States are replaced and forgotten by key, and belong to one connection of one tenant."""
        mine, other = make_id(), make_id()
        hostile = "k\0" + "x" * 9000
        with unit_of_work() as work:
            assert work.snapshots.load(TENANT, mine, []) == {}
            work.snapshots.save(TENANT, mine, {"a": {"v": 1}, "b": {"v": 2}, hostile: {"v": "\0"}, "none": None})
            work.snapshots.save(TENANT, mine, {"a": {"v": 3}, "b": None})
            loaded = work.snapshots.load(TENANT, mine, ["a", "b", hostile, "never"])
            assert loaded == {"a": {"v": 3}, hostile: {"v": "\ufffd"}}
            assert work.snapshots.load(TENANT, other, ["a"]) == {}
            assert work.snapshots.load(OTHER_TENANT, mine, ["a"]) == {}

    def test_cursors(self, unit_of_work):
        """A cursor and up to when it has read are kept per connection and target, and replaced whole."""
        mine = make_id()
        first, second, other = (
            SyncState(cursor=cursor, read_until=NOW + timedelta(microseconds=number))
            for number, cursor in enumerate(({"page": 1, "old": True}, {"page": 2}, {"token": "x"}))
        )
        with unit_of_work() as work:
            assert work.sync_states.load(TENANT, mine) is None
            work.sync_states.save(TENANT, mine, first)
            work.sync_states.save(TENANT, mine, second)
            work.sync_states.save(TENANT, mine, other, "calendar")
            assert work.sync_states.load(TENANT, mine) == second
            assert work.sync_states.load(TENANT, mine, "calendar") == other
            assert work.sync_states.load(OTHER_TENANT, mine) is None
