"""The contracts of all stores, filled by PostgreSQL."""

import pytest

from connectors.adapters.postgres import postgres_unit_of_work
from tests.contracts.authorization_request_store import AuthorizationRequestStoreContract
from tests.contracts.connection_store import ConnectionStoreContract
from tests.contracts.delivery_log import DeliveryLogContract
from tests.contracts.grant_store import GrantStoreContract
from tests.contracts.signal_store import SignalStoreContract
from tests.contracts.subscription_store import SubscriptionStoreContract
from tests.contracts.sync_stores import SyncStoresContract
from tests.contracts.unit_of_work import UnitOfWorkContract


@pytest.fixture
def empty(clean_engine):
    return postgres_unit_of_work(clean_engine)


class TestAuthorizationRequestStore(AuthorizationRequestStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestConnectionStore(ConnectionStoreContract):
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


class TestSignalStore(SignalStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestSubscriptionStore(SubscriptionStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestSyncStores(SyncStoresContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestUnitOfWork(UnitOfWorkContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty
