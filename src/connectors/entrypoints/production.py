"""The real system: which adapters fill the ports on PostgreSQL, as the settings say."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from dependency_injector import providers
from sqlalchemy import Engine

from connectors.adapters.aesgcm import AesGcmVault
from connectors.adapters.postgres.embedded import start_embedded
from connectors.adapters.postgres.engine import create_engine
from connectors.adapters.postgres.migrate import is_current, upgrade
from connectors.adapters.postgres.unit_of_work import postgres_unit_of_work
from connectors.adapters.requests.provider_api import RequestsProviderApi
from connectors.adapters.requests.token_endpoint import RequestsTokenEndpoint
from connectors.adapters.requests.transport import OutboundLimits, Transport
from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.entropy import SystemEntropy
from connectors.adapters.system.key_file import resolve_key_ring
from connectors.adapters.system.settings import Settings, read_dotenv, read_settings
from connectors.domain.flows.connect import ConnectSettings
from connectors.domain.model.errors import ConnectorsError, InfrastructureError
from connectors.domain.model.ids import UNROUTED
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors.entrypoints.container import Container
from connectors.entrypoints.library import Connectors, Readiness

DATABASE_FOLDER = "postgres"
"""Of the embedded database, below the data folder."""


def from_settings(environment: Mapping[str, str] | None = None) -> Connectors:
    """What `Connectors.from_settings` says."""
    return from_loaded(load(environment))


def load(environment: Mapping[str, str] | None = None, registry: ProviderRegistry | None = None) -> Settings:
    """The settings, checked.

    Raises:
        SettingsError: one is wrong.
    """
    registry = registry or installed_providers()
    if environment is not None:
        return read_settings(environment, registry)
    return read_settings(os.environ, registry, read_dotenv(Path.cwd() / ".env"))


def from_loaded(settings: Settings, registry: ProviderRegistry | None = None) -> Connectors:
    """The real system, as these settings say. Raises like `from_settings`."""
    service = settings.service
    vault = AesGcmVault(resolve_key_ring(service))
    url, stop_database = open_database(settings)
    engine = create_engine(url)

    transport = Transport(
        OutboundLimits(
            timeout=service.outbound_timeout, max_bytes=service.outbound_max_bytes, ca_file=service.outbound_ca_file
        )
    )

    def close() -> None:
        transport.close()
        engine.dispose()
        stop_database()

    try:
        if service.database_url is None:
            upgrade(engine)
        elif not is_current(engine):
            raise InfrastructureError(
                "The database's tables are not up to date.", next_step="Run `connectors db upgrade`."
            )
        container = Container(
            unit_of_work=providers.Object(postgres_unit_of_work(engine)),
            vault=vault,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            provider_api=RequestsProviderApi(transport),
            token_endpoint=RequestsTokenEndpoint(transport),
            registry=registry or installed_providers(),
            apps=providers.Object(settings.apps),
            connect_settings=ConnectSettings(
                redirect_uri=service.oauth_redirect_uri,
                allowed_redirect_uris=service.oauth_allowed_redirect_uris or (),
                state_lifetime=service.oauth_state_lifetime,
                backfill=service.backfill,
            ),
            public_url=providers.Object(service.public_url),
            check_readiness=providers.Object(lambda: _readiness(engine)),
            close=providers.Object(close),
        )
        return container.connectors()
    except BaseException:
        close()
        raise


def open_database(settings: Settings) -> tuple[str, Callable[[], None]]:
    """The database's URL and how to let go of it: nothing to do for a configured one, the embedded one is left.

    Raises:
        SettingsError: the embedded database cannot be started in the data folder.
    """
    service = settings.service
    if service.database_url is not None:
        return service.database_url.secret.reveal(), lambda: None
    embedded = start_embedded(service.data_dir / DATABASE_FOLDER)
    return embedded.url, embedded.stop


def _readiness(engine: Engine) -> Readiness:
    try:
        migrations = "ok" if is_current(engine) else "not up to date: run `connectors db upgrade`"
    except ConnectorsError as error:
        return Readiness({"database": error.message, "migrations": "unknown"})
    with postgres_unit_of_work(engine)() as uow:
        uow.tenants.find(UNROUTED)
    return Readiness({"database": "ok", "migrations": migrations})
