"""The contracts of all stores, filled by the memory adapters."""

import pytest

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.job_queue import MemoryWorkQueue
from tests.contracts.account_store import AccountStoreContract
from tests.contracts.authorization_request_store import AuthorizationRequestStoreContract
from tests.contracts.connection_store import ConnectionStoreContract
from tests.contracts.coverage_store import CoverageStoreContract
from tests.contracts.delivery_log import DeliveryLogContract
from tests.contracts.grant_store import GrantStoreContract
from tests.contracts.held_rows import HeldRowsContract
from tests.contracts.idempotency_store import IdempotencyStoreContract
from tests.contracts.job_queue import JobQueueContract
from tests.contracts.job_store import JobStoreContract
from tests.contracts.limit_store import LimitStoreContract
from tests.contracts.parked_store import ParkedStoreContract
from tests.contracts.schedule_store import ScheduleStoreContract
from tests.contracts.signal_store import SignalStoreContract
from tests.contracts.snapshot_store import SnapshotStoreContract
from tests.contracts.stream_store import StreamStoreContract
from tests.contracts.subscription_store import SubscriptionStoreContract
from tests.contracts.tenant_store import TenantStoreContract
from tests.contracts.unit_of_work import UnitOfWorkContract


@pytest.fixture
def database():
    return MemoryDatabase()


@pytest.fixture
def empty(database):
    return memory_unit_of_work(database)


class TestAccountStore(AccountStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestAuthorizationRequestStore(AuthorizationRequestStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestConnectionStore(ConnectionStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestCoverageStore(CoverageStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestDeliveryLog(DeliveryLogContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestGrantStore(GrantStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestHeldRows(HeldRowsContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestIdempotencyStore(IdempotencyStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestJobQueue(JobQueueContract):
    @pytest.fixture
    def database(self, clock):
        return MemoryDatabase(clock.now)

    @pytest.fixture
    def unit_of_work(self, empty):
        return empty

    @pytest.fixture
    def waiting(self, database):
        return lambda: [(row.task, row.due_at) for row in database.tasks.values()]

    @pytest.fixture
    def take(self, database):
        queue = MemoryWorkQueue(database)

        def take():
            row = queue.take("one")
            if row is None:
                return None
            queue.finish(row)
            return row.task

        return take


class TestJobStore(JobStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestLimitStore(LimitStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestParkedStore(ParkedStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestScheduleStore(ScheduleStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestSignalStore(SignalStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestSnapshotStore(SnapshotStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestStreamStore(StreamStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestSubscriptionStore(SubscriptionStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestTenantStore(TenantStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestUnitOfWork(UnitOfWorkContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty
