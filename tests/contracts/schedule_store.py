"""What every store of schedule entries does."""

from datetime import timedelta

import attrs

from connectors.domain.model.ids import UNROUTED
from connectors.domain.model.schedule import SERVICE, ScheduleEntry
from connectors.domain.model.tasks import TaskKind
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_id, make_schedule_entry

LATER = NOW + timedelta(microseconds=1)


class ScheduleStoreContract(StoreContract):
    def test_planning_makes_or_moves(self, unit_of_work):
        """A thing has one schedule entry for each task: planning again moves it."""
        entry = make_schedule_entry()
        moved = attrs.evolve(entry, next_at=LATER)
        other = attrs.evolve(entry, kind=TaskKind.MAINTAIN)
        with unit_of_work() as work:
            for one in (entry, other, moved):
                work.schedules.plan(one)
        with unit_of_work() as work:
            assert work.schedules.find(TENANT, entry.subject_id, TaskKind.SYNC) == moved
            assert work.schedules.find(TENANT, entry.subject_id, TaskKind.MAINTAIN) == other
            assert work.schedules.find(TENANT, entry.subject_id, TaskKind.REFRESH) is None
            assert work.schedules.find(TENANT, make_id(), TaskKind.SYNC) is None

    def test_ensuring_moves_nothing(self, unit_of_work):
        """What is made sure of is made once; the service's own belongs to no tenant."""
        with unit_of_work() as work:
            for next_at in (NOW, LATER):
                work.schedules.ensure(ScheduleEntry(kind=TaskKind.SWEEP, next_at=next_at))
            assert work.schedules.find(UNROUTED, SERVICE, TaskKind.SWEEP).next_at == NOW

    def test_processes_that_ensure_at_once_make_one(self, unit_of_work):
        """However many begin together, there is one schedule entry, and none of them fails."""

        def ensure(number):
            with unit_of_work() as work:
                work.schedules.ensure(ScheduleEntry(kind=TaskKind.SWEEP, next_at=NOW + timedelta(seconds=number)))

        race(ensure, 4)
        with unit_of_work() as work:
            assert len(work.schedules.lock_due(TaskKind.SWEEP, now=NOW + timedelta(days=1), limit=9)) == 1

    def test_cancelling(self, unit_of_work):
        """All tasks of the thing are forgotten; another tenant cannot do that, and other things stay."""
        mine, other = make_schedule_entry(), make_schedule_entry()
        with unit_of_work() as work:
            for one in (mine, attrs.evolve(mine, kind=TaskKind.MAINTAIN), other):
                work.schedules.plan(one)
            work.schedules.cancel(OTHER_TENANT, mine.subject_id)
            assert work.schedules.find(TENANT, mine.subject_id, TaskKind.MAINTAIN) is not None
            work.schedules.cancel(TENANT, mine.subject_id)
            work.schedules.cancel(TENANT, mine.subject_id)
            for kind in (TaskKind.SYNC, TaskKind.MAINTAIN):
                assert work.schedules.find(TENANT, mine.subject_id, kind) is None
            assert work.schedules.find(TENANT, other.subject_id, TaskKind.SYNC) == other

    def test_cancelling_one_kind(self, unit_of_work):
        """Only the entry of that kind is forgotten."""
        mine = make_schedule_entry()
        with unit_of_work() as work:
            work.schedules.plan(mine)
            work.schedules.plan(attrs.evolve(mine, kind=TaskKind.MAINTAIN))
            work.schedules.cancel(TENANT, mine.subject_id, TaskKind.SYNC)
            assert work.schedules.find(TENANT, mine.subject_id, TaskKind.SYNC) is None
            assert work.schedules.find(TENANT, mine.subject_id, TaskKind.MAINTAIN) is not None

    def test_what_is_due_comes_earliest_first(self, unit_of_work):
        """Schedule entries of one task, of all tenants, whose time has come, at most so many."""
        first, second, third = (
            make_schedule_entry(next_at=NOW - timedelta(hours=hours), tenant_id=tenant_id)
            for hours, tenant_id in ((2, OTHER_TENANT), (1, TENANT), (0, TENANT))
        )
        with unit_of_work() as work:
            for one in (
                third,
                first,
                make_schedule_entry(next_at=LATER),
                second,
                make_schedule_entry(kind=TaskKind.MAINTAIN),
            ):
                work.schedules.plan(one)
            assert work.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=9) == [first, second, third]
            assert work.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=2) == [first, second]
            assert work.schedules.lock_due(TaskKind.REFRESH, now=NOW, limit=2) == []

    def test_each_is_kept_by_one(self, unit_of_work):
        """Of schedulers that look at once, one gets each schedule entry, and moves it before another can see it."""
        planned = [make_schedule_entry(next_at=NOW - timedelta(seconds=n)) for n in range(12)]
        with unit_of_work() as work:
            for one in planned:
                work.schedules.plan(one)

        def keep(_):
            taken = []
            for _ in planned:
                with unit_of_work() as work:
                    due = work.schedules.lock_due(TaskKind.SYNC, now=NOW, limit=2)
                    for one in due:
                        work.schedules.plan(attrs.evolve(one, next_at=LATER))
                taken += [one.subject_id for one in due]
            return taken

        taken = [subject for each in race(keep, 4) for subject in each]
        assert sorted(taken) == sorted(one.subject_id for one in planned)
