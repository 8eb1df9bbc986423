"""What every unit of work does, whatever it keeps its rows in."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.ids import UNROUTED
from connectors.domain.model.webhook import Recorded
from tests.contracts.stream_rows import CONNECTION, make_account_state, make_parked_state, make_stream_state
from tests.support.builders import (
    OTHER_TENANT,
    TENANT,
    make_answer,
    make_authorization_request,
    make_connection,
    make_delivery,
    make_gap,
    make_grant,
    make_interval,
    make_job,
    make_schedule_entry,
    make_signal,
    make_subscription,
    make_tenant,
)


class StoreContract:
    """What every contract needs: a subclass gives `unit_of_work`, a factory on an empty database; both tenants are in it."""

    @pytest.fixture
    def unit_of_work(self):
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _two_tenants(self, unit_of_work):
        with unit_of_work() as work:
            work.tenants.record(make_tenant())
            work.tenants.record(make_tenant(id=OTHER_TENANT))


def race(task, count=2):
    """The results of so many threads doing the same at once."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(task, number) for number in range(count)]]


class UnitOfWorkContract(StoreContract):
    def test_an_exception_takes_everything_back(self, unit_of_work):
        """A block that raises leaves inserts, updates and deletions of all stores undone."""
        kept = make_connection()
        with unit_of_work() as work:
            work.connections.save(kept)
            work.subscriptions.save(subscription := make_subscription())
            work.streams.save([stream := make_stream_state("a")])
            work.accounts.add(account := make_account_state())
            work.parked.save(item := make_parked_state())
        signal, delivery = make_signal(), make_delivery()
        with pytest.raises(LookupError), unit_of_work() as work:  # noqa: PT012 - the block as a whole fails
            work.connections.save(make_connection(id=kept.id, account=kept.account, status_reason="changed"))
            work.subscriptions.delete(TENANT, subscription.id)
            work.streams.save([make_stream_state("a", reason="changed"), make_stream_state("b")])
            work.accounts.save(make_account_state(run=2))
            work.parked.save(make_parked_state(failures=9))
            work.signals.record_all([signal])
            work.deliveries.record(delivery)
            raise LookupError
        with unit_of_work() as work:
            assert work.connections.get(TENANT, kept.id) == kept
            assert work.subscriptions.get(TENANT, subscription.id) == subscription
            assert work.streams.list(TENANT, CONNECTION) == [stream]
            assert work.accounts.find(TENANT, CONNECTION) == account
            assert work.parked.list_open(TENANT, CONNECTION) == [item]
            assert work.deliveries.record(delivery) is Recorded.NEW
            assert len(work.signals.record_all([signal])) == 1

    def test_sees_its_own_writes(self, unit_of_work):
        """What a block wrote it reads back before the commit."""
        with unit_of_work() as work:
            connection = work.connections.save(make_connection())
            assert work.connections.get(TENANT, connection.id) == connection

    def test_erasing_a_tenant_erases_all_it_has(self, unit_of_work):
        """After `delete` nothing of the tenant is left, and everything of the others."""
        rows = {}
        with unit_of_work() as work:
            for tenant_id in (TENANT, OTHER_TENANT):
                connection = work.connections.save(make_connection(tenant_id=tenant_id))
                grant = work.grants.save(make_grant(tenant_id=tenant_id))
                request = make_authorization_request(tenant_id=tenant_id)
                work.authorization_requests.issue(request)
                work.subscriptions.save(make_subscription(tenant_id=tenant_id, connection_id=connection.id))
                delivery = make_delivery(tenant_id=tenant_id)
                work.deliveries.record(delivery)
                work.signals.record_all([make_signal(tenant_id=tenant_id, dedupe_key="one")])
                work.snapshots.save(tenant_id, connection.id, {"file": {"name": "a"}})
                work.jobs.enqueue(make_job(tenant_id=tenant_id, connection_id=connection.id))
                entry = make_schedule_entry(tenant_id=tenant_id)
                work.schedules.plan(entry)
                mine = {"tenant_id": tenant_id, "connection_id": connection.id}
                work.streams.save([make_stream_state(**mine)])
                work.accounts.add(make_account_state(**mine))
                work.parked.save(make_parked_state(**mine))
                proven = {"issues": [make_interval(**mine)]}
                work.coverage.replace_intervals(tenant_id, connection.id, CoveragePath.SYNC, proven)
                work.coverage.open_gap(make_gap(**mine))
                work.idempotency.record(make_answer(tenant_id=tenant_id, key="key"))
                rows[tenant_id] = (connection, grant, request, delivery, entry)

        def left(tenant_id):
            connection, grant, request, delivery, entry = rows[tenant_id]
            with unit_of_work() as work:
                return [
                    work.connections.find_by_account(tenant_id, connection.provider, connection.account.id) is not None,
                    work.grants.get(tenant_id, grant.id) is not None,
                    work.authorization_requests.find(request.state_hash, now=request.created_at) is not None,
                    len(work.subscriptions.list_of_connection(tenant_id, connection.id)) == 1,
                    work.deliveries.find_by_delivery_id(tenant_id, delivery.provider, delivery.delivery_id) is not None,
                    bool(work.snapshots.load(tenant_id, connection.id, ["file"])),
                    bool(work.streams.list(tenant_id, connection.id)),
                    work.accounts.find(tenant_id, connection.id) is not None,
                    bool(work.parked.list_open(tenant_id, connection.id)),
                    bool(work.jobs.list_unfinished(tenant_id, connection.id)),
                    work.schedules.find(tenant_id, entry.subject_id, entry.kind) is not None,
                    bool(work.coverage.list_intervals(tenant_id, connection.id)),
                    bool(work.coverage.list_gaps(tenant_id, connection.id)),
                    work.idempotency.find(tenant_id, "key") is not None,
                ]

        with unit_of_work() as work:
            assert work.tenants.delete(TENANT)
            assert not work.tenants.delete(TENANT)
            with pytest.raises(TenantNotFoundError):
                work.tenants.get(TENANT)
        assert not any(left(TENANT))
        assert all(left(OTHER_TENANT))
        with unit_of_work() as work:
            work.tenants.record(make_tenant())
            assert len(work.signals.record_all([make_signal(dedupe_key="one")])) == 1
            assert len(work.signals.record_all([make_signal(dedupe_key="one", tenant_id=OTHER_TENANT)])) == 0

    def test_nothing_is_kept_for_unknown_tenants(self, unit_of_work):
        """Writing for a tenant that is not there raises TENANT_NOT_FOUND."""
        with unit_of_work() as work:
            work.tenants.delete(TENANT)
        for write in (
            lambda work: work.connections.save(make_connection()),
            lambda work: work.grants.save(make_grant()),
            lambda work: work.authorization_requests.issue(make_authorization_request()),
            lambda work: work.subscriptions.save(make_subscription()),
            lambda work: work.deliveries.record(make_delivery()),
            lambda work: work.signals.record_all([make_signal()]),
            lambda work: work.snapshots.save(TENANT, make_job().connection_id, {"a": {}}),
            lambda work: work.streams.save([make_stream_state()]),
            lambda work: work.accounts.add(make_account_state()),
            lambda work: work.parked.save(make_parked_state()),
            lambda work: work.jobs.enqueue(make_job()),
            lambda work: work.schedules.plan(make_schedule_entry()),
            lambda work: work.schedules.ensure(make_schedule_entry()),
            lambda work: work.coverage.open_gap(make_gap()),
            lambda work: work.idempotency.record(make_answer()),
        ):
            with pytest.raises(TenantNotFoundError), unit_of_work() as work:
                write(work)

    def test_deliveries_may_belong_to_nobody(self, unit_of_work):
        """A delivery of the unrouted tenant is kept, though that tenant cannot be found, made or erased."""
        with unit_of_work() as work:
            with pytest.raises(TenantNotFoundError):
                work.tenants.get(UNROUTED)
            assert work.tenants.record(make_tenant(id=UNROUTED)) is Recorded.DUPLICATE
            assert not work.tenants.delete(UNROUTED)
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
