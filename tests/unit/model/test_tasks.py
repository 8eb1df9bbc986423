"""Tasks: which exclude each other, and which are run first."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors.domain.model.ids import ConnectionId, GrantId
from connectors.domain.model.tasks import MAINTENANCE_PRIORITY, maintenance_task, read_task, refresh_task
from tests.support.builders import NOW, TENANT, make_id, make_job

CONNECTION = ConnectionId(make_id())


def test_urgent_tasks_are_run_first():
    """Maintenance comes first, then reads of what is new, whoever asks for them, then history."""
    new, history = (read_task(TENANT, CONNECTION, is_history_only=one).priority for one in (False, True))
    assert maintenance_task(TENANT, CONNECTION).priority > new > history


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(days=365)])
def test_a_rank_fits_into_the_queue(delay):
    """Reads rank below 0, therefore below maintenance, and within 32 bits, in any year of a clock."""
    for is_history_only in (False, True):
        task = read_task(TENANT, CONNECTION, is_history_only=is_history_only)
        for year in (2001, 2026, 2067, 2069, 9000):
            assert -(2**31) <= task.rank(datetime(year, 1, 1, tzinfo=UTC), delay) < 0
    assert maintenance_task(TENANT, ConnectionId(make_id())).rank(NOW, delay) == MAINTENANCE_PRIORITY


def test_one_read_of_a_connection_runs_at_a_time():
    """A connection's reads share a lock, whatever they are for, and connections do not."""
    new, history = read_task(TENANT, CONNECTION), read_task(TENANT, CONNECTION, is_history_only=True)
    assert new.lock == history.lock != read_task(TENANT, ConnectionId(make_id())).lock


def test_one_new_read_of_a_kind_is_queued_at_a_time():
    """Two reads of one connection have one queueing lock, but one of history leaves space for what is new."""
    new, history = read_task(TENANT, CONNECTION), read_task(TENANT, CONNECTION, is_history_only=True)
    assert new == read_task(TENANT, CONNECTION)
    assert (
        len({new.queueing_lock, history.queueing_lock, read_task(TENANT, ConnectionId(make_id())).queueing_lock}) == 3
    )


@pytest.mark.parametrize(
    "make",
    [lambda name: maintenance_task(TENANT, ConnectionId(name)), lambda name: refresh_task(TENANT, GrantId(name))],
)
def test_maintenance_does_not_wait_for_syncs(make):
    """Maintenance and token refreshes wait only for tasks of their own kind and subject."""
    job = make_job()
    task = make(job.connection_id)
    assert (task.subject_id, task.priority) == (job.connection_id, MAINTENANCE_PRIORITY)
    assert task.lock != read_task(TENANT, job.connection_id).lock
    assert task.queueing_lock == make(job.connection_id).queueing_lock != make(make_id()).queueing_lock
