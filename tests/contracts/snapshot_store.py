"""What every store of snapshots does."""

from tests.contracts.unit_of_work import StoreContract
from tests.support.builders import OTHER_TENANT, TENANT, make_id


class SnapshotStoreContract(StoreContract):
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
