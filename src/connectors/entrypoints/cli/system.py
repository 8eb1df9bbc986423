"""What most commands share: the system they work on, and whose data."""

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
    """The settings, with logs configured by them. Skipped plugins and variables that nothing reads are warned of."""
    registry = installed_providers()
    settings = production.load(registry=registry)
    configure_logs(settings.service.log_level, settings.service.log_format)
    for warning in (*registry.skipped, *settings.unknown):
        log.warning(str(warning))
    return settings


class Worker(Protocol):
    """Works off the queue."""

    def run(self) -> None:
        """Work until told to stop."""
        ...

    def stop(self) -> None:
        """Take no more tasks, and end when those in work are done. May be called again, and from any thread."""
        ...


@attrs.frozen
class System:
    """What commands work on. Whoever calls `cli` with one as its `obj` has them work on that."""

    connectors: Connectors
    open_worker: Callable[[], Worker]


@contextmanager
def open_system() -> Iterator[System]:
    """The system, for the length of a command: the real one unless the caller has brought another."""
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
        help="Whose data: the X-Tenant-Id that Core uses.",
    )(function)


def any_tenant_option(function: F) -> F:
    """Add a `--tenant` that may be left out to a command of the operator's."""
    return click.option(
        "--tenant", "-t", "tenant_id", type=click.UUID, callback=_tenant, help="Only this tenant's; all if left out."
    )(function)


def _tenant(_context: click.Context, _option: click.Parameter, value: UUID | None) -> TenantId | None:
    return None if value is None else TenantId(value)
