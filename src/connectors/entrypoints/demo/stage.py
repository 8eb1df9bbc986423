"""The stage: a database, the API and the sandbox, all in this process, on free loopback ports."""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import attrs
from flask import Flask
from werkzeug.serving import make_server

from connectors.adapters.system.settings import Settings
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import JobType
from connectors.entrypoints.demo.scenes import Scene
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import from_loaded, load
from connectors.entrypoints.sandbox import SandboxServer, create_sandbox
from connectors.entrypoints.sandbox.server import QuietHandler
from connectors.entrypoints.server import create_api


@attrs.frozen(kw_only=True)
class Stage:
    """What a demonstration plays on."""

    api_url: str
    operator_token: str = attrs.field(repr=False)
    redirect_uri: str
    sandbox: SandboxServer
    read: Callable[[str, str], None]
    """Run a connection's incremental sync now (tenant id, connection id), as a worker does in the background."""


@contextmanager
def open_stage(scenes: Sequence[Scene], data_dir: Path, port: int = 0) -> Iterator[Stage]:
    """The stage, for as long as the block lasts.

    Args:
        scenes: whose providers to configure.
        data_dir: where the embedded database lives, or is made.
        port: the API's; 0 picks a free one.

    Raises:
        SettingsError: the data folder is of no use.
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    with SandboxServer(create_sandbox(auto_consent=True)) as sandbox:
        # The socket first: our settings name the port that providers deliver to.
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
            with from_loaded(settings) as connectors:
                server.app = create_api(connectors, settings.operators, settings)
                thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="api", daemon=True)
                thread.start()
                try:
                    yield Stage(
                        api_url=api_url,
                        operator_token=token,
                        redirect_uri=redirect_uri,
                        sandbox=sandbox,
                        read=partial(_read, connectors),
                    )
                finally:
                    server.shutdown()
                    thread.join()
        finally:
            server.server_close()


def _read(connectors: Connectors, tenant: str, connection: str) -> None:
    tenant_id = TenantId(UUID(tenant))
    job = connectors.sync.request(tenant_id, ConnectionId(UUID(connection)), JobType.INCREMENTAL)
    connectors.sync.run(tenant_id, job.id)
