"""`connectors sync`."""

from datetime import datetime, timedelta
from uuid import UUID

import click
from rich.console import Console

from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import JobType, SyncJob
from connectors.entrypoints.cli.output import Output, output_option, show_one
from connectors.entrypoints.cli.system import open_connectors, tenant_option


@click.command(name="sync")
@tenant_option
@click.option("--connection", "connection_id", type=click.UUID, required=True, help="Which connection to read.")
@click.option("--now", is_flag=True, required=True, help="Read in this process, until it is done.")
@click.option("--backfill-days", type=click.IntRange(1), help="Read this much history instead of what is new.")
@output_option
def command(tenant_id: TenantId, connection_id: UUID, backfill_days: int | None, output: Output, *, now: bool) -> None:
    """Read a connection's provider now: what is new since the last time, or history."""
    assert now  # noqa: S101 - click has asked for it
    console = Console(stderr=True)
    with open_connectors() as connectors, console.status("Reading") as status:

        def report(job: SyncJob) -> None:
            done = job.progress
            status.update(f"Reading: {done.pages} pages, {done.items} items, {done.signals} new signals")

        since: datetime | None = None
        if backfill_days is not None:
            since = connectors.clock.now() - timedelta(days=backfill_days)
        job_type = JobType.INCREMENTAL if backfill_days is None else JobType.BACKFILL
        job = connectors.sync.request(tenant_id, ConnectionId(connection_id), job_type, since=since)
        job = connectors.sync.run(tenant_id, job.id, on_page=report)
    show_one({"job": job.id, "status": job.status, **_progress(job)}, output)


def _progress(job: SyncJob) -> dict[str, int]:
    return {"pages": job.progress.pages, "items": job.progress.items, "signals": job.progress.signals}
