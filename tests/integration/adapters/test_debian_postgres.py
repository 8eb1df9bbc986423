"""The contracts against a server that somebody else made: the distribution's, over TCP, with a password."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest

from connectors.adapters.postgres import create_engine, migrate, postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.errors import InfrastructureError
from tests.contracts.account_store import AccountStoreContract
from tests.contracts.authorization_request_store import AuthorizationRequestStoreContract
from tests.contracts.connection_store import ConnectionStoreContract
from tests.contracts.coverage_store import CoverageStoreContract
from tests.contracts.delivery_log import DeliveryLogContract
from tests.contracts.grant_store import GrantStoreContract
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
from tests.contracts.unit_of_work import UnitOfWorkContract
from tests.integration.conftest import empty_database
from tests.support.queue import open_queue

PASSWORD = "p@ss/w:rd%"


@pytest.fixture(scope="module")
def server_url():
    """The URL of a throw-away server of the distribution's newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL of the distribution is installed in /usr/lib/postgresql")
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    programs = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="poblysh-test-"))
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    if user is not None:
        os.chown(folder, user, -1)
        os.chown(password_file, user, -1)
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "poblysh", "-E", "UTF8", "--auth=scram-sha-256"]
    subprocess.run([*initdb, f"--pwfile={password_file}"], user=user, check=True, capture_output=True, cwd="/")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    control = [programs / "pg_ctl", "-D", data, "-w"]
    started = subprocess.run(
        [*control, "-l", folder / "log", "-o", options, "start"],
        user=user,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    assert started.returncode == 0, (folder / "log").read_text()
    try:
        yield f"postgresql://poblysh:p%40ss%2Fw%3Ard%25@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], user=user, check=True, capture_output=True, cwd="/")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def engine(server_url):
    """An engine on the migrated database."""
    engine = create_engine(server_url)
    migrate.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def queue(server_url, engine):
    """Its job queue."""
    with open_queue(server_url) as queue:
        yield queue


@pytest.fixture
def empty(engine, queue):
    empty_database(engine)
    queue.empty()
    return postgres_unit_of_work(engine, ProcrastinateJobQueue)


def test_a_wrong_password_is_not_repeated(server_url):
    """A refused login is an infrastructure error that shows neither password."""
    engine = create_engine(server_url.replace("p%40ss", "hunter2"))
    with pytest.raises(InfrastructureError) as caught:
        migrate.current(engine)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(engine)
    engine.dispose()


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


class TestIdempotencyStore(IdempotencyStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestJobQueue(JobQueueContract):
    @pytest.fixture
    def unit_of_work(self, empty, engine, clock):
        return postgres_unit_of_work(engine, partial(ProcrastinateJobQueue, now=clock.now))

    @pytest.fixture
    def waiting(self, queue):
        return queue.waiting

    @pytest.fixture
    def take(self, queue):
        return queue.take


class TestJobStore(JobStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestLimitStore(LimitStoreContract):
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


class TestSubscriptionStore(SubscriptionStoreContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty


class TestParkedStore(ParkedStoreContract):
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


class TestUnitOfWork(UnitOfWorkContract):
    @pytest.fixture
    def unit_of_work(self, empty):
        return empty
