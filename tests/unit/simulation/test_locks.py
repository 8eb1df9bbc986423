"""The comparison of lock orders."""

import attrs

from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.tenant import Tenant
from tests.simulation.ports.database import Database
from tests.simulation.ports.locks import HeldLocks, LockOrder
from tests.simulation.schedule import EPOCH, Schedule
from tests.support.builders import TENANT, make_connection, make_schedule_entry, make_signal


def found(*transactions):
    """What is reported of transactions that lock these rows in this order; a `?` means that it would not wait."""
    reports = []
    order = LockOrder(reports.append)
    for number, rows in enumerate(transactions):
        held = HeldLocks(f"t{number}")
        for row in rows:
            held.take(row.strip("?"), "key", waits=not row.endswith("?"))
        order.end(held)
    return reports


def test_two_orders_are_a_finding():
    """Two transactions that lock the same two rows in both orders can wait for each other."""
    assert found(["a", "b"], ["b", "a"]) == ["t1 locks b before a, t0 locks a before b"]


def test_one_order_is_none():
    """Neither are other rows in between, nor one row twice."""
    assert found(["a", "b", "c"], ["a", "c"], ["b", "c", "b"]) == []


def test_a_lock_that_both_take_first_keeps_them_apart():
    """Behind it, any order is safe."""
    assert found(["guard", "a", "b"], ["guard", "b", "a"]) == []
    assert len(found(["guard", "a", "b"], ["other", "b", "a"])) == 1


def test_who_skips_locked_rows_waits_for_none():
    """Its own lock may still be waited for."""
    assert found(["a", "b?"], ["b", "a?"]) == []


def orders(*works):
    """What a database reports of these transactions, one after another."""
    schedule = Schedule(1)
    database = Database(schedule)
    with database.unit_of_work() as uow:
        uow.tenants.record(Tenant(id=TENANT, created_at=EPOCH))
    for number, work in enumerate(works):

        def transaction(work=work):
            with database.unit_of_work() as uow:
                work(uow)

        schedule.spawn(f"t{number}", transaction, at=float(number))
    schedule.run(100.0)
    return [one.text for one in schedule.findings]


def test_new_rows_of_the_same_name_are_waited_for():
    """Two transactions that plan the same two things in both orders, whether or not the entries exist yet."""
    first, second = make_schedule_entry(), make_schedule_entry()

    def plan(*entries):
        return lambda uow: [uow.schedules.plan(one) for one in entries]

    assert orders(plan(first, second), plan(first, second)) == []
    assert len(orders(plan(first, second), plan(second, first))) == 1


def test_a_deletion_takes_locks():
    """Deleting an entry and then planning another one is the other order of planning both."""
    first = make_schedule_entry()
    second = attrs.evolve(first, kind=TaskKind.MAINTAIN)

    def plan_both(uow):
        uow.schedules.plan(second)
        uow.schedules.plan(first)

    def replace(uow):
        uow.schedules.cancel(TENANT, first.subject_id, first.kind)
        uow.schedules.plan(second)

    assert orders(plan_both, replace) == ["t1 locks schedules before schedules, t0 locks schedules before schedules"]


def test_reads_with_a_lock_take_it():
    """A row that is read with `lock` is locked from then on."""
    one, other = make_connection(), make_connection()

    def save(uow):
        uow.connections.save(one)
        uow.connections.save(other)

    def lock(*rows):
        return lambda uow: [uow.connections.get(TENANT, row.id, lock=True) for row in rows]

    assert orders(save, lock(one, other), lock(other, one)) != []
    assert orders(save, lock(one, other), lock(one, other)) == []


def test_one_call_locks_its_rows_in_one_order():
    """Whatever order signals are given in, the store sorts them."""
    connection = make_connection()
    signals = [make_signal(connection_id=connection.id, dedupe_key=key) for key in ("a", "b")]

    def record(rows):
        return lambda uow: uow.signals.record_all(rows)

    save = [lambda uow: uow.connections.save(connection)]
    assert orders(*save, record(signals), record(signals[::-1])) == []
