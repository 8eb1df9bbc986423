"""What every job queue does."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.tasks import TaskKind, maintenance_task, read_task
from connectors.domain.model.webhook import Recorded
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import OTHER_TENANT, TENANT, make_connection, make_id, make_task


class JobQueueContract(StoreContract):
    """Fill these, too; the queue goes by `clock`.

    `waiting`: a function that lists what waits, as (task, when it may be taken or None), the tasks' priorities left open.
    `take`: a function that takes the next task as workers do and finishes it, or returns None.
    """

    @pytest.fixture
    def waiting(self):
        raise NotImplementedError

    @pytest.fixture
    def take(self):
        raise NotImplementedError

    @pytest.fixture
    def clock(self):
        """Behind the database's clock, so that what is due by this one can be taken."""
        return ManualClock(datetime.now(UTC) - timedelta(hours=1))

    @pytest.fixture
    def put(self, unit_of_work):
        """Put the task into the queue; its queueing lock, by which it is known again."""

        def put(task, **options):
            with unit_of_work() as work:
                assert work.queue.put(task, **options) is Recorded.NEW
            return task.queueing_lock

        return put

    def test_tasks_wait_as_they_were_put(self, unit_of_work, waiting):
        """Everything that a task says survives, of any tenant and task."""
        tasks = [
            make_task(),
            make_task(kind=TaskKind.MAINTAIN, tenant_id=OTHER_TENANT, priority=40),
            make_task(kind=TaskKind.REFRESH, lock=None),
        ]
        with unit_of_work() as work:
            assert [work.queue.put(one) for one in tasks] == [Recorded.NEW] * 3
        assert told(waiting) == [attrs.evolve(one, priority=0) for one in tasks]

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
        assert told(waiting) == [attrs.evolve(task, priority=0)]

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
        assert [one.subject_id for one in told(waiting)] == [task.subject_id, next_one.subject_id]

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

    def test_a_delay(self, unit_of_work, waiting, clock):
        """A delayed task may be taken after its delay, and not before; without one, at once."""
        with unit_of_work() as work:
            work.queue.put(make_task())
            work.queue.put(make_task(), delay=timedelta(days=3))
        (_, at_once), (_, later) = waiting()
        assert at_once in (None, clock.now())
        assert later == clock.now() + timedelta(days=3)

    def test_what_is_new_is_read_first_come_first_served(self, put, take, clock):
        """Whoever asks for a read, the one that was put first is taken first."""
        put_first = []
        for _ in range(4):
            put_first.append(put(read()))
            clock.advance(timedelta(milliseconds=400))
        assert taken(take) == put_first

    def test_maintenance_passes_every_read(self, put, take, clock):
        """However long reads have waited, maintenance is taken before them."""
        waiting = [put(history()), put(read())]
        clock.advance(timedelta(minutes=30))
        maintenance = put(maintenance_task(TENANT, make_id()))
        assert taken(take) == [maintenance, *waiting[::-1]]

    def test_history_waits_a_minute(self, put, take, clock):
        """History lets pass what is put within a minute after it, and nothing that is put later, whoever put it."""
        old = put(history())
        early = put(read())
        clock.advance(timedelta(seconds=59))
        within = put(read())
        clock.advance(timedelta(seconds=2))
        late = put(read())
        assert taken(take) == [early, within, old, late]

    def test_history_passes_what_is_new_of_its_own_connection(self, put, take, clock):
        """Under one lock, too, history that has waited for a minute is taken before reads that are put later."""
        connection_id = make_id()
        old = put(history(connection_id))
        clock.advance(timedelta(seconds=61))
        new = put(read(connection_id))
        assert taken(take) == [old, new]

    def test_the_minute_of_history_begins_when_it_is_due(self, put, take, clock):
        """Delayed history holds up no read of its connection, and lets pass what is put in the minute after its delay."""
        connection_id = make_id()
        old = put(history(connection_id), delay=timedelta(minutes=15))
        clock.advance(timedelta(minutes=15, seconds=59))
        new = put(read(connection_id))
        clock.advance(timedelta(seconds=2))
        late = put(read())
        assert taken(take) == [new, old, late]

    def test_a_delayed_read_holds_up_its_connection(self, put, take):
        """While a connection's read is delayed, no later read of the connection is taken, but those of others are."""
        delayed = read()
        put(delayed, delay=timedelta(days=1))
        put(attrs.evolve(delayed, queueing_lock="of an older version"))
        other = put(read())
        assert taken(take) == [other]

    def test_a_read_that_is_put_again_goes_to_the_end(self, put, take, clock):
        """A connection whose time slice is over comes after all reads that were put before."""
        task = read()
        first = put(task)
        clock.advance(timedelta(seconds=1))
        other = put(read())
        assert take().queueing_lock == first
        clock.advance(timedelta(seconds=10))
        put(task)
        assert taken(take) == [other, first]


def read(connection_id=None):
    """The task that reads what is new of a connection."""
    return read_task(TENANT, connection_id or make_id())


def history(connection_id=None):
    """The task that reads the history of a connection."""
    return read_task(TENANT, connection_id or make_id(), is_history_only=True)


def told(waiting):
    """The waiting tasks without their priorities, of which a queue may keep the rank alone."""
    return [attrs.evolve(task, priority=0) for task, _ in waiting()]


def taken(take):
    """The queueing locks of all tasks that can be taken, one after another."""
    return [task.queueing_lock for task in iter(take, None)]
