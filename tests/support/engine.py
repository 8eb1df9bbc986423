"""The engine as operators run it: worker processes on a real database, reading the sandbox."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import attrs
from flask import request

from connectors.adapters.postgres import create_engine
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.sync import JobFilter, JobType
from connectors.entrypoints.library import Connectors
from tests.support.service import (
    COMMAND,
    CORE_CALLBACK,
    STOP_TIMEOUT,
    clean_environment,
    database_settings,
    github_sandbox,
    github_settings,
    plain_session,
)

PROJECT = Path(__file__).parents[2]

WORKER = (str(COMMAND), "worker")
QUICK_WORKER = (sys.executable, "-m", "tests.support.quick_worker")


class WorkerProcess:
    """One `connectors worker`, or one that notices the dead sooner."""

    def __init__(self, folder, environment, command=WORKER):
        self.folder, self.environment, self.command = folder, environment, command
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / "worker.log"
        self.process = None

    @property
    def log(self):
        """All that it has written."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self):
        """Start it; it needs no time to be ready that anybody would have to wait for."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                env=self.environment,
                cwd=self.folder if self.command is WORKER else PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT)

    def stop(self):
        """Tell it to end, and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end: {self.log[-4000:]}") from None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.stop()


@attrs.define
class Rig:
    """A database, a sandbox with GitHub in it, and the words to act on both."""

    folder: object
    server: object
    environment: dict
    connectors: object
    engine: object
    requests: list
    """What the sandbox was asked, path and query."""
    workers: list = attrs.field(factory=list)

    @property
    def github(self):
        """GitHub's side."""
        return self.server.sandbox.github

    def worker(self, command=QUICK_WORKER, **settings):
        """One more worker process, not started."""
        environment = clean_environment(**{**self.environment, **settings})
        worker = WorkerProcess(self.folder / f"worker-{len(self.workers)}", environment, command)
        self.workers.append(worker)
        return worker

    def connect(self, *repositories, tenant_id=None, user="ada"):
        """A connection to these repositories, for a tenant of its own unless told otherwise."""
        tenant_id = TenantId(tenant_id or uuid4())
        started = self.connectors.connect.start_authorization(
            tenant_id, "github", options={"repositories": list(repositories)}
        )
        with plain_session() as session:
            answer = session.get(f"{started.authorize_url}&sandbox_user={user}", allow_redirects=False, timeout=30)
        location = answer.headers["location"]
        assert location.startswith(CORE_CALLBACK), location
        query = dict(pair.split("=", 1) for pair in location.partition("?")[2].split("&"))
        return self.connectors.connect.complete_authorization("github", query)[0]

    def backfill(self, connection, since):
        """A backfill of all since then, queued."""
        return self.connectors.jobs.request(connection.tenant_id, connection.id, JobType.BACKFILL, since=since)

    def job(self, job):
        """It, as it is now; a database that is away is waited for."""
        for _ in range(100):
            try:
                with self.connectors.sync.unit_of_work() as uow:
                    return uow.jobs.get(job.tenant_id, job.id)
            except InfrastructureError:
                time.sleep(0.1)
        raise AssertionError("the database does not come back")

    def jobs(self, connection):
        """The connection's jobs, newest first."""
        with self.connectors.sync.unit_of_work() as uow:
            where = JobFilter(connection_id=connection.id)
            return uow.jobs.list_page(connection.tenant_id, PageRequest(limit=100), where).items

    def until(self, condition, seconds=120.0):
        """Wait until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(worker.log[-3000:] for worker in self.workers)
                raise AssertionError(f"not in {seconds} s; the workers say:\n{logs}")
            time.sleep(0.05)

    def until_idle(self, connection, seconds=120.0):
        """Wait until the connection has no job that is yet to end."""
        self.until(lambda: not self.connectors.jobs.unfinished(connection.tenant_id, connection.id), seconds)

    def scalar(self, query, **values):
        """One value from the database."""
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(query, values or None).scalar()

    def kinds(self, connection):
        """The kinds of all signals of the connection's tenant."""
        with self.engine.connect() as database:
            rows = database.exec_driver_sql(
                "SELECT kind FROM signals WHERE tenant_id = %(tenant)s", {"tenant": connection.tenant_id}
            )
            return [kind for (kind,) in rows]

    def keys(self, connection):
        """The dedupe keys of all signals of the connection's tenant."""
        with self.engine.connect() as database:
            rows = database.exec_driver_sql(
                "SELECT dedupe_key FROM signals WHERE tenant_id = %(tenant)s", {"tenant": connection.tenant_id}
            )
            return sorted(key for (key,) in rows)


@contextmanager
def open_rig(folder, database_url, **settings):
    """The rig, for as long as the block lasts; its workers end with it."""
    with github_sandbox() as server:
        server.sandbox.github.hourly_limit = 10_000_000
        environment = {
            **database_settings(database_url),
            **github_settings(server),
            "POBLYSH_OAUTH_REDIRECT_URI": CORE_CALLBACK,
            "POBLYSH_OPERATOR_TOKEN": "rig",
            "POBLYSH_DATA_DIR": str(folder / "data"),
            **settings,
        }
        requests = []
        server.sandbox.app.before_request(lambda: requests.append(request.full_path))
        with Connectors.from_settings(environment) as connectors:
            engine = create_engine(database_url)
            rig = Rig(folder, server, environment, connectors, engine, requests)
            try:
                yield rig
            finally:
                for worker in rig.workers:
                    worker.__exit__()
                engine.dispose()
