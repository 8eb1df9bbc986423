"""The coverage ledger: what is proven complete, by which path, and where something may be missing."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from connectors.domain.flows.reading.claims import Claims, by_family
from connectors.domain.model.connection import Connection
from connectors.domain.model.coverage import ALL_FAMILIES, CoveragePath, Gap, GapCause, GapClosedBy, Interval
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.spans import Span, Spans
from connectors.domain.model.webhook import Recorded
from connectors.domain.providers.contract import Family, Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class FamilyCoverage:
    """What the ledger says about one family of events."""

    family: Family
    intervals: tuple[Interval, ...]
    """Proven periods, the earliest first; those of different paths may overlap."""
    gaps: tuple[Gap, ...]
    """The earliest first; closed ones are included until they are deleted."""
    pending: tuple[Span, ...] = ()
    """What is wanted and not read yet, although it can be."""
    streams_aside: int = 0
    """How many streams that the family needs cannot be read now."""

    @property
    def open_gaps(self) -> tuple[Gap, ...]:
        """Those where something may still be missing."""
        return tuple(gap for gap in self.gaps if gap.closed_at is None)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing of what is wanted."""
        return not self.open_gaps and not self.pending and not self.streams_aside

    @property
    def paths(self) -> tuple[CoveragePath, ...]:
        """Which paths can prove it."""
        return tuple(path for path in CoveragePath if _shows(self.family, path))


@attrs.frozen(kw_only=True)
class Ledger:
    """Writes the coverage ledger, in its callers' transactions."""

    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry

    # --- what is read --------------------------------------------------------------------------------------------

    def claims(self, uow: UnitOfWork, connection: Connection) -> Claims | None:
        """What reading proves of the connection; None if nothing was read yet, or its provider is not installed."""
        provider = self.providers.find(connection.provider)
        if provider is None or provider.streams is None:
            return None
        owner = (connection.tenant_id, connection.id)
        account = uow.accounts.find(*owner)
        return Claims.of(provider.streams, account, uow.streams.list(*owner), uow.parked.list_open(*owner))

    def review(self, uow: UnitOfWork, connection: Connection, claims: Claims) -> None:
        """Close the stored gaps that have been read by now, and shorten those whose beginning has been."""
        open_gaps = uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=True)
        if not open_gaps:
            return
        read = self._read_ranges(connection, claims)
        provider = self.providers.find(connection.provider)
        families = () if provider is None else provider.event_families
        for gap in open_gaps:
            names = read if gap.family == ALL_FAMILIES else {gap.family: read.get(gap.family, ())}
            ranges: Iterable[Spans] = names.values()
            if gap.stream is not None:
                ranges = [claims.read_of(gap.stream, family) for family in families if family.name == gap.family]
            starts = [_unproven_from(spans, gap.from_at, gap.to_at) for spans in ranges]
            left = [start for start in starts if start is not None]
            if starts and not left:
                self.close(uow, gap, GapClosedBy.SYNC)
            elif left and min(left) > gap.from_at:
                uow.coverage.save_gap(attrs.evolve(gap, from_at=min(left)))

    def close(self, uow: UnitOfWork, gap: Gap, closed_by: GapClosedBy) -> None:
        """Close a gap: what was missing has arrived, or somebody gave it up."""
        uow.coverage.save_gap(attrs.evolve(gap, closed_at=self.clock.now(), closed_by=closed_by))

    def _read_ranges(self, connection: Connection, claims: Claims | None) -> Mapping[str, Spans]:
        provider = self.providers.find(connection.provider)
        return {} if provider is None else by_family(claims, provider.event_families)

    # --- gaps ----------------------------------------------------------------------------------------------------

    def open_gap(
        self,
        uow: UnitOfWork,
        connection: Connection,
        families: Iterable[str],
        cause: GapCause,
        reason: str,
        *,
        from_at: datetime,
        to_at: datetime | None,
        reference: str = "",
        stream: str | None = None,
    ) -> bool:
        """Record that events of these families may be missing since the instant; whether that is new.

        What a sync run has read is not missing: the gap begins after it, or is recorded as closed.
        """
        is_new = False
        read = self._read_ranges(connection, self.claims(uow, connection))
        for name in families:
            start = from_at if stream is not None else _unproven_from(read.get(name, ()), from_at, to_at)
            gap = Gap(
                id=self.entropy.uuid7(self.clock.now()),
                tenant_id=connection.tenant_id,
                connection_id=connection.id,
                family=name,
                cause=cause,
                reference=reference,
                reason=reason,
                stream=stream,
                from_at=from_at if start is None else start,
                to_at=to_at,
                opened_at=self.clock.now(),
                closed_at=self.clock.now() if start is None else None,
                closed_by=GapClosedBy.SYNC if start is None else None,
            )
            if uow.coverage.open_gap(gap) is Recorded.NEW and start is not None:
                is_new = True
        if is_new:
            log.warning(
                "coverage_gap_opened",
                extra={
                    "tenant_id": str(connection.tenant_id),
                    "connection_id": str(connection.id),
                    "cause": str(cause),
                    "reason": reason,
                },
            )
        return is_new

    def family_names(self, provider: Provider, event: str | None) -> tuple[str, ...]:
        """The family of an event; the name for all of them where it is unknown."""
        family = provider.family_of(event)
        return (ALL_FAMILIES,) if family is None else (family.name,)

    # --- the stream of deliveries --------------------------------------------------------------------------------

    def note_stream_whole(self, uow: UnitOfWork, connection: Connection, provider: Provider) -> None:
        """Record that every subscription works: from now on, if not before, deliveries prove their families."""
        now = self.clock.now()
        known = _by_family(uow.coverage.list_intervals(connection.tenant_id, connection.id), CoveragePath.WEBHOOK)
        opened = {}
        for family in provider.event_families:
            intervals = known.get(family.name, ())
            if _is_pushed_in_full(family) and not any(one.to_at is None for one in intervals):
                growing = attrs.evolve(_interval(connection, family.name, CoveragePath.WEBHOOK, now, now), to_at=None)
                opened[family.name] = [*intervals, growing]
        uow.coverage.replace_intervals(connection.tenant_id, connection.id, CoveragePath.WEBHOOK, opened)
        for gap in uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=True):
            if gap.cause is GapCause.STREAM_BROKEN and gap.to_at is None:
                uow.coverage.save_gap(attrs.evolve(gap, to_at=max(now, gap.from_at)))

    def note_stream_broken(
        self, uow: UnitOfWork, connection: Connection, provider: Provider | None, *, since: datetime, reason: str
    ) -> None:
        """Record that deliveries have proven nothing since that instant, until the stream is whole again.

        The provider is None where it is no longer installed.
        """
        pushed = self._end_stream(uow, connection, since)
        if provider is not None:
            pushed = [family.name for family in provider.event_families if family.name in pushed]
        self.open_gap(uow, connection, pushed, GapCause.STREAM_BROKEN, reason, from_at=since, to_at=None)

    def note_stream_ended(self, uow: UnitOfWork, connection: Connection) -> None:
        """Record that deliveries have ended on purpose: a disconnect leaves no gap."""
        now = self.clock.now()
        self._end_stream(uow, connection, now)
        for gap in uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=True):
            if gap.to_at is None:
                uow.coverage.save_gap(attrs.evolve(gap, to_at=max(now, gap.from_at)))

    def _end_stream(self, uow: UnitOfWork, connection: Connection, at: datetime) -> list[str]:
        """End the intervals that deliveries are still extending; the families that this concerns."""
        known = _by_family(uow.coverage.list_intervals(connection.tenant_id, connection.id), CoveragePath.WEBHOOK)
        ended = {}
        for name, intervals in known.items():
            if any(one.to_at is None for one in intervals):
                cut = [one if one.to_at is not None else attrs.evolve(one, to_at=at) for one in intervals]
                ended[name] = [one for one in cut if one.to_at is None or one.to_at > one.from_at]
        uow.coverage.replace_intervals(connection.tenant_id, connection.id, CoveragePath.WEBHOOK, ended)
        return list(ended)


@attrs.frozen(kw_only=True)
class CoverageFlow:
    """Shows the ledger."""

    unit_of_work: UnitOfWorkFactory
    providers: ProviderRegistry
    ledger: Ledger

    def show(self, tenant_id: TenantId, connection_id: ConnectionId) -> tuple[FamilyCoverage, ...]:
        """What is known of each of the connection's families; a gap of unknown family is listed with every family.

        Raises:
            ConnectionNotFoundError: the tenant has none with this id.
            TenantNotFoundError: it is being erased.
        """
        with self.unit_of_work() as uow:
            connection = uow.connections.get(tenant_id, connection_id)
            uow.tenants.get(tenant_id)  # raises if it is being erased
            intervals = uow.coverage.list_intervals(tenant_id, connection_id)
            gaps = uow.coverage.list_gaps(tenant_id, connection_id)
            claims = self.ledger.claims(uow, connection)
        provider = self.providers.find(connection.provider)
        families = _stored_families(intervals, gaps) if provider is None else provider.event_families
        return tuple(_of_family(family, intervals, gaps, claims) for family in families)


def _of_family(
    family: Family, intervals: Iterable[Interval], gaps: Iterable[Gap], claims: Claims | None
) -> FamilyCoverage:
    pushed = [one for one in intervals if one.family == family.name and one.path is CoveragePath.WEBHOOK]
    kept = [gap for gap in gaps if gap.family in {family.name, ALL_FAMILIES}]
    if claims is None:
        return FamilyCoverage(family=family, intervals=tuple(pushed), gaps=tuple(kept))
    if not claims.is_pushed(family):
        pushed = []
    return FamilyCoverage(
        family=family,
        intervals=tuple(sorted([*pushed, *claims.intervals(family)], key=lambda one: (one.from_at, one.path))),
        gaps=tuple(sorted([*kept, *claims.gaps(family)], key=lambda gap: (gap.from_at, gap.id))),
        pending=claims.pending(family),
        streams_aside=sum(family.name in one.stream.families or one.is_discovery for one in claims.aside()),
    )


def _stored_families(intervals: Iterable[Interval], gaps: Iterable[Gap]) -> tuple[Family, ...]:
    """The families that the ledger knows of a provider that is no longer installed: no path can prove them any more."""
    names = ({one.family for one in intervals} | {gap.family for gap in gaps}) - {ALL_FAMILIES}
    return tuple(
        Family(name=name, is_pushed=False, is_read=False, is_backfilled=False) for name in sorted(names or {"events"})
    )


def _is_pushed_in_full(family: Family) -> bool:
    """Whether deliveries themselves say what happened. A notification that only starts a read proves nothing."""
    return family.is_pushed and bool(family.events)


def _shows(family: Family, path: CoveragePath) -> bool:
    match path:
        case CoveragePath.SYNC:
            return family.is_read
        case CoveragePath.BACKFILL:
            return family.is_backfilled
        case CoveragePath.WEBHOOK:
            return _is_pushed_in_full(family)


def _unproven_from(spans: Spans, from_at: datetime, to_at: datetime | None) -> datetime | None:
    """Where the unproven part of a gap begins; None if all of it is proven.

    A gap is only shortened from its beginning: a span that begins inside it changes nothing yet.
    """
    for one in spans:
        if one.from_at <= from_at < one.to_at:
            return None if to_at is not None and to_at <= one.to_at else one.to_at
    return from_at


def _by_family(intervals: Sequence[Interval], path: CoveragePath) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    for one in intervals:
        if one.path is path:
            found.setdefault(one.family, []).append(one)
    return found


def _interval(connection: Connection, family: str, path: CoveragePath, from_at: datetime, to_at: datetime) -> Interval:
    return Interval(
        tenant_id=connection.tenant_id,
        connection_id=connection.id,
        family=family,
        path=path,
        from_at=from_at,
        to_at=to_at,
    )
