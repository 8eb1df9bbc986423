"""What every job queue does."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import OTHER_TENANT, TENANT, make_connection, make_task


class JobQueueContract(StoreContract):
    """Fill `waiting`, too: a function that lists what waits, as (task, when it may be taken or None)."""

    @pytest.fixture
    def waiting(self):
        raise NotImplementedError

    def test_tasks_wait_as_they_were_put(self, unit_of_work, waiting):
        """Everything that a task says survives, of any tenant and task."""
        tasks = [
            make_task(),
            make_task(kind=TaskKind.MAINTAIN, tenant_id=OTHER_TENANT, priority=40),
            make_task(kind=TaskKind.REFRESH, lock=None),
        ]
        with unit_of_work() as work:
            assert [work.queue.put(one) for one in tasks] == [Recorded.NEW] * 3
        assert [task for task, _ in waiting()] == tasks

    def test_a_task_and_its_row_come_together(self, unit_of_work, waiting):
        """A unit of work that fails leaves neither, one that ends well both."""
        connection, task = make_connection(), make_task()
        with pytest.raises(LookupError), unit_of_work() as work:  # noqa: PT012 - the block as a whole fails
            work.connections.save(connection)
            work.queue.put(task)
            raise LookupError
        with unit_of_work() as work:
            assert work.connections.list_all() == []
        assert waiting() == []
        with unit_of_work() as work:
            work.connections.save(connection)
            assert work.queue.put(task) is Recorded.NEW
        with unit_of_work() as work:
            assert work.connections.get(TENANT, connection.id) == connection
        assert [task for task, _ in waiting()] == [task]

    def test_one_waits_under_a_queueing_lock(self, unit_of_work, waiting):
        """A second one is a duplicate, and the transaction goes on as if it had not been tried."""
        task, next_one, connection = make_task(), make_task(), make_connection()
        with unit_of_work() as work:
            work.queue.put(task)
        with unit_of_work() as work:
            work.connections.save(connection)
            assert work.queue.put(make_task(queueing_lock=task.queueing_lock)) is Recorded.DUPLICATE
            assert work.queue.put(next_one) is Recorded.NEW
            assert work.queue.put(attrs.evolve(next_one, priority=99)) is Recorded.DUPLICATE
            assert work.connections.get(TENANT, connection.id) == connection
        with unit_of_work() as work:
            assert work.connections.get(TENANT, connection.id) == connection
        assert [task for task, _ in waiting()] == [task, next_one]

    def test_one_lock_does_not_keep_tasks_out(self, unit_of_work, waiting):
        """Any number may wait under one lock, which only says that they are worked on one at a time."""
        with unit_of_work() as work:
            for _ in range(3):
                assert work.queue.put(make_task(lock="connection:1")) is Recorded.NEW
        assert len(waiting()) == 3

    def test_racing_puts_make_one_task(self, unit_of_work, waiting):
        """Of those who queue the same thing at once, one has put it there, and none of them fails."""
        task = make_task()

        def put(_):
            with unit_of_work() as work:
                return work.queue.put(task)

        assert sorted(race(put, 4)) == [Recorded.DUPLICATE] * 3 + [Recorded.NEW]
        assert len(waiting()) == 1

    def test_a_delay(self, unit_of_work, waiting):
        """A delayed task may be taken after its delay, and not before; without one, at once."""
        begun = datetime.now(UTC)
        with unit_of_work() as work:
            work.queue.put(make_task())
            work.queue.put(make_task(), delay=timedelta(days=3))
        (_, at_once), (_, later) = waiting()
        assert at_once is None or at_once <= datetime.now(UTC)
        assert begun + timedelta(days=3) <= later + timedelta(minutes=1)
        assert later <= datetime.now(UTC) + timedelta(days=3, minutes=1)
