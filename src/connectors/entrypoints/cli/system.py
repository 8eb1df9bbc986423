"""What most commands share: the system they work on, and whose data."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import click

from connectors.adapters.system.logs import configure_logs
from connectors.adapters.system.settings import Settings
from connectors.domain.model.ids import TenantId
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import from_loaded, load

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger(__name__)


def load_settings() -> Settings:
    """The settings, with logs configured by them; variables that nothing reads are warned of."""
    settings = load()
    configure_logs(settings.service.log_level, settings.service.log_format)
    for unknown in settings.unknown:
        log.warning(str(unknown))
    return settings


@contextmanager
def open_connectors() -> Iterator[Connectors]:
    """The real system, for the length of a command."""
    with from_loaded(load_settings()) as connectors:
        yield connectors


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


def _tenant(_context: click.Context, _option: click.Parameter, value: UUID) -> TenantId:
    return TenantId(value)
