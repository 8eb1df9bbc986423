"""The API under gunicorn: one parent that owns the embedded database, and worker processes with threads."""

import os
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from connectors.adapters.prometheus.multiprocess import forget_process
from connectors.adapters.prometheus.telemetry import PrometheusTelemetry
from connectors.adapters.system.operators import OperatorTokens
from connectors.adapters.system.settings import Settings
from connectors.entrypoints.flask.app import create_app
from connectors.entrypoints.flask.settings import ApiSettings
from connectors.entrypoints.gunicorn_logs import PropagatingLogger
from connectors.entrypoints.gunicorn_worker import ProblemWorker
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import Database, production_container

THREADS = 16
"""Per worker process. Requests mostly wait for the database; its pool has 20 connections a process."""

GRACE_SECONDS = 20
"""How long a worker may finish its requests after SIGTERM. GitHub gives up on a delivery after 10 s."""


def api_settings(settings: Settings) -> ApiSettings:
    """The settings that concern the API."""
    service = settings.service
    limit = service.webhook_rate_limit
    return ApiSettings(
        max_body_bytes=service.webhook_max_bytes,
        webhook_rate_limit=f"{limit}/minute" if limit else None,
        trusted_proxy_hops=service.trusted_proxy_hops,
        version=version("poblysh-connectors"),
    )


def create_api(connectors: Connectors, operators: OperatorTokens, settings: Settings) -> Flask:
    """The API in front of this system."""
    return create_app(connectors, operators, api_settings(settings))


def _leave_ctrl_c_to_the_parent(_worker: Any) -> None:
    # A terminal sends SIGINT to the parent and to the workers, and the parent at once tells its workers to quit. A
    # worker that gets the second signal while it handles the first waits for itself, until it is killed at the end of
    # the grace period.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class ConnectorsServer(BaseApplication):  # type: ignore[misc]  # gunicorn publishes no types
    """The API as a gunicorn application, configured by our settings alone."""

    def __init__(
        self, settings: Settings, database: Database, configure_worker: Callable[[], None], metrics_directory: Path
    ) -> None:
        self._metrics_directory = metrics_directory
        self._settings = settings
        self._database = database
        self._configure_worker = configure_worker
        super().__init__()

    def load_config(self) -> None:
        """Give our settings to gunicorn."""
        service = self._settings.service
        options: dict[str, Any] = {
            "bind": str(service.bind),
            "workers": service.workers,
            "threads": THREADS,
            "worker_class": ProblemWorker,
            "graceful_timeout": GRACE_SECONDS,
            "control_socket_disable": True,
            "post_worker_init": _leave_ctrl_c_to_the_parent,
            "child_exit": lambda _server, worker: forget_process(self._metrics_directory, worker.pid),
            "logger_class": PropagatingLogger,
            "accesslog": None,
            "proc_name": "connectors",
            "limit_request_line": 8190,
            "keepalive": 5,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108, PTH112 - gunicorn's heartbeat
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """The API, built in the worker process."""
        self._configure_worker()
        telemetry = PrometheusTelemetry(shared_in=self._metrics_directory)
        connectors = Connectors.assemble(production_container(self._database, self._settings, telemetry=telemetry))
        return create_api(connectors, self._settings.operators, self._settings)
