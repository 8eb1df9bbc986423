"""The stage of the demonstration: a database, the API, a worker and the sandbox, on free loopback ports."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import attrs
from flask import Flask
from werkzeug.serving import make_server

from connectors.adapters.procrastinate.worker import WorkerOptions
from connectors.adapters.system.settings import Settings
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import JobType
from connectors.entrypoints.demo.scenes import Scene
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import load, open_worker, prepare, production_container
from connectors.entrypoints.server import create_api
from connectors_sandbox import SandboxServer, create_sandbox
from connectors_sandbox.server import QuietHandler

POLL = timedelta(milliseconds=50)
"""How often the worker looks for tasks whose lock is free again: somebody watches, and each account has several."""

MAX_WAIT = 60
"""Seconds until a read that does not end is given up. It takes a fraction of a second."""


@attrs.frozen(kw_only=True)
class Stage:
    """The running services of a demonstration."""

    api_url: str
    operator_token: str = attrs.field(repr=False)
    redirect_uri: str
    sandbox: SandboxServer
    read: Callable[[str, str], None]
    """Requests an incremental read (tenant id, connection id) and waits until the connection has no unfinished job."""


@contextmanager
def open_stage(scenes: Sequence[Scene], data_dir: Path, port: int = 0) -> Iterator[Stage]:
    """The stage, until the block ends.

    Args:
        scenes: whose providers to configure.
        data_dir: where the embedded database is, or is created.
        port: the API's; 0 picks a free one.

    Raises:
        SettingsError: the data folder cannot be used.
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    with SandboxServer(create_sandbox(auto_consent=True)) as sandbox:
        # The socket comes first: the settings name the port that providers deliver to.
        server = make_server("127.0.0.1", port, Flask("starting"), threaded=True, request_handler=QuietHandler)
        api_url = f"http://127.0.0.1:{server.server_port}"
        redirect_uri = f"{api_url}/core/callback"
        environment = {
            "POBLYSH_OPERATOR_TOKEN": token,
            "POBLYSH_DATA_DIR": str(data_dir),
            "POBLYSH_PUBLIC_URL": api_url,
            "POBLYSH_OAUTH_REDIRECT_URI": redirect_uri,
        }
        for scene in scenes:
            scene.prepare(sandbox.sandbox, redirect_uri)
            environment.update(scene.settings(sandbox))
        settings: Settings = load(environment)
        try:
            database = prepare(settings)
            container = production_container(database, settings, on_close=database.stop)
            with Connectors.assemble(container) as connectors:
                server.app = create_api(connectors, settings.operators, settings)
                worker = open_worker(database, settings, connectors.tasks, WorkerOptions(poll=POLL))
                with (
                    _running("api", partial(server.serve_forever, 0.05), server.shutdown),
                    _running("worker", worker.run, worker.stop),
                ):
                    yield Stage(
                        api_url=api_url,
                        operator_token=token,
                        redirect_uri=redirect_uri,
                        sandbox=sandbox,
                        read=partial(_read, connectors),
                    )
        finally:
            server.server_close()


@contextmanager
def _running(name: str, run: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Run something in a thread until the block ends."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()


def _read(connectors: Connectors, tenant: str, connection: str) -> None:
    tenant_id, connection_id = TenantId(UUID(tenant)), ConnectionId(UUID(connection))
    connectors.jobs.request(tenant_id, connection_id, JobType.INCREMENTAL)
    deadline = time.monotonic() + MAX_WAIT
    while time.monotonic() < deadline:
        if not connectors.jobs.unfinished(tenant_id, connection_id):
            return
        time.sleep(0.02)
    raise TimeoutError(f"the worker has not read connection {connection} in {MAX_WAIT} seconds")
