"""Sync jobs: requested, queued together with their tasks in one transaction, listed and cancelled."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import ConflictError, ConnectionNotFoundError, NotFoundError, ValidationError
from connectors.domain.model.idempotency import IdempotentAnswer, fingerprint_of
from connectors.domain.model.ids import ConnectionId, JobId, TenantId
from connectors.domain.model.spans import EPOCH, FAR
from connectors.domain.model.stream_state import AccountState, HistoryRequest
from connectors.domain.model.sync import JobStatus, JobType, SyncJob
from connectors.domain.model.tasks import read_task
from connectors.domain.model.trace import TRACE_ID
from connectors.domain.providers.contract import Provider, Streams
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

CLOCK_SPREAD = timedelta(minutes=10)
"""How far ahead our clock may be when an account is connected: what happens since then by its vendor's clock is new."""


@attrs.frozen(kw_only=True)
class SyncJobs:
    """Requests and cancels sync jobs."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry

    def request(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        job_type: JobType,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        target: str | None = None,
        lookback: timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> SyncJob:
        """The queued job, or the one that is already queued for the same read.

        Args:
            tenant_id: whose connection.
            connection_id: which connection.
            job_type: what to read.
            since: backfill: nothing older.
            until: backfill: nothing newer.
            target: only this stream, by its key.
            lookback: backfill: how far back where `since` is not given; None for all there is.
            idempotency_key: the same request with the same key within a day gets the same job.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ProviderNotSupportedError: its provider is not installed here.
            ConflictError: the connection is not active, its provider cannot be read, or the key was used for another
                request.
            ValidationError: `since` is not before `until`, or lies in the future.
        """
        # Made of the arguments: when the request is repeated later, `lookback` gives another `since`.
        fingerprint = fingerprint_of("connection", connection_id, job_type, since, until, target)

        def enqueue(uow: UnitOfWork) -> Sequence[SyncJob]:
            start = self._start(since, lookback, until)
            connection = uow.connections.get(tenant_id, connection_id)
            return [self.enqueue(uow, connection, job_type, since=start, until=until, target=target)]

        (job,) = self._once(tenant_id, idempotency_key, fingerprint, enqueue)
        return job

    def request_all(
        self,
        tenant_id: TenantId,
        provider_slug: str,
        job_type: JobType,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        lookback: timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> tuple[SyncJob, ...]:
        """A queued job for each of the tenant's active connections of the provider, like `request`.

        Raises:
            ProviderNotSupportedError: there is no such provider.
            ConflictError: it cannot be read, the tenant has no active connection of it, or the key was used before.
            ValidationError: `since` is not before `until`, or lies in the future.
        """
        provider = self.providers.get(provider_slug)
        fingerprint = fingerprint_of("provider", provider.slug, job_type, since, until)

        def enqueue(uow: UnitOfWork) -> Sequence[SyncJob]:
            start = self._start(since, lookback, until)
            active = uow.connections.list_of_provider(tenant_id, provider.slug, ConnectionStatus.ACTIVE)
            if not active:
                raise ConflictError(
                    f"There is no active {provider.name} connection.", next_step="Start one with POST /connect."
                )
            return [self.enqueue(uow, connection, job_type, since=start, until=until) for connection in active]

        return tuple(self._once(tenant_id, idempotency_key, fingerprint, enqueue))

    def enqueue(
        self,
        uow: UnitOfWork,
        connection: Connection,
        job_type: JobType,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        target: str | None = None,
    ) -> SyncJob:
        """The job and its task, in the caller's transaction. Raises like `request`."""
        require_readable(self.providers.get_stored(connection.provider), connection)
        now = uow.now()
        wanted = SyncJob(
            id=JobId(self.entropy.uuid7(now)),
            tenant_id=connection.tenant_id,
            connection_id=connection.id,
            provider=connection.provider,
            type=job_type,
            since=since,
            until=until,
            target=target,
            trace_id=TRACE_ID.get(),
            scheduled_at=now,
        )
        account = None
        if job_type is JobType.BACKFILL:
            account = lock_account(uow, connection)
        if target is not None:
            uow.streams.request(connection.tenant_id, connection.id, target, at=now)
        job = self._widened(uow, uow.jobs.enqueue(wanted), wanted)
        if account is not None:
            uow.accounts.save(_with_request(account, job))
        uow.queue.put(read_task(connection.tenant_id, connection.id, is_history_only=job_type is JobType.BACKFILL))
        return job

    def _widened(self, uow: UnitOfWork, job: SyncJob, wanted: SyncJob) -> SyncJob:
        """The queued job, its range widened to cover the new request too."""
        since = None if job.since is None or wanted.since is None else min(job.since, wanted.since)
        until = None if job.until is None or wanted.until is None else max(job.until, wanted.until)
        if (since, until) == (job.since, job.until):
            return job
        present = uow.jobs.get(job.tenant_id, job.id, lock=True)
        if present.status is not JobStatus.QUEUED or present.attempts > 0:
            return uow.jobs.enqueue(wanted)  # a worker has just begun it: its range stays
        widened = attrs.evolve(present, since=since, until=until)
        uow.jobs.save(widened)
        return widened

    def unfinished(self, tenant_id: TenantId, connection_id: ConnectionId) -> tuple[SyncJob, ...]:
        """The connection's unfinished jobs, oldest first."""
        with self.unit_of_work() as uow:
            return tuple(uow.jobs.list_unfinished(tenant_id, connection_id))

    def list_readable(
        self,
        tenant_id: TenantId | None = None,
        *,
        provider_slug: str | None = None,
        connection_id: ConnectionId | None = None,
    ) -> tuple[Connection, ...]:
        """The active connections that can be read, oldest first: all of them, or the selected ones.

        Connections of providers that are not installed cannot be read.

        Args:
            tenant_id: whose; None for those of all tenants, which no caller of the API may ask for.
            provider_slug: only this provider's.
            connection_id: only this one, which must exist and be readable.

        Raises:
            ProviderNotSupportedError: there is no such provider, or that connection's is not installed here.
            ConnectionNotFoundError: there is no such connection.
            ConflictError: that connection is not active, or its provider cannot be read.
        """
        wanted = None if provider_slug is None else self.providers.get(provider_slug).slug
        with self.unit_of_work() as uow:
            if connection_id is not None:
                return (self._readable(uow, tenant_id, connection_id),)
            if tenant_id is None:
                active = uow.connections.list_all(status=ConnectionStatus.ACTIVE)
            else:
                slugs = [wanted] if wanted is not None else [one.slug for one in self.providers]
                of_providers = (
                    uow.connections.list_of_provider(tenant_id, slug, ConnectionStatus.ACTIVE) for slug in slugs
                )
                active = sorted(
                    (one for listed in of_providers for one in listed), key=lambda one: (one.created_at, one.id)
                )
        readable = {provider.slug for provider in self.providers if provider.streams is not None}
        return tuple(one for one in active if wanted in {None, one.provider} and one.provider in readable)

    def reload(self, jobs: Iterable[SyncJob]) -> tuple[SyncJob, ...]:
        """The same jobs as they are now, in one transaction. Jobs erased with their tenant count as cancelled."""
        found = []
        with self.unit_of_work() as uow:
            for job in jobs:
                try:
                    found.append(uow.jobs.get(job.tenant_id, job.id))
                except NotFoundError:
                    found.append(attrs.evolve(job, status=JobStatus.CANCELLED, error="The tenant was erased."))
        return tuple(found)

    def cancel(self, tenant_id: TenantId, job_id: JobId) -> SyncJob:
        """The job, cancelled; what only it had asked for is read no further than the current page.

        A finished job stays as it is. What was read stays.

        Raises:
            NotFoundError: the tenant has no such job.
        """
        with self.unit_of_work() as uow:
            owner = uow.jobs.get(tenant_id, job_id)
            account = uow.accounts.find(tenant_id, owner.connection_id, lock=True)
            job = self._cancelled(uow, uow.jobs.get(tenant_id, job_id, lock=True))
            if account is not None and job.status is JobStatus.CANCELLED:
                uow.accounts.save(_without_request(account, job))
        return job

    def cancel_all(self, uow: UnitOfWork, connection: Connection) -> None:
        """Cancel all of the connection's jobs, in the caller's transaction. What was wanted stays wanted."""
        for job in uow.jobs.list_unfinished(connection.tenant_id, connection.id):
            self._cancelled(uow, uow.jobs.get(job.tenant_id, job.id, lock=True))

    def _readable(self, uow: UnitOfWork, tenant_id: TenantId | None, connection_id: ConnectionId) -> Connection:
        if tenant_id is None:
            found = [one for one in uow.connections.list_all() if one.id == connection_id]
            if not found:
                raise ConnectionNotFoundError("There is no such connection.")
            connection = found[0]
        else:
            connection = uow.connections.get(tenant_id, connection_id)
        require_readable(self.providers.get_stored(connection.provider), connection)
        return connection

    def _start(self, since: datetime | None, lookback: timedelta | None, until: datetime | None) -> datetime | None:
        now = self.clock.now()
        start = now - lookback if since is None and lookback is not None else since
        _check_range(start, until, now)
        return start

    def _cancelled(self, uow: UnitOfWork, job: SyncJob) -> SyncJob:
        if job.is_finished:
            return job
        now = self.clock.now()
        cancelled = attrs.evolve(
            job, status=JobStatus.CANCELLED, finished_at=now, retry_after=None, error=None, updated_at=now
        )
        uow.jobs.save(cancelled)
        return cancelled

    def _once(
        self,
        tenant_id: TenantId,
        key: str | None,
        fingerprint: str,
        enqueue: Callable[[UnitOfWork], Sequence[SyncJob]],
    ) -> Sequence[SyncJob]:
        with self.unit_of_work() as uow:
            if key is None:
                return enqueue(uow)
            answered = uow.idempotency.find(tenant_id, key)
            if answered is None:
                jobs = enqueue(uow)
                uow.idempotency.record(
                    IdempotentAnswer(
                        tenant_id=tenant_id,
                        key=key,
                        fingerprint=fingerprint,
                        job_ids=tuple(job.id for job in jobs),
                        created_at=self.clock.now(),
                    )
                )
                return jobs
            if answered.fingerprint != fingerprint:
                raise ConflictError("This Idempotency-Key was used for another request.")
            return [uow.jobs.get(tenant_id, job_id) for job_id in answered.job_ids]


def lock_account(uow: UnitOfWork, connection: Connection) -> AccountState:
    """The state of the connection's reading, locked; made if there is none."""
    known = uow.accounts.find(connection.tenant_id, connection.id, lock=True)
    return known or uow.accounts.add(
        AccountState(
            tenant_id=connection.tenant_id,
            connection_id=connection.id,
            provider=connection.provider,
            requests=(HistoryRequest(since=connection.created_at - CLOCK_SPREAD),),
            updated_at=connection.created_at,
        )
    )


def _with_request(account: AccountState, job: SyncJob) -> AccountState:
    """The account with what this backfill asks for."""
    others = tuple(one for one in account.requests if one.job_id is None or one.job_id != job.id)
    request = HistoryRequest(since=job.since or EPOCH, until=job.until or FAR, job_id=job.id)
    return attrs.evolve(account, requests=(*others, request))


def _without_request(account: AccountState, job: SyncJob) -> AccountState:
    """The account without what only this backfill asked for."""
    return attrs.evolve(account, requests=tuple(one for one in account.requests if one.job_id != job.id))


def require_readable(provider: Provider, connection: Connection) -> Streams:
    """The provider's way of reading the connection.

    Raises:
        ConflictError: the connection is not active, or its provider cannot be read.
    """
    if provider.streams is None:
        raise ConflictError(f"{provider.name} cannot be read: it only sends webhooks.")
    if connection.status is not ConnectionStatus.ACTIVE:
        raise ConflictError(f"The connection is {connection.status}.", next_step="Connect the account again.")
    return provider.streams


def _check_range(since: datetime | None, until: datetime | None, now: datetime) -> None:
    if since is not None and since >= now:
        raise ValidationError("The range lies in the future.", details=[{"field": "since", "message": "is not past"}])
    if since is not None and until is not None and since >= until:
        raise ValidationError("The range is empty.", details=[{"field": "until", "message": "is not after `since`"}])
