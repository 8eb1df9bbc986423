"""What people do about single streams: look at them, have one read now, give one up."""

import base64
import logging
from collections.abc import Collection
from datetime import datetime

import attrs

from connectors.domain.flows.reading.agenda import Agenda
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.jobs import require_readable
from connectors.domain.flows.reading.receipts import counts_of
from connectors.domain.model.coverage import CoveragePath, GapClosedBy
from connectors.domain.model.errors import NotFoundError, ValidationError
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.paging import DEFAULT_LIMIT, MAX_LIMIT, list_fingerprint
from connectors.domain.model.spans import Span, Spans, common, union, without
from connectors.domain.model.stream_state import ClosedBy, ParkedState, StreamState, StreamStatus
from connectors.domain.model.streams import DISCOVERY, DISCOVERY_NAME
from connectors.domain.model.sync import StreamCounts, SyncJob, SyncMode
from connectors.domain.model.tasks import read_task
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class StreamDetails:
    """One stream, as people see it."""

    state: StreamState
    proven: Spans
    """What has been read whole."""
    wanted: Spans
    """What is wanted and not read yet. The last span has no end: all that will happen is wanted."""
    parked: tuple[ParkedState, ...]
    """Single things of it that cannot be read now, the first that was parked first."""

    @property
    def key(self) -> str:
        """The key by which people ask for it."""
        return DISCOVERY_NAME if self.state.is_discovery else self.state.key

    @property
    def next_try(self) -> datetime | None:
        """When it is tried again after failures; None if it does not fail, or waits for nothing but a worker."""
        waits = [
            one.next_at
            for one in (self.state.incremental, self.state.backfill)
            if one.failures > 0 and one.next_at is not None and self.state.is_readable
        ]
        return min(waits, default=None)

    @property
    def failures(self) -> int:
        """How often in a row it could not be read."""
        return max(self.state.incremental.failures, self.state.backfill.failures)


@attrs.frozen(kw_only=True)
class StreamListing:
    """A page of a connection's streams, by key."""

    discovery: StreamDetails | None
    """How finding the streams stands; None before the first read."""
    uncounted: int
    """How many more there are that cannot be read and never could, according to the last discovery."""
    paused_until: datetime | None
    """The provider is asked nothing before then; None if nothing is in the way."""
    pause_reason: str | None
    items: tuple[StreamDetails, ...]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is a next page."""
        return self.next_cursor is not None


@attrs.frozen(kw_only=True)
class StreamFlow:
    """Shows streams, and does what people ask for about one."""

    unit_of_work: UnitOfWorkFactory
    providers: ProviderRegistry
    ledger: Ledger

    def list_page(
        self,
        tenant_id: TenantId,
        connection_id: ConnectionId,
        *,
        status: StreamStatus | None = None,
        family: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> StreamListing:
        """A page of the connection's streams, and how their discovery stands.

        Args:
            tenant_id: whose connection.
            connection_id: which.
            status: only streams in this status.
            family: only streams that this family of events needs.
            limit: the most streams on the page, up to 100.
            cursor: `next_cursor` of the previous page, with the same filters.

        Raises:
            TenantNotFoundError: the tenant is not known here.
            ConnectionNotFoundError: it has none with this id.
            ValidationError: the limit or the family cannot be one, or the cursor is not one of this list with these
                filters.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ValidationError(f"`limit` is from 1 to {MAX_LIMIT}.")
        if family is not None and not family.isprintable():
            raise ValidationError("`family` has characters that no family has.")
        mark = list_fingerprint("streams", tenant_id, connection_id, status, family)
        after = None if cursor is None else _read_cursor(cursor, mark)
        with self.unit_of_work() as uow:
            uow.tenants.get(tenant_id)
            connection = uow.connections.get(tenant_id, connection_id)
            claims = self.ledger.claims(uow, connection)
            now = uow.now()
            rows = uow.streams.list_page(
                tenant_id, connection_id, after=after, limit=limit + 1, status=status, family=family
            )
        if claims is None:
            return StreamListing(
                discovery=None, uncounted=0, paused_until=None, pause_reason=None, items=(), next_cursor=None
            )
        agenda = claims.agenda
        discovery = agenda.states.get(DISCOVERY)
        is_paused = agenda.account.paused_until is not None and agenda.account.paused_until > now
        shown, wholes = rows[:limit], _wholes(agenda)
        return StreamListing(
            discovery=None if discovery is None else _details(agenda, discovery, wholes),
            uncounted=0 if discovery is None else discovery.stream.data.get("unreadable", 0),
            paused_until=agenda.account.paused_until if is_paused else None,
            pause_reason=agenda.account.pause_reason if is_paused else None,
            items=tuple(_details(agenda, one, wholes) for one in shown),
            next_cursor=_write_cursor(shown[-1].key, mark) if len(rows) > limit else None,
        )

    def count(self, job: SyncJob) -> StreamCounts:
        """How many streams the unfinished job concerns, and how they stand now. The job itself is told of it only at
        the end of each time slice.

        Raises:
            ConnectionNotFoundError: its connection was erased.
        """
        with self.unit_of_work() as uow:
            claims = self.ledger.claims(uow, uow.connections.get(job.tenant_id, job.connection_id))
            now = uow.now()
        found = None if claims is None else counts_of(claims.agenda, job, min(job.scheduled_at, now), now)
        return found or job.streams

    def retry(self, tenant_id: TenantId, connection_id: ConnectionId, key: str) -> StreamDetails:
        """The stream. A worker reads it and its parked things within a minute if it can, whatever it waited for.

        One that is not asked because the vendor would refuse it, or because it is gone, is looked for again first.
        Pauses that the provider wants, or that its outage makes, stay.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            ConflictError: the connection is not active, or cannot be read.
            ProviderNotSupportedError: its provider is no longer installed.
            NotFoundError: it has no such stream.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            require_readable(self.providers.get_stored(connection.provider), connection)
            now = uow.now()
            state = _locked(uow, tenant_id, connection_id, key, and_discovery=True)
            if not state.is_readable:
                uow.streams.request(tenant_id, connection_id, DISCOVERY, at=now)
            state = attrs.evolve(
                state,
                incremental=attrs.evolve(state.incremental, next_at=None),
                backfill=attrs.evolve(state.backfill, next_at=None),
                requested_at=now,
                served_at=None,
                is_dismissed=False,
                updated_at=now,
            )
            uow.streams.save([state])
            for item in self._parked(uow, state):
                uow.parked.save(attrs.evolve(item, next_at=now))
            uow.queue.put(read_task(tenant_id, connection_id))
            return self._shown(uow, state)

    def dismiss(self, tenant_id: TenantId, connection_id: ConnectionId, key: str) -> StreamDetails:
        """The stream, given up by a person: what could not be read of it so far is no gap any more.

        It is still tried, and takes part in coverage again once it can be read. What was given up stays unproven.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            NotFoundError: it has no such stream.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id, lock=True)
            now = uow.now()
            state = _locked(uow, tenant_id, connection_id, key)
            claims = self.ledger.claims(uow, connection)
            is_aside = state.status in {StreamStatus.BLOCKED, StreamStatus.UNREADABLE}
            history = () if claims is None or not is_aside else claims.agenda.history(state)
            backfill = attrs.evolve(state.backfill, run=None, failures=0, next_at=None) if history else state.backfill
            state = attrs.evolve(state, given_up=union([*state.given_up, *history]), updated_at=now)
            state = state.with_reading(SyncMode.BACKFILL, backfill)
            state = attrs.evolve(state, is_dismissed=not state.is_readable or state.status is StreamStatus.BLOCKED)
            uow.streams.save([state])
            for item in self._parked(uow, state):
                uow.parked.save(attrs.evolve(item, closed_at=now, closed_by=ClosedBy.PERSON))
            for gap in uow.coverage.list_gaps(tenant_id, connection_id, is_open=True):
                if gap.stream == state.key:
                    self.ledger.close(uow, gap, GapClosedBy.PERSON)
            uow.queue.put(read_task(tenant_id, connection_id))  # it updates what is said to be wrong
            shown = self._shown(uow, state)
        log.info("stream_dismissed", extra={"connection_id": str(connection_id), "stream": key})
        return shown

    def _shown(self, uow: UnitOfWork, state: StreamState) -> StreamDetails:
        connection = uow.connections.get(state.tenant_id, state.connection_id)
        claims = self.ledger.claims(uow, connection)
        if claims is None:
            return StreamDetails(state=state, proven=state.proven_by(*CoveragePath), wanted=(), parked=())
        return _details(claims.agenda, claims.agenda.states[state.key], _wholes(claims.agenda))

    @staticmethod
    def _parked(uow: UnitOfWork, state: StreamState) -> list[ParkedState]:
        found = []
        for one in uow.parked.list_open(state.tenant_id, state.connection_id):
            if one.stream_key == state.key:
                locked = uow.parked.lock(state.tenant_id, state.connection_id, state.key, one.reference)
                if locked is not None and locked.closed_at is None:
                    found.append(locked)
        return found


def _locked(
    uow: UnitOfWork, tenant_id: TenantId, connection_id: ConnectionId, name: str, *, and_discovery: bool = False
) -> StreamState:
    """The stream that people call by this name, locked, and discovery with it if the caller changes both."""
    key = DISCOVERY if name == DISCOVERY_NAME else name
    found = uow.streams.lock(tenant_id, connection_id, [key, *([DISCOVERY] if and_discovery else [])])
    # The empty key is no name: it is last if the caller asked for another one.
    if not name or not found or found[-1].is_discovery is not (key == DISCOVERY):
        raise NotFoundError("The connection has no such stream.")
    return found[-1]


def _details(agenda: Agenda, state: StreamState, wholes: Collection[str]) -> StreamDetails:
    proven = agenda.proven(state)
    wanted = () if state.is_discovery else without(agenda.account.requested, [*proven, *state.given_up])
    if state.key in wholes:
        wanted = common(wanted, [Span(state.read_until or state.found_at)])
    parked = [item for key, item in agenda.parked.items() if key[0] == state.key]
    return StreamDetails(
        state=state, proven=proven, wanted=wanted, parked=tuple(sorted(parked, key=lambda one: one.opened_at))
    )


def _wholes(agenda: Agenda) -> frozenset[str]:
    """The streams that show the changes of others: their history is the business of those."""
    return frozenset(one.stream.changes_in for one in agenda.states.values() if one.stream.changes_in is not None)


def _write_cursor(key: str, mark: str) -> str:
    return base64.urlsafe_b64encode(f"{mark}{key}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str, mark: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        text = ""
    if not text.startswith(mark) or "\0" in text:
        details = [{"field": "cursor", "message": "is not a cursor of this list with these filters"}]
        raise ValidationError("The cursor is not valid.", details=details)
    return text.removeprefix(mark)
