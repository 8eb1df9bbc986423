"""Workers take tasks out of the queue in memory, each in its own name."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.memory.job_queue import MemoryWorker, MemoryWorkQueue
from connectors.domain.model.tasks import TaskKind, read_task
from tests.support.builders import NOW, TENANT, make_id, make_task, make_tenant

MINUTE = timedelta(minutes=1)


class Bench:
    """A queue, its clock, and short methods."""

    def __init__(self):
        self.clock = ManualClock(NOW)
        self.database = MemoryDatabase(self.clock.now)
        self.queue = MemoryWorkQueue(self.database)
        self.uow = memory_unit_of_work(self.database)
        with self.uow() as work:
            work.tenants.record(make_tenant())

    def put(self, delay=timedelta(0), **changes):
        """The task, which waits now."""
        task = make_task(**changes)
        with self.uow() as work:
            work.queue.put(task, delay=delay)
        return task

    def put_task(self, task):
        """Queue this task, unless one with its queueing lock waits."""
        with self.uow() as work:
            work.queue.put(task)

    def take_all(self, owner="one"):
        """The tasks that can be taken while none of them is finished."""
        return [row.task for row in iter(lambda: self.queue.take(owner), None)]


@pytest.fixture
def bench():
    return Bench()


def test_the_most_urgent_task_comes_first(bench):
    """Tasks are taken by rank, then by age; a delayed one only when its delay is over."""
    late, low, high = bench.put(delay=MINUTE, priority=40), bench.put(priority=10), bench.put(priority=20)
    second = bench.put(priority=20)
    assert bench.take_all() == [high, second, low]
    bench.clock.advance(MINUTE)
    assert bench.take_all() == [late]


def test_one_lock_lets_one_task_run(bench):
    """Of tasks under one lock the next can be taken when the one before it is finished, whoever has it."""
    first, second = bench.put(lock="connection:1"), bench.put(lock="connection:1")
    free = bench.put(lock=None)
    assert bench.take_all() == [first, free]
    assert (bench.queue.has_due(), bench.queue.next_due_at()) == (False, None)
    for row in bench.queue.taken_by("one"):
        bench.queue.finish(row)
    assert bench.take_all("two") == [second]


def test_a_delayed_task_goes_before_the_next_one_under_its_lock(bench):
    """The first task under a lock is the next one, even if it may not run yet."""
    bench.put(delay=MINUTE, priority=20, lock="connection:1")
    bench.put(priority=20, lock="connection:1")
    assert bench.take_all() == []
    assert bench.queue.next_due_at() == NOW + MINUTE


def test_a_taken_task_leaves_its_queueing_lock(bench):
    """While a task runs, the same one can be put into the queue again."""
    task = bench.put(lock=None)
    bench.queue.take("one")
    bench.put(lock=None, queueing_lock=task.queueing_lock)
    assert bench.queue.has_due()


def test_owners_are_kept_apart(bench):
    """What a dead worker has taken is found by its name, the oldest first, until somebody finishes it."""
    first, second, third = bench.put(), bench.put(), bench.put()
    assert [bench.queue.take(owner).task for owner in ("dead", "alive", "dead")] == [first, second, third]
    left = bench.queue.taken_by("dead")
    assert [row.task for row in left] == [first, third]
    assert {row.owner for row in left} == {"dead"}
    for _ in range(2):  # the worker may not be dead after all, and finish it, too
        bench.queue.finish(left[0])
    assert [row.task for row in bench.queue.taken_by("dead")] == [third]
    assert [row.task for row in bench.queue.taken_by("alive")] == [second]


def test_a_task_erased_with_its_tenant_can_be_finished(bench):
    """A worker that ends later than its task's tenant does no harm."""
    bench.put()
    taken = bench.queue.take("one")
    with bench.uow() as work:
        work.tenants.mark_erased(TENANT, at=NOW)
        work.tenants.erase(TENANT)
        assert work.tenants.forget_erased(erased_before=NOW + MINUTE) == 1
    bench.queue.finish(taken)
    assert bench.database.tasks.values() == []


def test_what_ends_an_erased_tenant_stays_queued(bench):
    """The tasks that end what a tenant has at its providers outlive its erasure."""
    task = bench.put(kind=TaskKind.END)
    with bench.uow() as work:
        work.tenants.mark_erased(TENANT, at=NOW)
        work.tenants.erase(TENANT)
    assert bench.take_all() == [task]


def test_no_rollback_gives_a_task_back(bench):
    """Taking and finishing hold at once, even while a unit of work that fails later is open in the same thread."""
    _, running = bench.put(), bench.put()
    with pytest.raises(LookupError), bench.uow() as work:  # noqa: PT012 - the block as a whole fails
        work.queue.put(make_task())
        bench.queue.finish(bench.queue.take("one"))
        bench.queue.take("one")
        raise LookupError
    assert [row.task for row in bench.database.tasks.values()] == [running]
    assert [row.task for row in bench.queue.taken_by("one")] == [running]
    assert bench.database.undo == []


def test_a_worker_runs_what_its_tasks_put_in(bench):
    """It runs until nothing is due; a handler that raises ends it, and its task is gone."""
    first, seen = bench.put(), []

    def handle(task):
        seen.append(task)
        if len(seen) < 3:
            bench.put()
        else:
            raise LookupError

    bench.put(delay=MINUTE)
    with pytest.raises(LookupError):
        MemoryWorker(bench.database, handle).run_pending()
    assert (seen[0], len(seen), len(bench.database.tasks.values())) == (first, 3, 1)


def test_an_account_that_pushes_all_the_time_starves_nobody(bench):
    """With four deliveries a second and one worker, another account's reads and the account's own history are read."""
    pushing, quiet = make_id(), make_id()
    start, taken = bench.clock.now(), []
    bench.put_task(read_task(TENANT, pushing, is_history_only=True))
    for second in range(300):
        if second % 60 == 10:
            bench.put_task(read_task(TENANT, quiet))
        for _ in range(4):
            bench.put_task(read_task(TENANT, pushing))
            bench.clock.advance(timedelta(seconds=0.25))
        row = bench.queue.take("worker")  # one read takes a second
        bench.queue.finish(row)
        is_history = row.task == read_task(TENANT, pushing, is_history_only=True)
        name = "history" if is_history else {pushing: "push", quiet: "quiet"}[row.task.subject_id]
        taken.append((name, bench.clock.now() - start))
        if is_history:
            bench.put_task(read_task(TENANT, pushing, is_history_only=True))
    reads = [at for name, at in taken if name == "quiet"]
    assert len(reads) == 5
    assert max(at - timedelta(minutes=n, seconds=10) for n, at in enumerate(reads)) < timedelta(seconds=30)
    histories = [timedelta(0)] + [at for name, at in taken if name == "history"]
    assert max(later - earlier for earlier, later in pairwise(histories)) < timedelta(seconds=90)


TASKS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([10, 20, 40]), st.sampled_from([None, "a", "b"])), max_size=8
)


@given(tasks=TASKS, finishes=st.booleans())
def test_what_is_said_to_be_due_can_be_taken(tasks, finishes):
    """`take` finds a task if, and only if, `has_due` says so, and first at the instant that `next_due_at` gives."""
    bench = Bench()
    for minutes, priority, lock in tasks:
        bench.put(delay=minutes * MINUTE, priority=priority, lock=lock)
    left = len(tasks)
    while (at := bench.queue.next_due_at()) is not None:
        if at > bench.clock.now():
            assert (bench.queue.has_due(), bench.queue.take("one")) == (False, None)
            bench.clock.advance(at - bench.clock.now())
        assert bench.queue.has_due()
        taken = bench.queue.take("one")
        assert taken.due_at <= bench.clock.now()
        left -= 1
        if finishes:
            bench.queue.finish(taken)
    assert bench.queue.take("one") is None
    assert len([row for row in bench.database.tasks.values() if not row.is_taken]) == left
    assert not (finishes and left)
