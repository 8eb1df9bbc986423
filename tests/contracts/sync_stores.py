"""What every store of snapshots, cursors and jobs does."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.sync import JobStatus, JobType, Progress
from tests.contracts.unit_of_work import Hole, race
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_id, make_job


class SyncStoresContract(Hole):
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
        """A cursor is kept per connection and target, and replaced whole."""
        mine = make_id()
        with unit_of_work() as work:
            assert work.sync_states.load(TENANT, mine) is None
            work.sync_states.save(TENANT, mine, {"page": 1, "old": True})
            work.sync_states.save(TENANT, mine, {"page": 2})
            work.sync_states.save(TENANT, mine, {"token": "x"}, "calendar")
            assert work.sync_states.load(TENANT, mine) == {"page": 2}
            assert work.sync_states.load(TENANT, mine, "calendar") == {"token": "x"}
            assert work.sync_states.load(OTHER_TENANT, mine) is None

    def test_a_job_comes_back_as_it_was(self, unit_of_work):
        """Every field survives being queued and being saved."""
        job = make_job(since=NOW, until=NOW, target="calendar", cursor={"page": 1})
        with unit_of_work() as work:
            assert work.jobs.enqueue(job) == job
            ran = attrs.evolve(
                job,
                status=JobStatus.RUNNING,
                attempts=2,
                progress=Progress(pages=1, items=2, signals=3),
                error="x",
                started_at=NOW,
                finished_at=NOW,
                retry_after=NOW,
                cursor=None,
            )
            work.jobs.save(ran)
        with unit_of_work() as work:
            assert work.jobs.get(TENANT, job.id) == ran
            with pytest.raises(NotFoundError):
                work.jobs.get(OTHER_TENANT, job.id)
        with pytest.raises(NotFoundError), unit_of_work() as work:
            work.jobs.save(attrs.evolve(ran, tenant_id=OTHER_TENANT))

    def test_one_queued_job_of_a_kind(self, unit_of_work):
        """A queued job stands for all like it; another type, target or connection, or a running one, does not."""
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
        """Pages descend by (scheduled_at, id) and narrow by connection and status."""
        jobs = [make_job(scheduled_at=NOW + timedelta(microseconds=n // 2)) for n in range(4)]
        with unit_of_work() as work:
            for job in jobs:
                work.jobs.enqueue(job)
            first = work.jobs.list_page(TENANT, PageRequest(limit=3))
            rest = work.jobs.list_page(TENANT, PageRequest(limit=3, after=first.next))
            assert [*first.items, *rest.items] == jobs[::-1]
            found = work.jobs.list_page(TENANT, PageRequest(), connection_id=jobs[1].connection_id)
            assert found.items == (jobs[1],)
            assert work.jobs.list_page(TENANT, PageRequest(), status=JobStatus.RUNNING).items == ()
            assert work.jobs.list_page(OTHER_TENANT, PageRequest()).items == ()
