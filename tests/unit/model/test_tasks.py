"""Tasks: which exclude each other, and which are run first."""

import attrs
import pytest

from connectors.domain.model.ids import ConnectionId, GrantId
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import MAINTENANCE_PRIORITY, PRIORITIES, maintenance_task, refresh_task, sync_task
from tests.support.builders import TENANT, make_id, make_job


def test_urgent_tasks_are_run_first():
    """Maintenance first, then webhook reads, incremental reads and backfills."""
    assert MAINTENANCE_PRIORITY > PRIORITIES[JobType.WEBHOOK] > PRIORITIES[JobType.INCREMENTAL]
    assert PRIORITIES[JobType.INCREMENTAL] > PRIORITIES[JobType.BACKFILL]
    assert PRIORITIES.keys() == set(JobType)
    for job_type in JobType:
        assert sync_task(make_job(type=job_type)).priority == PRIORITIES[job_type]


def test_one_job_of_a_connection_runs_at_a_time():
    """A connection's jobs share a lock, whatever their types and targets, and connections do not."""
    job = make_job()
    others = [attrs.evolve(job, type=JobType.BACKFILL), attrs.evolve(job, target="x"), make_job()]
    same, also, foreign = (sync_task(one).lock for one in others)
    assert sync_task(job).lock == same == also != foreign


def test_one_new_job_of_a_kind_is_queued_at_a_time():
    """Two new jobs of one connection, type and target have one queueing lock; any difference gives another lock."""
    job = make_job()
    twin = attrs.evolve(job, id=make_job().id)
    assert sync_task(job).queueing_lock == sync_task(twin).queueing_lock
    changes = [{"type": JobType.WEBHOOK}, {"target": "x"}, {"connection_id": ConnectionId(make_id())}]
    locks = {sync_task(attrs.evolve(job, **one)).queueing_lock for one in changes}
    assert len({*locks, sync_task(job).queueing_lock}) == 4


def test_a_continued_job_does_not_block_a_new_one():
    """It has its own queueing lock, so that a new request can be queued while it continues."""
    job = make_job()
    continued = sync_task(job, is_continued=True)
    assert continued.queueing_lock not in {
        sync_task(job).queueing_lock,
        sync_task(make_job(), is_continued=True).queueing_lock,
    }
    assert attrs.evolve(continued, queueing_lock="") == attrs.evolve(sync_task(job), queueing_lock="")


@pytest.mark.parametrize(
    "make",
    [lambda name: maintenance_task(TENANT, ConnectionId(name)), lambda name: refresh_task(TENANT, GrantId(name))],
)
def test_maintenance_does_not_wait_for_syncs(make):
    """Maintenance and token refreshes wait only for tasks of their own kind and subject."""
    job = make_job()
    task = make(job.connection_id)
    assert (task.subject_id, task.priority) == (job.connection_id, MAINTENANCE_PRIORITY)
    assert task.lock != sync_task(job).lock
    assert task.queueing_lock == make(job.connection_id).queueing_lock != make(make_id()).queueing_lock
