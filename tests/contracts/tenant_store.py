"""What every store of tenants does."""

from datetime import timedelta

import pytest

from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.ending import Ending
from connectors.domain.model.errors import ConflictError, TenantNotFoundError
from connectors.domain.model.ids import UNROUTED, GrantId, TenantId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.signal import SignalFilter
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.webhook import Recorded, SubscriptionStatus
from tests.contracts.stream_rows import make_account_state, make_parked_state, make_stream_state
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import (
    GITHUB,
    NOW,
    OTHER_TENANT,
    TENANT,
    make_account,
    make_answer,
    make_authorization_request,
    make_connection,
    make_delivery,
    make_gap,
    make_grant,
    make_id,
    make_interval,
    make_job,
    make_schedule_entry,
    make_signal,
    make_subscription,
    make_tenant,
)

LATER = NOW + timedelta(microseconds=1)
OF_A_GRANT = {"grant_id": GrantId(make_id())}
UNFINISHED = [
    *(make_grant(state=state) for state in (GrantState.NEW, GrantState.LIVE, GrantState.ENDING)),
    *(
        make_subscription(status=status, **OF_A_GRANT)
        for status in (SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE, SubscriptionStatus.ENDING)
    ),
]
"""Of each of these something may be left at its provider."""
FINISHED = [
    *(make_grant(state=state) for state in (GrantState.ENDED, GrantState.LEFT)),
    *(
        make_subscription(status=status, **OF_A_GRANT)
        for status in SubscriptionStatus
        if status not in {one.status for one in UNFINISHED[3:]}
    ),
    make_subscription(status=SubscriptionStatus.ACTIVE),  # set up by hand
]


def name_of(row):
    return row.state if hasattr(row, "state") else f"subscription {row.status}"


def save(work, row):
    """Store the grant or subscription."""
    (work.grants if hasattr(row, "state") else work.subscriptions).save(row)


class TenantStoreContract(StoreContract):
    def test_an_erased_tenant_is_found_by_nobody(self, unit_of_work):
        """From the moment on at which it is erased a tenant is not found, and everybody else still is."""
        with unit_of_work() as work:
            work.tenants.mark_erased(TENANT, at=NOW)
            work.tenants.mark_erased(TenantId(make_id()), at=NOW)
        with unit_of_work() as work:
            with pytest.raises(TenantNotFoundError):
                work.tenants.get(TENANT)
            assert work.tenants.is_being_erased(TENANT)
            assert work.tenants.is_being_erased(TENANT, lock=True)
            assert work.tenants.get(OTHER_TENANT).id == OTHER_TENANT
            assert not work.tenants.is_being_erased(OTHER_TENANT)
            assert not work.tenants.is_being_erased(TenantId(make_id()))

    def test_a_lock_is_held_by_one_at_a_time(self, unit_of_work):
        """Who locks the tenant sees what everybody who had it locked before has written."""

        def add(_):
            with unit_of_work() as work:
                assert work.tenants.get(TENANT, lock=True) == make_tenant()
                number = len(work.connections.list_of_provider(TENANT, GITHUB))
                work.connections.save(make_connection(account=make_account(id=str(number))))

        race(add, 6)
        with unit_of_work() as work:
            accounts = [one.account.id for one in work.connections.list_of_provider(TENANT, GITHUB)]
        assert sorted(accounts) == [str(number) for number in range(6)]

    def test_nothing_is_added_under_a_lock_once_it_is_erased(self, unit_of_work):
        """Whoever erases a tenant sees all that was written under its lock; after that nobody gets the lock."""

        def act(number):
            try:
                with unit_of_work() as work:
                    if number != 3:
                        work.tenants.get(TENANT, lock=True)
                        work.grants.save(make_grant())
                        return None
                    work.tenants.mark_erased(TENANT, at=NOW)
            except TenantNotFoundError:
                return None
            with unit_of_work() as work:
                return work.grants.count_by_state()

        (seen,) = [found for found in race(act, 6) if found is not None]
        with unit_of_work() as work:
            assert work.grants.count_by_state() == seen

    def test_what_ends_it_can_still_be_stored(self, unit_of_work):
        """Of an erased tenant, what has to go at its providers is stored: a grant that a late answer brings, too."""
        with unit_of_work() as work:
            work.tenants.mark_erased(TENANT, at=NOW)
            work.tenants.erase(TENANT)
            for row in UNFINISHED:
                save(work, row)
            work.schedules.plan(make_schedule_entry(kind=TaskKind.END))
            assert work.grants.get(TENANT, UNFINISHED[0].id) == UNFINISHED[0]

    @pytest.mark.parametrize("row", UNFINISHED, ids=name_of)
    def test_is_known_until_nothing_of_it_is_ending(self, unit_of_work, row):
        """While something of it may be left at a provider, an erased tenant is neither forgotten nor made again."""
        with unit_of_work() as work:
            save(work, row)
            work.tenants.mark_erased(TENANT, at=NOW)
            work.tenants.erase(TENANT)
        with pytest.raises(ConflictError, match="being erased"), unit_of_work() as work:
            work.tenants.record(make_tenant())
        with unit_of_work() as work:
            assert work.tenants.forget_erased(erased_before=LATER) == 0
            with pytest.raises(TenantNotFoundError):
                work.tenants.get(TENANT)
            assert (work.grants.get(TENANT, row.id) or work.subscriptions.get(TENANT, row.id)) == row

    @pytest.mark.parametrize("row", FINISHED, ids=name_of)
    def test_begins_anew_when_nothing_of_it_is_ending(self, unit_of_work, row):
        """Then it can be made again, and has nothing of what it had."""
        again = make_tenant(created_at=NOW + timedelta(days=1))
        with unit_of_work() as work:
            save(work, row)
            work.connections.save(connection := make_connection())
            work.schedules.plan(entry := make_schedule_entry(kind=TaskKind.END))
            work.tenants.mark_erased(TENANT, at=NOW)
            work.tenants.erase(TENANT)
            work.signals.record_all([make_signal(dedupe_key="late")])
        with unit_of_work() as work:
            assert work.tenants.record(again) is Recorded.NEW
            assert work.tenants.record(make_tenant()) is Recorded.DUPLICATE
        with unit_of_work() as work:
            assert work.tenants.get(TENANT) == again
            assert work.grants.get(TENANT, row.id) is None
            assert work.subscriptions.get(TENANT, row.id) is None
            assert work.schedules.find(TENANT, entry.subject_id, entry.kind) is None
            assert work.connections.find_by_account(TENANT, connection.provider, connection.account.id) is None
            assert len(work.signals.record_all([make_signal(dedupe_key="late")])) == 1
            assert work.tenants.forget_erased(erased_before=LATER) == 0

    @pytest.mark.parametrize("row", FINISHED, ids=name_of)
    def test_is_forgotten_when_nothing_of_it_is_ending(self, unit_of_work, row):
        """After a while, and of all tenants only those that were erased before; what others have does not matter."""
        third = TenantId(make_id())
        with unit_of_work() as work:
            save(work, row)
            work.grants.save(make_grant(tenant_id=OTHER_TENANT, ending=Ending(since=NOW), state=GrantState.ENDING))
            work.tenants.record(make_tenant(id=third))
            work.tenants.mark_erased(TENANT, at=NOW)
            work.tenants.mark_erased(third, at=LATER)
            assert work.tenants.forget_erased(erased_before=NOW) == 0
            assert work.tenants.forget_erased(erased_before=LATER) == 1
        with unit_of_work() as work:
            assert work.grants.get(TENANT, row.id) is None
            assert work.subscriptions.get(TENANT, row.id) is None
            assert work.tenants.get(OTHER_TENANT).id == OTHER_TENANT
            assert work.tenants.forget_erased(erased_before=LATER + timedelta(days=1)) == 1

    @pytest.mark.parametrize("is_erased", [False, True])
    def test_one_of_many_records_is_new(self, unit_of_work, is_erased):
        """Of callers that make a tenant at once, new or erased, one learns that it is new and nobody fails."""
        tenant_id = TENANT if is_erased else TenantId(make_id())
        if is_erased:
            with unit_of_work() as work:
                work.tenants.mark_erased(tenant_id, at=NOW)

        def record(_):
            with unit_of_work() as work:
                recorded = work.tenants.record(make_tenant(id=tenant_id))
                assert work.tenants.get(tenant_id).id == tenant_id
                return recorded

        assert sorted(race(record, 6)) == [*[Recorded.DUPLICATE] * 5, Recorded.NEW]

    def test_erasing_keeps_what_the_ending_needs(self, unit_of_work):
        """What is needed to end it at its providers stays until it is forgotten, nothing else; the others keep all."""
        rows = {}
        with unit_of_work() as work:
            for tenant_id in (TENANT, OTHER_TENANT):
                connection = work.connections.save(make_connection(tenant_id=tenant_id))
                grant = make_grant(tenant_id=tenant_id, state=GrantState.ENDED)
                work.grants.save(grant)
                request = make_authorization_request(tenant_id=tenant_id)
                work.authorization_requests.issue(request)
                work.subscriptions.save(make_subscription(tenant_id=tenant_id, connection_id=connection.id))
                delivery = make_delivery(tenant_id=tenant_id)
                work.deliveries.record(delivery)
                work.signals.record_all([make_signal(tenant_id=tenant_id, dedupe_key="one")])
                work.snapshots.save(tenant_id, connection.id, {"file": {"name": "a"}})
                work.jobs.enqueue(make_job(tenant_id=tenant_id, connection_id=connection.id))
                for kind in TaskKind:
                    entry = make_schedule_entry(tenant_id=tenant_id, subject_id=connection.id, kind=kind)
                    work.schedules.plan(entry)
                mine = {"tenant_id": tenant_id, "connection_id": connection.id}
                work.streams.save([make_stream_state(**mine)])
                work.accounts.add(make_account_state(**mine))
                work.parked.save(make_parked_state(**mine))
                proven = {"issues": [make_interval(**mine)]}
                work.coverage.replace_intervals(tenant_id, connection.id, CoveragePath.SYNC, proven)
                work.coverage.open_gap(make_gap(**mine))
                work.idempotency.record(make_answer(tenant_id=tenant_id, key="key"))
                rows[tenant_id] = (connection, grant, request, delivery)

        def left(tenant_id):
            connection, grant, request, delivery = rows[tenant_id]
            with unit_of_work() as work:
                found = {
                    "connections": work.connections.find_by_account(
                        tenant_id, connection.provider, connection.account.id
                    ),
                    "grants": work.grants.get(tenant_id, grant.id),
                    "authorization_requests": work.authorization_requests.find(request.state_hash, now=NOW),
                    "subscriptions": work.subscriptions.list_of_connection(tenant_id, connection.id),
                    "deliveries": work.deliveries.find_by_delivery_id(
                        tenant_id, delivery.provider, delivery.delivery_id
                    ),
                    "signals": work.signals.list_page(tenant_id, PageRequest(limit=9), SignalFilter()).items,
                    "snapshots": work.snapshots.load(tenant_id, connection.id, ["file"]),
                    "streams": work.streams.list(tenant_id, connection.id),
                    "accounts": work.accounts.find(tenant_id, connection.id),
                    "parked": work.parked.list_open(tenant_id, connection.id),
                    "jobs": work.jobs.list_unfinished(tenant_id, connection.id),
                    "coverage": work.coverage.list_intervals(tenant_id, connection.id),
                    "coverage_gaps": work.coverage.list_gaps(tenant_id, connection.id),
                    "idempotency_keys": work.idempotency.find(tenant_id, "key"),
                    **{kind: work.schedules.find(tenant_id, connection.id, kind) for kind in TaskKind},
                }
                return {name for name, rows in found.items() if rows}

        everything = left(OTHER_TENANT)
        assert len(everything) == 14 + len(TaskKind)
        with unit_of_work() as work:
            work.tenants.mark_erased(TENANT, at=NOW)
        assert left(TENANT) == everything
        with unit_of_work() as work:
            work.tenants.erase(TENANT)
        assert left(TENANT) == {"connections", "grants", "subscriptions", TaskKind.END}
        with unit_of_work() as work:
            assert work.tenants.forget_erased(erased_before=LATER) == 1
        assert left(TENANT) == set()
        assert left(OTHER_TENANT) == everything
        with unit_of_work() as work:
            assert work.tenants.record(make_tenant()) is Recorded.NEW
            assert len(work.signals.record_all([make_signal(dedupe_key="one")])) == 1
            assert len(work.signals.record_all([make_signal(dedupe_key="one", tenant_id=OTHER_TENANT)])) == 0

    def test_deliveries_may_belong_to_nobody(self, unit_of_work):
        """A delivery of the unrouted tenant is kept, though that tenant cannot be found, made or erased."""
        with unit_of_work() as work:
            with pytest.raises(TenantNotFoundError):
                work.tenants.get(UNROUTED)
            assert work.tenants.record(make_tenant(id=UNROUTED)) is Recorded.DUPLICATE
            work.tenants.mark_erased(UNROUTED, at=NOW)
            assert work.tenants.forget_erased(erased_before=LATER) == 0
            assert work.tenants.record(make_tenant(id=UNROUTED)) is Recorded.DUPLICATE
            delivery = make_delivery(tenant_id=UNROUTED)
            assert work.deliveries.record(delivery) is Recorded.NEW
            assert work.deliveries.get(UNROUTED, delivery.id) == delivery

    def test_a_tenant_is_recorded_once(self, unit_of_work):
        """Recording a known tenant says DUPLICATE and leaves it as it was."""
        with unit_of_work() as work:
            before = work.tenants.get(TENANT)
            later = make_tenant(created_at=before.created_at.replace(year=2030))
            assert work.tenants.record(later) is Recorded.DUPLICATE
            assert work.tenants.get(TENANT) == before
