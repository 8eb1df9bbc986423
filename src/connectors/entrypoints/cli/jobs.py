"""`connectors jobs`."""

from uuid import UUID

import click

from connectors.domain.model.ids import ConnectionId, JobId, TenantId
from connectors.domain.model.paging import MAX_LIMIT
from connectors.domain.model.sync import JobFilter, JobStatus, JobType
from connectors.entrypoints.cli.output import Output, output_option, show_one, show_rows
from connectors.entrypoints.cli.system import open_connectors, tenant_option
from connectors.entrypoints.cli.time_options import show_instant
from connectors.entrypoints.representation.jobs import JobView, show_job


def streams_of(job: JobView) -> str:
    """`478/480, 2 aside`; nothing while it is not known which there are."""
    counts = job.streams
    if not counts.total:
        return ""
    return f"{counts.done}/{counts.total}" + (f", {counts.aside} aside" if counts.aside else "")


COLUMNS = {
    "id": lambda one: one.id,
    "status": lambda one: one.status,
    "streams": streams_of,
    "provider": lambda one: one.provider,
    "type": lambda one: one.type,
    "requested": lambda one: show_instant(one.scheduled_at),
    "progress": lambda one: f"{one.progress.pages} p, {one.progress.items} items, {one.progress.signals} signals",
    "waits until": lambda one: "" if one.retry_after is None else show_instant(one.retry_after),
    "error": lambda one: one.error,
}


@click.group(name="jobs")
def command() -> None:
    """List, show and cancel reads of the providers."""


@command.command(name="list")
@tenant_option
@click.option("--provider", help="Only this provider's.")
@click.option("--connection", "connection_id", type=click.UUID, help="Only this connection's.")
@click.option("--type", "job_type", type=click.Choice([str(one) for one in JobType]), help="Only those of this type.")
@click.option("--status", type=click.Choice([str(one) for one in JobStatus]), help="Only those of this status.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@output_option
def list_command(
    tenant_id: TenantId,
    provider: str | None,
    connection_id: UUID | None,
    job_type: str | None,
    status: str | None,
    limit: int,
    output: Output,
) -> None:
    """List a tenant's jobs, newest first by when they were requested."""
    rows: list[JobView] = []
    with open_connectors() as connectors:
        where = JobFilter(
            provider=None if provider is None else connectors.queries.provider_to_list(tenant_id, provider),
            connection_id=None if connection_id is None else ConnectionId(connection_id),
            type=None if job_type is None else JobType(job_type),
            status=None if status is None else JobStatus(status),
        )
        cursor, more = None, True
        while more and len(rows) < limit:
            listing = connectors.queries.list_jobs(
                tenant_id, where, limit=min(MAX_LIMIT, limit - len(rows)), cursor=cursor
            )
            rows += [show_job(one) for one in listing.items]
            cursor, more = listing.next_cursor, listing.has_more
    show_rows(rows, output, COLUMNS, empty="No jobs. Start one with `connectors sync` or `connectors backfill`.")


@command.command(name="show")
@tenant_option
@click.argument("job_id", type=click.UUID)
@output_option
def show_command(tenant_id: TenantId, job_id: UUID, output: Output) -> None:
    """Show one job with all its details."""
    with open_connectors() as connectors:
        job = connectors.queries.get_job(tenant_id, JobId(job_id))
    show_one(show_job(job), output)


@command.command(name="cancel")
@tenant_option
@click.argument("job_id", type=click.UUID)
@output_option
def cancel_command(tenant_id: TenantId, job_id: UUID, output: Output) -> None:
    """Cancel a job: a queued one never starts, a running one stops after its current page. What it has read stays."""
    with open_connectors() as connectors:
        before = connectors.queries.get_job(tenant_id, JobId(job_id))
        job = connectors.jobs.cancel(tenant_id, JobId(job_id))
    show_one(show_job(job), output)
    if before.is_finished:
        click.echo(f"It had already ended: {job.status}.", err=True)
