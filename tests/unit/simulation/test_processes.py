"""Flights, the queue, deaths and the rescue of what dead workers leave behind."""

from types import SimpleNamespace

import attrs
import pytest

from connectors.domain.model.errors import InfrastructureError, ProviderUnavailableError
from connectors.domain.model.tenant import Tenant
from tests.simulation.ports.database import Database
from tests.simulation.ports.flights import SimulatedFlights
from tests.simulation.ports.queue import TaskQueue
from tests.simulation.processes import ConnectionLostError, Processes
from tests.simulation.schedule import EPOCH, Schedule, Trap
from tests.support.builders import TENANT, make_task


@pytest.fixture
def schedule():
    return Schedule(1, keep_trace=True)


# --- flights ------------------------------------------------------------------------------------------------------


def fly(schedule, work, *, passengers=3):
    """What each passenger of one flight gets, and how often the work was done."""
    flights, results, done = SimulatedFlights(schedule), [], []

    def once():
        done.append(schedule.now)
        schedule.sleep(5.0)
        return work()

    def join():
        try:
            results.append(flights.join("key", once))
        except ProviderUnavailableError as error:
            results.append(error)

    for number in range(passengers):
        schedule.spawn(f"one-{number}", join, process="a.1", at=float(number))
    schedule.run(100.0)
    return results, len(done)


def test_a_flight_is_flown_once(schedule):
    """All who join get the one result."""
    assert fly(schedule, lambda: "result") == (["result"] * 3, 1)


def test_a_flight_fails_for_all(schedule):
    """All who join get the one error."""

    def fail():
        raise ProviderUnavailableError("no")

    results, number = fly(schedule, fail)
    assert number == 1
    assert len({id(one) for one in results}) == 1
    assert len(results) == 3


def test_the_next_flight_is_another(schedule):
    """Who comes after its end does the work again."""
    flights, done = SimulatedFlights(schedule), []
    for _ in range(2):
        flights.join("key", lambda: done.append(1))
    assert len(done) == 2


# --- the queue ----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(schedule):
    database = Database(schedule)
    with database.unit_of_work() as uow:
        uow.tenants.record(Tenant(id=TENANT, created_at=EPOCH))
    return database


def put(database, *tasks):
    with database.unit_of_work() as uow:
        for task in tasks:
            uow.queue.put(task)


def test_a_task_is_taken_once(schedule, database):
    """By one of two workers; the other waits for the next one."""
    queue, taken = TaskQueue(schedule, database), []

    def work(name):
        while True:
            queue.wait_for_task()
            row = queue.take(name)
            if row is not None:
                taken.append(row.number)
                schedule.sleep(1.0)
                queue.finish(row)

    for name in ("a", "b"):
        schedule.spawn(name, lambda name=name: work(name))
    schedule.spawn("api", lambda: put(database, make_task(), make_task()), at=5.0)
    schedule.run(100.0)
    schedule.end()
    assert sorted(taken) == [1, 2]
    assert database.memory.tasks.values() == []


def test_nobody_takes_a_task_while_the_database_is_down(schedule, database):
    """Taking raises, and the task stays."""
    put(database, make_task())
    queue = TaskQueue(schedule, database)
    database.go_down(10.0)
    with pytest.raises(InfrastructureError):
        queue.take("a")
    assert len(database.memory.tasks.values()) == 1


# --- processes ----------------------------------------------------------------------------------------------------


@attrs.define
class System:
    """A service that notes what it is asked to do."""

    schedule: Schedule
    handled: list = attrs.field(factory=list)
    requeued: list = attrs.field(factory=list)

    @property
    def tasks(self):
        return self

    def handle_task(self, task):
        self.schedule.sleep(10.0)
        self.handled.append(task)

    def tick(self):
        pass

    def requeue(self, kind, tenant_id, subject_id):
        self.requeued.append(subject_id)
        self.schedule.point("requeue")


@pytest.fixture
def system(schedule):
    return System(schedule)


@pytest.fixture
def processes(schedule, database, system, monkeypatch):
    monkeypatch.setattr("tests.simulation.processes.build", lambda *_args, **_options: system)
    around = SimpleNamespace(schedule=schedule, database=database)
    processes = Processes(around, TaskQueue(schedule, database), {})
    processes.start()
    return processes


def test_a_dead_workers_task_is_rescued(schedule, database, processes, system):
    """Another worker queues it again, once, and the dead one's row goes."""
    task = make_task()
    put(database, task)
    schedule.spawn("fault", lambda: [processes.kill(name) for name in ("worker-1", "worker-2")], at=5.0)
    schedule.run(200.0)
    schedule.end()
    assert system.handled == []
    assert system.requeued == [task.subject_id]
    assert database.memory.tasks.values() == []


def test_a_rescuer_that_dies_is_followed_by_another(schedule, database, processes, system):
    """Whoever rescues may die between queueing the task again and ending the old one."""
    task = make_task()
    put(database, task)
    schedule.spawn("fault", lambda: [processes.kill(name) for name in ("worker-1", "worker-2")], at=5.0)

    def kill(actor, _label):
        processes.kill(actor.process.partition(".")[0])

    schedule.arm(Trap(lambda _, label: label == "requeue", 1, kill))
    schedule.run(300.0)
    schedule.end()
    assert system.requeued == [task.subject_id] * 2
    assert database.memory.tasks.values() == []


def test_who_calls_a_dead_api_learns_nothing(schedule, processes):
    """Neither an answer nor an error of the call; a moment later it is back."""
    outcomes = []

    def call():
        for _ in range(2):
            try:
                outcomes.append(processes.call("api:wait", lambda _: schedule.sleep(2.0) or "answer"))
            except ConnectionLostError:
                outcomes.append("lost")
            schedule.sleep(10.0)

    schedule.spawn("people", call)
    schedule.spawn("fault", lambda: processes.kill("api"), at=1.0)
    schedule.run(60.0)
    schedule.end()
    assert outcomes == ["lost", "answer"]


def test_what_a_call_raises_reaches_its_caller(schedule, processes):
    """As if there were no process in between."""
    errors = []

    def call():
        with pytest.raises(InfrastructureError) as caught:
            processes.call("api:fail", fail)
        errors.append(caught.value.message)

    def fail(_system):
        raise InfrastructureError("no")

    schedule.spawn("people", call)
    schedule.run(10.0)
    schedule.end()
    assert errors == ["no"]
