"""`connectors backfill`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import click

from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import JobType
from connectors.entrypoints.cli.output import Output, output_option, show_rows
from connectors.entrypoints.cli.read_targets import ReadRequest, find_unfinished
from connectors.entrypoints.cli.system import (
    System,
    any_tenant_option,
    open_system,
)
from connectors.entrypoints.cli.time_options import instant, show_instant
from connectors.entrypoints.cli.watch import command_line, read_now
from connectors.entrypoints.library import Connectors

DEFAULT_HISTORY = timedelta(days=30)
"""How far back to read if no range is given and the first backfill of new connections is switched off."""


@click.command(name="backfill")
@any_tenant_option
@click.option("--provider", help="Only this provider's connections.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection.")
@click.option("--since", type=instant, help="Nothing older than this.")
@click.option("--days", type=click.IntRange(1, 36_525), help="Nothing older than so many days, instead of --since.")
@click.option("--until", type=instant, help="Nothing newer than this.")
@click.option("--dry-run", is_flag=True, help="Show what would be read, and queue nothing.")
@click.option("--detach", is_flag=True, help="Queue the reads and return; workers run them.")
@output_option
def command(
    tenant_id: TenantId | None,
    provider: str | None,
    connection_id: UUID | None,
    since: datetime | None,
    days: int | None,
    until: datetime | None,
    output: Output,
    *,
    dry_run: bool,
    detach: bool,
) -> None:
    """Read history: of one connection, of all connections of a provider or of a tenant, or of all.

    It runs a worker in this process, besides those elsewhere, and shows the progress. Ctrl-C loses nothing: the same
    command continues where it stopped. Without --since and --days it reads POBLYSH_BACKFILL_DAYS days.

    Exit code 1: a connection could not be read. 3: all could be read but for single streams, which are tried again.
    """
    if provider is not None and connection_id is not None:
        raise click.UsageError("Give --provider or --connection, not both.")
    if since is not None and days is not None:
        raise click.UsageError("Give --since or --days, not both.")
    with open_system() as system:
        connectors = system.connectors
        request = _read_request(connectors, since, days, until)
        connections = connectors.jobs.list_readable(
            tenant_id,
            provider_slug=provider,
            connection_id=None if connection_id is None else ConnectionId(connection_id),
        )
        if dry_run:
            _show_plan(system, connections, request, output)
            return
        if not connections:
            raise click.ClickException("There is no active connection to read. Start one with `connectors connect`.")
        read_now(
            system,
            connections,
            request,
            output,
            again=_command_to_continue(tenant_id, provider, connection_id, request),
            is_one=connection_id is not None,
            is_detached=detach,
        )


def _read_request(
    connectors: Connectors, since: datetime | None, days: int | None, until: datetime | None
) -> ReadRequest:
    now = connectors.clock.now().replace(microsecond=0)
    is_any_range = since is None and days is None and until is None
    is_relative = since is None
    if since is None:
        history = connectors.connect.settings.backfill or DEFAULT_HISTORY
        since = now - (history if days is None else timedelta(days=days))
    if since >= now:
        raise click.UsageError("--since has to be in the past.")
    if until is not None and until <= since:
        raise click.UsageError("--until has to be later than the start.")
    return ReadRequest(
        type=JobType.BACKFILL, since=since, until=until, is_any_range=is_any_range, is_relative=is_relative
    )


def _command_to_continue(
    tenant_id: TenantId | None, provider: str | None, connection_id: UUID | None, request: ReadRequest
) -> str:
    """The command that continues this read. It names the instant: `--days` would mean another one by then."""
    words = [command_line("backfill", tenant_id, provider, connection_id)]
    if not request.is_any_range and request.since is not None:
        words.append(f"--since {rfc3339(request.since)}")
    if request.until is not None:
        words.append(f"--until {rfc3339(request.until)}")
    return " ".join(words)


def _show_plan(system: System, connections: Sequence[Connection], request: ReadRequest, output: Output) -> None:
    connectors = system.connectors
    slots = connectors.sync.concurrency.settings
    rows = []
    for connection in connections:
        jobs = connectors.jobs.unfinished(connection.tenant_id, connection.id)
        resumed = find_unfinished(connectors, connection, request)
        rows.append(
            {
                "tenant_id": connection.tenant_id,
                "connection_id": connection.id,
                "provider": connection.provider,
                "account": connection.account.name,
                "since": request.since if resumed is None else resumed.since,
                "until": request.until if resumed is None else resumed.until,
                "resumes": None if resumed is None else resumed.id,
                "unfinished": [{"job": job.id, "type": job.type, "status": job.status} for job in jobs],
                # Each tenant and each provider keeps one concurrency slot for incremental reads (`Concurrency`).
                "at_once_of_tenant": max(slots.per_tenant - 1, 1),
                "at_once_of_provider": _less_one(slots.providers.get(connection.provider, slots.per_provider)),
            }
        )
    columns = {
        "connection": lambda one: one["connection_id"],
        "provider": lambda one: one["provider"],
        "account": lambda one: one["account"],
        "since": lambda one: show_instant(one["since"]),
        "until": lambda one: "now" if one["until"] is None else show_instant(one["until"]),
        "continues": lambda one: one["resumes"] or "",
        "unfinished": lambda one: ", ".join(f"{job['type']} {job['status']}" for job in one["unfinished"]),
    }
    show_rows(rows, output, columns, empty="There is no active connection to read.")
    if output is Output.TABLE and rows:
        limits = [f"{max(slots.per_tenant - 1, 1)} backfills of a tenant"]
        limits += sorted(
            {f"{one['at_once_of_provider']} of {one['provider']}" for one in rows if one["at_once_of_provider"]}
        )
        click.echo(
            f"At once: {', '.join(limits)}, over all workers. Each read keeps to its vendor's limits. "
            "Nothing was queued.",
            err=True,
        )


def _less_one(slots: int | None) -> int | None:
    return None if slots is None else max(slots - 1, 1)
