"""What most commands share: the system that they use, and the option `--tenant`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar
from uuid import UUID

import attrs
import click

from connectors.adapters.system.logs import configure_logs
from connectors.adapters.system.settings import Settings
from connectors.domain.model.ids import TenantId
from connectors.domain.providers.registry import installed_providers
from connectors.entrypoints import production
from connectors.entrypoints.library import Connectors

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger(__name__)


def load_settings() -> Settings:
    """The settings. Also configures the logs, and warns of skipped plugins and of variables that nothing reads."""
    registry = installed_providers()
    settings = production.load(registry=registry)
    configure_logs(settings.service.log_level, settings.service.log_format)
    for warning in (*registry.skipped, *settings.unknown):
        log.warning(str(warning))
    return settings


class Worker(Protocol):
    """Runs the tasks of the queue."""

    def run(self) -> None:
        """Run tasks until `stop` is called."""
        ...

    def stop(self) -> None:
        """Take no more tasks, and let `run` return when the running ones are done. Any thread may call it again."""
        ...


@attrs.frozen
class System:
    """What commands use. A caller that passes one to `cli` as `obj` makes them use that."""

    connectors: Connectors
    open_worker: Callable[[], Worker]


@contextmanager
def open_system() -> Iterator[System]:
    """The system, for the length of a command: the real one unless the caller has passed another."""
    context = click.get_current_context(silent=True)
    given = None if context is None else context.find_object(System)
    if given is not None:
        yield given
        return
    settings = load_settings()
    database = production.prepare(settings)
    try:
        with Connectors.assemble(production.production_container(database, settings)) as connectors:
            yield System(connectors, lambda: production.open_worker(database, settings, connectors.tasks))
    finally:
        database.stop()


@contextmanager
def open_connectors() -> Iterator[Connectors]:
    """The system's flows, for the length of a command."""
    with open_system() as system:
        yield system.connectors


def tenant_option(function: F) -> F:
    """Add `--tenant` to a command."""
    return click.option(
        "--tenant",
        "-t",
        "tenant_id",
        type=click.UUID,
        required=True,
        callback=_tenant,
        help="The tenant: the X-Tenant-Id that Core uses.",
    )(function)


def any_tenant_option(function: F) -> F:
    """Add an optional `--tenant` to a command that works on all tenants without it."""
    return click.option(
        "--tenant",
        "-t",
        "tenant_id",
        type=click.UUID,
        callback=_tenant,
        help="Only this tenant; all tenants if left out.",
    )(function)


def _tenant(_context: click.Context, _option: click.Parameter, value: UUID | None) -> TenantId | None:
    return None if value is None else TenantId(value)
