"""What every unit of work does, whatever it keeps its rows in."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.ending import Ending
from connectors.domain.model.errors import TenantNotFoundError
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import Recorded
from tests.contracts.stream_rows import CONNECTION, make_account_state, make_parked_state, make_stream_state
from tests.support.builders import (
    NOW,
    OTHER_TENANT,
    TENANT,
    make_answer,
    make_authorization_request,
    make_connection,
    make_delivery,
    make_gap,
    make_grant,
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
            work.grants.save(grant := make_grant())
            work.subscriptions.save(subscription := make_subscription())
            work.streams.save([stream := make_stream_state("a")])
            work.accounts.add(account := make_account_state())
            work.parked.save(item := make_parked_state())
        signal, delivery = make_signal(), make_delivery()
        with pytest.raises(LookupError), unit_of_work() as work:  # noqa: PT012 - the block as a whole fails
            work.connections.save(make_connection(id=kept.id, account=kept.account, status_reason="changed"))
            work.grants.save(attrs.evolve(grant, state=GrantState.ENDING, ending=Ending(since=NOW)))
            work.subscriptions.delete(TENANT, subscription.id)
            work.streams.save([make_stream_state("a", reason="changed"), make_stream_state("b")])
            work.accounts.save(make_account_state(run=2))
            work.parked.save(make_parked_state(failures=9))
            work.signals.record_all([signal])
            work.deliveries.record(delivery)
            work.tenants.mark_erased(TENANT, at=NOW)
            work.tenants.erase(TENANT)
            raise LookupError
        with unit_of_work() as work:
            assert work.tenants.get(TENANT) == make_tenant()
            assert work.connections.get(TENANT, kept.id) == kept
            assert work.grants.get(TENANT, grant.id) == grant
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

    def test_nothing_is_kept_for_unknown_tenants(self, unit_of_work):
        """Writing for a tenant that is not there raises TENANT_NOT_FOUND."""
        with unit_of_work() as work:
            work.tenants.mark_erased(TENANT, at=NOW)
            assert work.tenants.forget_erased(erased_before=NOW + timedelta(seconds=1)) == 1
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
