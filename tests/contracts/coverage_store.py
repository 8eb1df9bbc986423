"""What every coverage ledger does."""

from datetime import timedelta

import attrs

from connectors.domain.model.coverage import CoveragePath, GapCause, GapClosedBy
from connectors.domain.model.webhook import Recorded
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_gap, make_id, make_interval

CONNECTION = make_interval().connection_id
HOUR = timedelta(hours=1)


class CoverageStoreContract(StoreContract):
    def test_intervals_come_back_as_they_were(self, unit_of_work):
        """Closed ones and growing ones, of all families and paths, the earliest first."""
        sync = [make_interval(from_at=NOW + n * 3 * HOUR, to_at=NOW + (n * 3 + 1) * HOUR) for n in range(2)]
        pulls = [make_interval(family="pulls", from_at=NOW - HOUR)]
        stream = [make_interval(path=CoveragePath.WEBHOOK, from_at=NOW + HOUR, to_at=None)]
        with unit_of_work() as work:
            _replace(work, CoveragePath.SYNC, {"issues": sync, "pulls": pulls})
            _replace(work, CoveragePath.WEBHOOK, {"issues": stream})
        with unit_of_work() as work:
            assert work.coverage.list_intervals(TENANT, CONNECTION) == [*pulls, sync[0], *stream, sync[1]]

    def test_intervals_are_replaced_by_path_and_family(self, unit_of_work):
        """What is not named stays, what is named is gone or changed."""
        other_path, longer = make_interval(path=CoveragePath.BACKFILL), make_interval(to_at=NOW + 2 * HOUR)
        pulls, reviews = make_interval(family="pulls"), make_interval(family="reviews")
        with unit_of_work() as work:
            _replace(work, CoveragePath.BACKFILL, {"issues": [other_path]})
            _replace(work, CoveragePath.SYNC, {"issues": [make_interval()], "pulls": [pulls], "reviews": [reviews]})
            _replace(work, CoveragePath.SYNC, {"issues": [longer], "pulls": []})
            _replace(work, CoveragePath.SYNC, {})
            assert work.coverage.list_intervals(TENANT, CONNECTION) == [other_path, longer, reviews]

    def test_a_tenants_ledger_is_its_own(self, unit_of_work):
        """Neither another tenant nor another connection sees or changes intervals and gaps."""
        interval, gap = make_interval(), make_gap()
        with unit_of_work() as work:
            _replace(work, CoveragePath.SYNC, {"issues": [interval]})
            work.coverage.open_gap(gap)
            work.coverage.replace_intervals(OTHER_TENANT, CONNECTION, CoveragePath.SYNC, {"issues": []})
            work.coverage.replace_intervals(TENANT, make_id(), CoveragePath.SYNC, {"issues": []})
            work.coverage.save_gap(attrs.evolve(gap, tenant_id=OTHER_TENANT, closed_at=NOW))
            for tenant_id, connection_id in ((OTHER_TENANT, CONNECTION), (TENANT, make_id())):
                assert work.coverage.list_intervals(tenant_id, connection_id) == []
                assert work.coverage.list_gaps(tenant_id, connection_id) == []
            assert work.coverage.list_intervals(TENANT, CONNECTION) == [interval]
            assert work.coverage.list_gaps(TENANT, CONNECTION, is_open=True) == [gap]

    def test_gaps_come_back_as_they_were(self, unit_of_work):
        """Every field survives being opened and saved; the earliest is listed first, closed ones only when wanted."""
        late = make_gap(
            from_at=NOW + HOUR, to_at=NOW + 2 * HOUR, family="pulls", reference="42", stream="pulls:1", reason="no\0pe"
        )
        early = make_gap(cause=GapCause.HISTORY_LOST, from_at=NOW - HOUR)
        kept = attrs.evolve(late, reason="no\ufffdpe")
        with unit_of_work() as work:
            for gap in (late, early):
                assert work.coverage.open_gap(gap) is Recorded.NEW
            assert work.coverage.list_gaps(TENANT, CONNECTION, is_open=True) == [early, kept]
            closed = attrs.evolve(early, closed_at=NOW, closed_by=GapClosedBy.BACKFILL, to_at=NOW)
            work.coverage.save_gap(closed)
        with unit_of_work() as work:
            assert work.coverage.list_gaps(TENANT, CONNECTION) == [closed, kept]
            assert work.coverage.list_gaps(TENANT, CONNECTION, is_open=True) == [kept]

    def test_trouble_without_a_name_opens_one_gap_at_a_time(self, unit_of_work):
        """While a gap is open, the same gap is a duplicate, which changes nothing; after that it is another one."""
        first = make_gap()
        with unit_of_work() as work:
            work.coverage.open_gap(first)
            assert work.coverage.open_gap(make_gap(reason="again")) is Recorded.DUPLICATE
            assert work.coverage.list_gaps(TENANT, CONNECTION) == [first]
            for other in (
                {"family": "pulls"},
                {"cause": GapCause.HISTORY_LOST},
                {"reference": "1"},
                {"connection_id": make_id()},
                {"tenant_id": OTHER_TENANT},
            ):
                assert work.coverage.open_gap(make_gap(**other)) is Recorded.NEW
            work.coverage.save_gap(attrs.evolve(first, closed_at=NOW, closed_by=GapClosedBy.SYNC))
            assert work.coverage.open_gap(make_gap()) is Recorded.NEW

    def test_trouble_with_a_name_opens_one_gap_ever(self, unit_of_work):
        """A delivery that was missed and has come since is not missed once more."""
        gap = make_gap(cause=GapCause.DELIVERY_MISSED, reference="delivery-1")
        same = {"cause": gap.cause, "reference": gap.reference}
        with unit_of_work() as work:
            work.coverage.open_gap(gap)
            assert work.coverage.open_gap(make_gap(**same)) is Recorded.DUPLICATE
            work.coverage.save_gap(attrs.evolve(gap, closed_at=NOW, closed_by=GapClosedBy.WEBHOOK))
            assert work.coverage.open_gap(make_gap(**same)) is Recorded.DUPLICATE
            assert work.coverage.list_gaps(TENANT, CONNECTION, is_open=True) == []

    def test_racing_observers_open_one_gap(self, unit_of_work):
        """Of those who open the same gap at once, one is told that it is new."""

        def notice(_):
            with unit_of_work() as work:
                return work.coverage.open_gap(make_gap(reference="delivery-1"))

        assert sorted(race(notice, 4)) == [Recorded.DUPLICATE] * 3 + [Recorded.NEW]

    def test_counting_and_pruning(self, unit_of_work):
        """Open gaps of all tenants are counted; those that were closed before an instant are dropped."""
        closed = {"closed_by": GapClosedBy.SYNC}
        recent = make_gap(family="c", closed_at=NOW, **closed)
        with unit_of_work() as work:
            work.coverage.open_gap(make_gap(from_at=NOW - 999 * HOUR))
            work.coverage.open_gap(make_gap(tenant_id=OTHER_TENANT))
            for gap in (recent, make_gap(family="d", closed_at=NOW - timedelta(microseconds=1), **closed)):
                work.coverage.open_gap(gap)
            assert work.coverage.count_open() == 2
            assert [work.coverage.prune(closed_before=NOW) for _ in range(2)] == [1, 0]
            assert work.coverage.count_open() == 2
            assert recent in work.coverage.list_gaps(TENANT, CONNECTION)


def _replace(work, path, intervals):
    work.coverage.replace_intervals(TENANT, CONNECTION, path, intervals)
