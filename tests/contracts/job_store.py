"""What every store of jobs does."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.sync import JobFilter, JobStatus, JobType, Progress, StreamCounts
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id, make_job


class JobStoreContract(StoreContract):
    def test_a_job_comes_back_as_it_was(self, unit_of_work):
        """Every field survives being queued and being saved."""
        job = make_job(since=NOW, until=NOW, target="calendar", streams=StreamCounts(total=9))
        with unit_of_work() as work:
            assert work.jobs.enqueue(job) == job
            ran = attrs.evolve(
                job,
                status=JobStatus.RUNNING,
                attempts=2,
                trace_id="trace",
                progress=Progress(pages=1, items=2, signals=3),
                error="x",
                started_at=NOW,
                finished_at=NOW,
                retry_after=NOW,
                streams=StreamCounts(total=6, done=5, aside=4),
                updated_at=NOW + timedelta(seconds=1),
            )
            work.jobs.save(ran)
        with unit_of_work() as work:
            assert work.jobs.get(TENANT, job.id) == ran
            with pytest.raises(NotFoundError):
                work.jobs.get(OTHER_TENANT, job.id)
        with pytest.raises(NotFoundError), unit_of_work() as work:
            work.jobs.save(attrs.evolve(ran, tenant_id=OTHER_TENANT))

    def test_one_queued_job_of_a_kind(self, unit_of_work):
        """A job that waits to be begun stands for all like it; one of another kind, or that was begun, does not."""
        first = make_job()
        like = {"connection_id": first.connection_id}
        with unit_of_work() as work:
            work.jobs.enqueue(first)
            assert work.jobs.enqueue(make_job(**like)) == first
            for other in (make_job(**like, type=JobType.BACKFILL), make_job(**like, target="c"), make_job()):
                assert work.jobs.enqueue(other) == other
            work.jobs.save(attrs.evolve(first, status=JobStatus.RUNNING))
            second = make_job(**like)
            assert work.jobs.enqueue(second) == second
            # Between two time slices it is queued again, and its successor waits beside it.
            work.jobs.save(attrs.evolve(first, attempts=1))
            assert work.jobs.enqueue(make_job(**like)) == second
        with pytest.raises(ConflictError), unit_of_work() as work:
            work.jobs.save(first)

    def test_racing_enqueues_make_one_job(self, unit_of_work):
        """Callers that queue the same work at once all get the same job."""
        connection_id = make_id()

        def enqueue(_):
            with unit_of_work() as work:
                return work.jobs.enqueue(make_job(connection_id=connection_id)).id

        assert len(set(race(enqueue, 6))) == 1

    def test_pages_of_jobs(self, unit_of_work):
        """Pages descend by (scheduled_at, id) and narrow by every filter, each alone and all together."""
        jobs = [make_job(scheduled_at=NOW + timedelta(microseconds=n // 2)) for n in range(4)]
        special = make_job(provider=SLACK, type=JobType.WEBHOOK, scheduled_at=NOW - timedelta(days=1))
        with unit_of_work() as work:
            for job in [*jobs, special]:
                work.jobs.enqueue(job)
            first = work.jobs.list_page(TENANT, PageRequest(limit=3), JobFilter(provider=GITHUB))
            rest = work.jobs.list_page(TENANT, PageRequest(limit=3, after=first.next), JobFilter(provider=GITHUB))
            assert [*first.items, *rest.items] == jobs[::-1]
            assert rest.next is None
            special = attrs.evolve(special, status=JobStatus.RUNNING)
            work.jobs.save(special)
            marks = {
                "provider": SLACK,
                "connection_id": special.connection_id,
                "type": JobType.WEBHOOK,
                "status": JobStatus.RUNNING,
            }
            for where in (*({name: value} for name, value in marks.items()), marks):
                assert work.jobs.list_page(TENANT, PageRequest(), JobFilter(**where)).items == (special,)
            assert work.jobs.list_page(OTHER_TENANT, PageRequest(), JobFilter()).items == ()

    def test_unfinished_jobs_of_a_connection(self, unit_of_work):
        """What waits and what runs is listed, oldest first, of this connection of this tenant alone."""
        mine = {"connection_id": make_id()}
        running = make_job(**mine, status=JobStatus.RUNNING, scheduled_at=NOW - timedelta(hours=1))
        waiting = make_job(**mine, type=JobType.BACKFILL, scheduled_at=NOW + timedelta(hours=1))
        with unit_of_work() as work:
            for job in (waiting, running, make_job(**mine, tenant_id=OTHER_TENANT), make_job()):
                _put(work, job)
            for number, status in enumerate(ENDED):
                _put(work, make_job(**mine, status=status, target=f"t{number}"))
            assert work.jobs.list_unfinished(TENANT, mine["connection_id"]) == [running, waiting]

    def test_untouched_jobs(self, unit_of_work):
        """Jobs of any tenant that ought to go on and did not are listed, the longest untouched first."""
        late, later = (NOW - timedelta(minutes=n) for n in (2, 1))
        left = make_job(status=JobStatus.RUNNING, updated_at=later)
        forgotten = make_job(tenant_id=OTHER_TENANT, updated_at=late)
        paused = make_job(attempts=1, retry_after=later, updated_at=late - timedelta(hours=1))
        with unit_of_work() as work:
            for job in (
                left,
                forgotten,
                paused,
                make_job(updated_at=NOW),
                make_job(attempts=1, retry_after=NOW, updated_at=late),
                *(make_job(status=status, updated_at=late) for status in ENDED),
            ):
                _put(work, job)
            assert work.jobs.list_untouched(before=NOW, limit=9) == [paused, forgotten, left]
            assert work.jobs.list_untouched(before=NOW, limit=2) == [paused, forgotten]
            assert work.jobs.list_untouched(before=later, limit=9) == [forgotten]

    def test_counts(self, unit_of_work):
        """Unfinished jobs of all tenants are counted by what they are."""
        with unit_of_work() as work:
            for job in (
                make_job(status=JobStatus.RUNNING),
                make_job(status=JobStatus.RUNNING, provider=SLACK),
                make_job(status=JobStatus.RUNNING, tenant_id=OTHER_TENANT),
                make_job(),
                make_job(type=JobType.BACKFILL),
                make_job(type=JobType.BACKFILL, tenant_id=OTHER_TENANT),
                *(make_job(status=status) for status in ENDED),
            ):
                _put(work, job)
            assert work.jobs.count_unfinished() == {
                (GITHUB, JobType.INCREMENTAL, JobStatus.RUNNING): 2,
                (SLACK, JobType.INCREMENTAL, JobStatus.RUNNING): 1,
                (GITHUB, JobType.INCREMENTAL, JobStatus.QUEUED): 1,
                (GITHUB, JobType.BACKFILL, JobStatus.QUEUED): 2,
            }

    def test_the_oldest_that_waits(self, unit_of_work):
        """Of each provider, the oldest job that has not begun says since when; others have had a time slice."""
        minutes = [NOW + timedelta(minutes=number) for number in range(3)]
        with unit_of_work() as work:
            assert work.jobs.earliest_waiting() == {}
            for job in (
                make_job(scheduled_at=minutes[2], tenant_id=OTHER_TENANT),
                make_job(scheduled_at=minutes[1]),
                make_job(scheduled_at=minutes[0], attempts=1),
                make_job(scheduled_at=minutes[0], status=JobStatus.RUNNING),
                make_job(scheduled_at=minutes[0], status=JobStatus.CANCELLED),
                make_job(scheduled_at=minutes[2], provider=SLACK),
            ):
                _put(work, job)
            assert work.jobs.earliest_waiting() == {GITHUB: minutes[1], SLACK: minutes[2]}

    def test_progress_is_added(self, unit_of_work):
        """It is added to those of the jobs that have not ended, and changes nothing else of them."""
        jobs = [make_job(progress=Progress(1, 2, 3), streams=StreamCounts(total=9, done=5, aside=1)) for _ in range(3)]
        jobs[1] = attrs.evolve(jobs[1], status=JobStatus.RUNNING)
        ended = [make_job(status=status) for status in ENDED]
        theirs = make_job(tenant_id=OTHER_TENANT)
        later = NOW + timedelta(hours=1)
        with unit_of_work() as work:
            for job in [*jobs, *ended, theirs]:
                _put(work, job)
            work.jobs.add_progress(TENANT, [], Progress(9, 9, 9), at=later)
            named = [job.id for job in [*jobs[:2], *ended, theirs]]
            work.jobs.add_progress(TENANT, [*named, make_id()], Progress(10, 20, 30), at=later)
        added = {"progress": Progress(11, 22, 33), "updated_at": later}
        with unit_of_work() as work:
            for job in jobs[:2]:
                assert work.jobs.get(TENANT, job.id) == attrs.evolve(job, **added)
            for job in [jobs[2], *ended, theirs]:
                assert work.jobs.get(job.tenant_id, job.id) == job

    def test_progress_added_at_once_is_all_kept(self, unit_of_work):
        """Nobody's progress is lost when several add some at the same time."""
        job = make_job()
        with unit_of_work() as work:
            work.jobs.enqueue(job)

        def add(number):
            with unit_of_work() as work:
                work.jobs.add_progress(TENANT, [job.id], Progress(1, number, 2), at=NOW)

        race(add, 6)
        with unit_of_work() as work:
            assert work.jobs.get(TENANT, job.id).progress == Progress(6, 15, 12)

    def test_a_locked_job_waits_for_its_holder(self, unit_of_work):
        """Changes made under the lock are all kept: nobody works from an older state."""
        job = make_job()
        with unit_of_work() as work:
            work.jobs.enqueue(job)

        def take(_):
            with unit_of_work() as work:
                present = work.jobs.get(TENANT, job.id, lock=True)
                work.jobs.save(attrs.evolve(present, attempts=present.attempts + 1))

        race(take, 6)
        with unit_of_work() as work:
            assert work.jobs.get(TENANT, job.id).attempts == 6

    def test_pruning(self, unit_of_work):
        """Jobs of any tenant that ended before the instant go, so many at once; the others stay, however old."""
        old = NOW - timedelta(microseconds=1)
        kept = [
            make_job(status=JobStatus.SUCCEEDED, finished_at=NOW),
            make_job(updated_at=old),
            make_job(status=JobStatus.RUNNING, updated_at=old),
        ]
        with unit_of_work() as work:
            for number, status in enumerate(ENDED):
                tenant_id = OTHER_TENANT if number else TENANT
                _put(work, make_job(status=status, tenant_id=tenant_id, finished_at=old))
            for job in kept:
                _put(work, job)
            pruned = [work.jobs.prune(finished_before=NOW, limit=2) for _ in range(3)]
            assert pruned == [2, 2, 0]
            left = work.jobs.list_page(TENANT, PageRequest(), JobFilter()).items
            assert {job.id for job in left} == {job.id for job in kept}
            assert work.jobs.list_page(OTHER_TENANT, PageRequest(), JobFilter()).items == ()


ENDED = (JobStatus.SUCCEEDED, JobStatus.PARTIAL, JobStatus.FAILED, JobStatus.CANCELLED)


def _put(work, job):
    """A job in any state, as if it had come so far."""
    work.jobs.enqueue(job)
    work.jobs.save(job)
