"""Reads a provider's API: page by page, each page's signals, snapshots, cursor and progress committed together."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

import attrs

from connectors.domain.flows.converse import Converser, Reserve
from connectors.domain.flows.recording import make_signal
from connectors.domain.flows.subscribing import WEBHOOK_TROUBLE
from connectors.domain.flows.tokens import GrantTokens, TokenKeeper
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.errors import (
    ConflictError,
    ConnectorsError,
    ProviderNotConfiguredError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.ids import ConnectionId, JobId, ProviderSlug, SignalId, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.signal import Origin, SignalDraft
from connectors.domain.model.sync import (
    Cursor,
    JobStatus,
    JobType,
    Progress,
    SyncJob,
    SyncMode,
    SyncPage,
    SyncPlan,
)
from connectors.domain.providers.contract import Provider, Sync, SyncContext
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)


def _no_report(job: SyncJob) -> None:
    """Tell nobody."""


@attrs.frozen(kw_only=True)
class SyncFlow:
    """Runs sync jobs."""

    unit_of_work: UnitOfWorkFactory
    converser: Converser
    keeper: TokenKeeper
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]

    def request(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        job_type: JobType,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        target: str | None = None,
    ) -> SyncJob:
        """A queued job; the one that is there if one like it is queued already.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ConflictError: the connection is not active, or its provider cannot be read.
        """
        now = self.clock.now()
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            _readable(self.providers.get(connection.provider), connection)
            return uow.jobs.enqueue(
                SyncJob(
                    id=JobId(self.entropy.uuid7(now)),
                    tenant_id=tenant_id,
                    connection_id=connection_id,
                    provider=connection.provider,
                    type=job_type,
                    since=since,
                    until=until,
                    target=target,
                    scheduled_at=now,
                )
            )

    def run(self, tenant_id: TenantId, job_id: JobId, *, on_page: Callable[[SyncJob], None] = _no_report) -> SyncJob:
        """The job, run to its end, from the last committed page if it was begun before. One that has ended stays so.

        Args:
            tenant_id: whose job.
            job_id: which.
            on_page: told after every committed page.

        Raises:
            NotFoundError: the tenant has no such job.
            ConflictError: the connection is not active, or its provider cannot be read.
            ProviderFailedError: the provider did not do its part; the job is FAILED and can be run again.
        """
        with self.unit_of_work() as uow:
            job = uow.jobs.get(tenant_id, job_id)
            if job.status in {JobStatus.SUCCEEDED, JobStatus.CANCELLED}:
                return job  # its cursor is where the next walk begins, not a page of this one
            connection = uow.connections.get(tenant_id, job.connection_id)
            last_cursor = uow.sync_states.load(tenant_id, connection.id, job.target or "")
        provider = self.providers.get(job.provider)
        started_at = job.started_at or self.clock.now()
        job = self._save(
            attrs.evolve(
                job,
                status=JobStatus.RUNNING,
                attempts=job.attempts + 1,
                started_at=started_at,
                finished_at=None,
                retry_after=None,
                error=None,
            )
        )
        plan = SyncPlan(
            mode=SyncMode.BACKFILL if job.type is JobType.BACKFILL else SyncMode.INCREMENTAL,
            started_at=started_at,
            since=job.since,
            until=job.until,
            last_cursor=last_cursor,
            target=job.target,
        )
        try:
            return self._walk(provider, _readable(provider, connection), connection, plan, job, on_page)
        except ConnectorsError as error:
            self._fail(job, error.message, error.retry_at if isinstance(error, RateLimitedError) else None)
            raise
        except Exception as error:
            # A bug, of ours or of a room. It shall be seen on the job, not as a job that runs for ever.
            self._fail(job, f"internal error: {type(error).__name__}", None)
            raise

    def _walk(
        self,
        provider: Provider,
        sync: Sync,
        connection: Connection,
        plan: SyncPlan,
        job: SyncJob,
        on_page: Callable[[SyncJob], None],
    ) -> SyncJob:
        app = self.apps.get(provider.slug)
        if app is None:
            raise ProviderNotConfiguredError(f"{provider.name} is not configured here.")
        if connection.grant_id is None:
            raise ReauthorizationRequiredError("The connection's tokens are gone.")
        tokens = GrantTokens(self.keeper, connection.tenant_id, connection.grant_id)
        reserve = Reserve()
        cursor = job.cursor
        if cursor is None:
            context = SyncContext(app=app, connection=connection)
            cursor = self.converser.run(provider, app, sync.start(context, plan), tokens, reserve=reserve)
        while True:
            context = SyncContext(app=app, connection=connection)
            page = self.converser.run(provider, app, sync.read_page(context, plan, cursor), tokens, reserve=reserve)
            with self.unit_of_work() as uow:
                connection, job = self._commit(uow, provider, context, plan, page, job)
            on_page(job)
            if page.done:
                return job
            if page.cursor == cursor:
                raise UnexpectedResponseError(f"Reading {provider.name} does not get on: its cursor stands still.")
            cursor = page.cursor

    def _commit(
        self, uow: UnitOfWork, provider: Provider, context: SyncContext, plan: SyncPlan, page: SyncPage, job: SyncJob
    ) -> tuple[Connection, SyncJob]:
        now = self.clock.now()
        connection = uow.connections.get(job.tenant_id, job.connection_id, lock=True)
        sync = _readable(provider, connection)  # it may have been disconnected while the page was on its way
        drafts = [*page.signals, *self._interpret(uow, sync, context, plan, page)]
        origin = Origin.BACKFILL if plan.mode is SyncMode.BACKFILL else Origin.SYNC
        signals = [
            make_signal(draft, connection, SignalId(self.entropy.uuid7(now)), received_at=now, origin=origin)
            for draft in drafts
        ]
        added = uow.signals.record_all(signals) if signals else 0
        for skipped in page.skipped:
            log.warning("item_skipped", extra={"reference": skipped.reference, "reason": skipped.reason})
        if page.gap is not None:
            log.warning("history_gap", extra={"connection_id": str(connection.id), "reason": page.gap})
        job = attrs.evolve(
            job,
            cursor=page.cursor,
            progress=Progress(
                pages=job.progress.pages + 1,
                items=job.progress.items + page.items,
                signals=job.progress.signals + added,
            ),
        )
        if page.connection_metadata:
            metadata = {**connection.metadata, **page.connection_metadata}
            connection = uow.connections.save(attrs.evolve(connection, metadata=metadata, updated_at=now))
        if page.done:
            job = attrs.evolve(job, status=JobStatus.SUCCEEDED, finished_at=now)
            connection = self._finish(uow, connection, plan, page.cursor, now)
        uow.jobs.save(job)
        return connection, job

    def _interpret(
        self, uow: UnitOfWork, sync: Sync, context: SyncContext, plan: SyncPlan, page: SyncPage
    ) -> list[SignalDraft]:
        """What the page's observations mean against the last known states, which they replace."""
        if sync.interpret is None or not page.observations:
            return []
        owner = context.connection
        keys = [one.key for one in page.observations]
        known = dict(uow.snapshots.load(owner.tenant_id, owner.id, keys))
        drafts: list[SignalDraft] = []
        changed: dict[str, Cursor | None] = {}
        for observation in page.observations:
            meaning = sync.interpret(context, plan, observation, known.get(observation.key))
            drafts.extend(meaning.signals)
            changed[observation.key] = meaning.snapshot
            if meaning.snapshot is None:
                known.pop(observation.key, None)
            else:
                known[observation.key] = meaning.snapshot
        uow.snapshots.save(owner.tenant_id, owner.id, changed)
        return drafts

    def _finish(
        self, uow: UnitOfWork, connection: Connection, plan: SyncPlan, cursor: Cursor, now: datetime
    ) -> Connection:
        target = plan.target or ""
        # A backfill's end is where incremental reading begins, unless that has begun already.
        if plan.mode is SyncMode.INCREMENTAL or plan.last_cursor is None:
            uow.sync_states.save(connection.tenant_id, connection.id, cursor, target)
        error = connection.last_error
        if error is not None and not error.startswith(WEBHOOK_TROUBLE):
            error = None  # reading works again; whether we are told of events is another matter
        return uow.connections.save(attrs.evolve(connection, last_synced_at=now, last_error=error, updated_at=now))

    def _fail(self, job: SyncJob, error: str, retry_after: datetime | None) -> None:
        now = self.clock.now()
        with self.unit_of_work() as uow:
            present = uow.jobs.get(job.tenant_id, job.id)
            failed = attrs.evolve(
                present, status=JobStatus.FAILED, error=error, finished_at=now, retry_after=retry_after
            )
            uow.jobs.save(failed)
            connection = uow.connections.get(job.tenant_id, job.connection_id, lock=True)
            uow.connections.save(attrs.evolve(connection, last_error=error, updated_at=now))

    def _save(self, job: SyncJob) -> SyncJob:
        with self.unit_of_work() as uow:
            uow.jobs.save(job)
        return job


def _readable(provider: Provider, connection: Connection) -> Sync:
    if provider.sync is None:
        raise ConflictError(f"{provider.name} cannot be read: it only sends webhooks.")
    if connection.status is not ConnectionStatus.ACTIVE:
        raise ConflictError(f"The connection is {connection.status}.", next_step="Connect the account again.")
    return provider.sync
