"""The ports of the real system: PostgreSQL, the providers over HTTPS, and what the settings say."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import Engine

from connectors.adapters.aesgcm import AesGcmVault, KeyRing
from connectors.adapters.postgres.embedded import start_embedded
from connectors.adapters.postgres.engine import create_engine
from connectors.adapters.postgres.migrate import HEAD, current, is_current, upgrade
from connectors.adapters.postgres.unit_of_work import postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.adapters.requests.provider_api import RequestsProviderApi
from connectors.adapters.requests.token_endpoint import RequestsTokenEndpoint
from connectors.adapters.requests.transport import OutboundLimits, Transport
from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.entropy import SystemEntropy
from connectors.adapters.system.key_file import resolve_key_ring
from connectors.adapters.system.settings import Settings, load_settings, read_settings
from connectors.adapters.system.single_flight import ThreadSingleFlight
from connectors.domain.flows.connections.authorization import ConnectSettings
from connectors.domain.flows.provider_access.tokens import LEASE_LIFETIME
from connectors.domain.flows.reading.concurrency import ConcurrencySettings
from connectors.domain.flows.reading.housekeeping import RetentionSettings
from connectors.domain.flows.reading.schedule import ScheduleSettings
from connectors.domain.model.errors import ConnectorsError, InfrastructureError
from connectors.domain.model.secret import Secret
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors.entrypoints.container import Container, FlowSettings, Ports, Readiness, fill
from connectors.entrypoints.task_handler import TaskHandler
from connectors.ports.clock import Clock
from connectors.ports.telemetry import NullTelemetry, Telemetry

if TYPE_CHECKING:
    from connectors.adapters.procrastinate.worker import QueueWorker, WorkerOptions

log = logging.getLogger(__name__)

DATABASE_FOLDER = "postgres"
"""Below the data folder: the embedded database."""


def load(environment: Mapping[str, str] | None = None, registry: ProviderRegistry | None = None) -> Settings:
    """The settings, checked.

    Raises:
        SettingsError: one is wrong.
    """
    registry = registry or installed_providers()
    if environment is not None:
        return read_settings(environment, registry)
    return load_settings(registry)


@attrs.frozen(kw_only=True)
class Database:
    """A database that is reachable and up to date, and the keys to the secrets in it."""

    url: Secret
    keys: KeyRing
    stop: Callable[[], None]
    """Release it: the embedded one ends with its last user, any other one is not ours to stop."""


def prepare(settings: Settings) -> Database:
    """The database, started if it is the embedded one, its tables up to date.

    Raises:
        SettingsError: the vault's keys are missing, or the data folder cannot be used.
        InfrastructureError: the database cannot be reached, or its tables are not up to date.
    """
    keys = resolve_key_ring(settings.service)
    url, stop = open_database(settings)
    try:
        with open_engine(settings, url) as engine:
            if settings.service.database_url is None:
                upgrade(engine)
            elif not is_current(engine):
                raise InfrastructureError(
                    "The database's tables are not up to date.", next_step="Run `connectors db upgrade`."
                )
    except BaseException:
        stop()
        raise
    return Database(url=url, keys=keys, stop=stop)


@contextmanager
def open_engine(settings: Settings, url: Secret) -> Iterator[Engine]:
    """A pool for a short check of the database; its errors name the setting to check, without the password.

    Raises:
        InfrastructureError: the database cannot be reached, or the block raised it.
    """
    engine = create_engine(url.reveal())
    try:
        yield engine
    except InfrastructureError as error:
        given = settings.service.database_url
        if given is None or error.next_step is not None:
            raise
        raise InfrastructureError(error.message, next_step=f"POBLYSH_DATABASE_URL is {given}.") from None
    finally:
        engine.dispose()


def open_database(settings: Settings) -> tuple[Secret, Callable[[], None]]:
    """The database's URL, and how to release it.

    Raises:
        SettingsError: the embedded database cannot be started in the data folder.
    """
    service = settings.service
    if service.database_url is not None:
        return service.database_url.secret, lambda: None
    embedded = start_embedded(service.data_dir / DATABASE_FOLDER)
    return Secret(embedded.url), embedded.stop


def open_container(environment: Mapping[str, str] | None = None) -> Container:
    """The ports on a database that is prepared here and released when the system is closed.

    Args:
        environment: see `load`.

    Raises:
        SettingsError: a setting is missing or wrong, or the data folder cannot be used.
        InfrastructureError: the database cannot be reached, or its tables are not up to date.
    """
    registry = installed_providers()
    for plugin in registry.skipped:
        log.warning(str(plugin))
    settings = load(environment, registry)
    database = prepare(settings)
    try:
        return production_container(database, settings, registry, on_close=database.stop)
    except BaseException:
        database.stop()
        raise


def production_container(
    database: Database,
    settings: Settings,
    registry: ProviderRegistry | None = None,
    *,
    on_close: Callable[[], None] = lambda: None,
    telemetry: Telemetry | None = None,
    clock: Clock | None = None,
) -> Container:
    """The ports on a prepared database. Each process makes its own: connection pools do not survive a fork.

    Args:
        database: the database.
        settings: the operator's.
        registry: other providers than the installed ones.
        on_close: called last when the system is closed.
        telemetry: counts what happens; None counts nothing.
        clock: another than the machine's. The queue uses the database's in any case.
    """
    service = settings.service
    engine = create_engine(database.url.reveal())
    transport = Transport(
        OutboundLimits(
            timeout=service.outbound_timeout, max_bytes=service.outbound_max_bytes, ca_file=service.outbound_ca_file
        )
    )

    def close() -> None:
        transport.close()
        engine.dispose()
        on_close()

    return fill(
        Ports(
            # Whoever brings a clock sets the time for all.
            unit_of_work=postgres_unit_of_work(engine, ProcrastinateJobQueue, None if clock is None else clock.now),
            vault=AesGcmVault(database.keys),
            clock=clock or SystemClock(),
            entropy=SystemEntropy(),
            single_flight=ThreadSingleFlight(),
            provider_api=RequestsProviderApi(transport),
            token_endpoint=RequestsTokenEndpoint(transport),
            telemetry=telemetry or NullTelemetry(),
            settings=_flow_settings(settings, registry or installed_providers()),
            empty_queue=lambda tasks: empty_queue(database, settings, tasks),
            check_readiness=lambda: readiness_of(engine),
            close=close,
        )
    )


def _flow_settings(settings: Settings, registry: ProviderRegistry) -> FlowSettings:
    service = settings.service
    return FlowSettings(
        providers=registry,
        apps=settings.apps,
        public_url=service.public_url,
        connect=ConnectSettings(
            redirect_uri=service.oauth_redirect_uri,
            allowed_redirect_uris=service.oauth_allowed_redirect_uris or (),
            state_lifetime=service.oauth_state_lifetime,
            backfill=service.backfill,
        ),
        schedule=ScheduleSettings(interval=service.sync_interval, intervals=settings.sync_intervals),
        retention=RetentionSettings(deliveries=service.delivery_retention, jobs=service.job_retention),
        concurrency=ConcurrencySettings(
            per_tenant=service.tenant_concurrency,
            per_provider=service.provider_concurrency,
            providers=settings.provider_concurrency,
        ),
        # With a longer timeout, a refresh may take longer: once to connect, once for the headers, once for the body.
        lease_lifetime=max(LEASE_LIFETIME, 3 * service.outbound_timeout),
        time_slice=service.job_time_slice,
        ending_lifetime=service.ending_lifetime,
    )


def open_worker(
    database: Database, settings: Settings, tasks: TaskHandler, options: "WorkerOptions | None" = None
) -> "QueueWorker":
    """A worker on the database's queue, not started.

    Args:
        database: whose queue.
        settings: say how many tasks run at once.
        tasks: runs them.
        options: instead of the default ones with the settings' concurrency.
    """
    # Only workers need this import, and it takes half a second.
    from connectors.adapters.procrastinate.worker import QueueWorker, WorkerOptions  # noqa: PLC0415

    return QueueWorker(
        database.url.reveal(),
        tasks.handle,
        tasks.requeue,
        tasks.tick,
        options or WorkerOptions(concurrency=settings.service.worker_concurrency),
    )


def empty_queue(database: Database, settings: Settings, tasks: TaskHandler) -> int:
    """Run all tasks that are due; how many there were."""
    done = 0
    while True:
        worker = open_worker(database, settings, tasks)
        worker.run(wait=False)
        if not worker.tasks_done:
            return done
        done += worker.tasks_done  # a task that waited for one of these may run now


def readiness_of(engine: Engine) -> Readiness:
    """Whether the database is reachable, and whether its tables and the queue's are up to date.

    It does not check for workers: the API takes requests and webhooks without one.
    """
    stale = "not up to date: run `connectors db upgrade`"
    try:
        if is_current(engine):
            return Readiness({"database": "ok", "migrations": "ok", "queue": "ok"})
        if current(engine) == HEAD:
            return Readiness({"database": "ok", "migrations": "ok", "queue": stale})
    except ConnectorsError as error:
        return Readiness({"database": error.message, "migrations": "unknown", "queue": "unknown"})
    return Readiness({"database": "ok", "migrations": stale, "queue": "unknown"})
