"""Reads of the providers' APIs: request them, list them, cancel them."""

from datetime import datetime, timedelta
from http import HTTPStatus

from connectors.adapters.system.operators import Permission
from connectors.domain.model.errors import ValidationError
from connectors.domain.model.ids import ConnectionId, JobId
from connectors.domain.model.sync import JobFilter, JobType, SyncMode
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation, path_id
from connectors.entrypoints.flask.request_models import (
    ConnectionSyncBody,
    JobsQuery,
    ProviderSyncBody,
    RepeatableHeaders,
)
from connectors.entrypoints.representation.jobs import JobList, JobView, RequestedJobsView, RequestedJobView, show_job

TYPES = {SyncMode.INCREMENTAL: JobType.INCREMENTAL, SyncMode.BACKFILL: JobType.BACKFILL}
"""The types of jobs that a caller may request."""


@operation(
    "POST",
    "/connections/{connection_id}/sync",
    tag="jobs",
    summary="Read a connection",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    headers=RepeatableHeaders,
    body=ConnectionSyncBody,
    answers={HTTPStatus.ACCEPTED: RequestedJobView},
    errors=("CONFLICT", "PROVIDER_NOT_SUPPORTED"),
)
def sync_connection(call: Call) -> Answer:
    """The job that will read the connection. A worker runs it; this call does not wait. The body is optional.

    If a job of the same type and target is queued and has not started, that job is the answer, with its own range.
    """
    body: ConnectionSyncBody = call.body
    headers: RepeatableHeaders = call.headers
    _check_bounds(body.type, body.since, body.until)
    job = call.service.connectors.jobs.request(
        call.tenant,
        ConnectionId(path_id(call, "connection_id")),
        TYPES[body.type],
        since=body.since,
        until=body.until,
        target=body.target,
        lookback=_lookback(call, body.type),
        idempotency_key=headers.idempotency_key,
    )
    return Answer(RequestedJobView(job=show_job(job)), HTTPStatus.ACCEPTED)


@operation(
    "POST",
    "/sync/{provider}",
    tag="jobs",
    summary="Read all connections of a provider",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    headers=RepeatableHeaders,
    body=ProviderSyncBody,
    answers={HTTPStatus.ACCEPTED: RequestedJobsView},
    errors=("CONFLICT",),
)
def sync_provider(call: Call) -> Answer:
    """A job for each active connection that the tenant has of the provider. All of them are queued, or none."""
    body: ProviderSyncBody = call.body
    headers: RepeatableHeaders = call.headers
    _check_bounds(body.type, body.since, body.until)
    jobs = call.service.connectors.jobs.request_all(
        call.tenant,
        call.path["provider"],
        TYPES[body.type],
        since=body.since,
        until=body.until,
        lookback=_lookback(call, body.type),
        idempotency_key=headers.idempotency_key,
    )
    views = [show_job(job) for job in jobs]
    return Answer(RequestedJobsView(job=views[0], jobs=views), HTTPStatus.ACCEPTED)


def _check_bounds(mode: SyncMode, since: datetime | None, until: datetime | None) -> None:
    if mode is SyncMode.BACKFILL:
        return
    given = {"since": since, "until": until}
    faults = [{"field": name, "message": "is for a backfill only"} for name in given if given[name] is not None]
    if faults:
        raise ValidationError("An incremental read starts where the last one ended.", details=faults)


def _lookback(call: Call, mode: SyncMode) -> timedelta | None:
    return call.service.connectors.connect.settings.backfill if mode is SyncMode.BACKFILL else None


@operation(
    "GET",
    "/jobs",
    tag="jobs",
    summary="List jobs",
    auth=Auth.TENANT,
    permission=Permission.READ,
    query=JobsQuery,
    answers={HTTPStatus.OK: JobList},
    errors=("PROVIDER_NOT_SUPPORTED", "CONNECTION_NOT_FOUND"),
)
def list_jobs(call: Call) -> Answer:
    """The tenant's jobs, newest first by when they were requested. Finished jobs are kept for a while."""
    query: JobsQuery = call.query
    connectors = call.service.connectors
    where = JobFilter(
        provider=None if query.provider is None else connectors.queries.provider_to_list(call.tenant, query.provider),
        connection_id=None if query.connection_id is None else ConnectionId(query.connection_id),
        type=query.type,
        status=query.status,
    )
    listing = connectors.queries.list_jobs(call.tenant, where, limit=query.limit, cursor=query.cursor)
    return Answer(
        JobList(
            jobs=[show_job(job) for job in listing.items],
            next_cursor=listing.next_cursor,
            has_more=listing.has_more,
        )
    )


@operation(
    "GET",
    "/jobs/{job_id}",
    tag="jobs",
    summary="Show a job",
    auth=Auth.TENANT,
    permission=Permission.READ,
    answers={HTTPStatus.OK: JobView},
)
def show_one_job(call: Call) -> Answer:
    """One job and its progress."""
    return Answer(show_job(call.service.connectors.queries.get_job(call.tenant, JobId(path_id(call, "job_id")))))


@operation(
    "POST",
    "/jobs/{job_id}/cancel",
    tag="jobs",
    summary="Cancel a job",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: JobView},
)
def cancel_job(call: Call) -> Answer:
    """The job. A queued one never starts, a running one stops after its current page. What it has read is kept.

    A finished job stays as it is.
    """
    return Answer(show_job(call.service.connectors.jobs.cancel(call.tenant, JobId(path_id(call, "job_id")))))


OPERATIONS = (sync_connection, sync_provider, list_jobs, show_one_job, cancel_job)
