"""How a connection's coverage is shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import attrs
from msgspec import Meta, Struct, field

from connectors.domain.flows.reading.coverage import FamilyCoverage
from connectors.domain.model.coverage import CoveragePath, Gap, GapCause, GapClosedBy
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.spans import FAR, Span
from connectors.entrypoints.representation.common import Instant


class IntervalView(Struct, frozen=True, kw_only=True):
    """A period that one path has proven complete."""

    # Structs, because an attrs class cannot have a member called `from`.
    from_at: Instant = field(name="from")
    to_at: Annotated[datetime, Meta(tz=True, description="Null: it still grows.")] | None = field(name="to")
    path: CoveragePath


class PeriodView(Struct, frozen=True, kw_only=True):
    """A period."""

    from_at: Instant = field(name="from")
    to_at: Annotated[datetime, Meta(tz=True, description="Null: it has no end.")] | None = field(name="to")


class GapView(Struct, frozen=True, kw_only=True):
    """A period in which events may be missing, or may have been until it was closed."""

    id: UUID
    from_at: Instant = field(name="from")
    to_at: Annotated[datetime, Meta(tz=True, description="Null: it still grows.")] | None = field(name="to")
    cause: GapCause
    reason: str
    stream: Annotated[str, Meta(description="The key of the stream that it is about.")] | None
    opened_at: Instant
    closed_at: Annotated[datetime, Meta(tz=True, description="Null: it is open.")] | None
    closed_by: Annotated[GapClosedBy, Meta(description="Which path brought what was missing, or a person.")] | None


@attrs.frozen(kw_only=True, slots=False)
class FamilyView:
    """What the coverage ledger says about one family of events."""

    name: Annotated[str, Meta(examples=["issues"])]
    kinds: Sequence[SignalKind]
    paths: Annotated[Sequence[CoveragePath], Meta(description="Which of them can prove it complete.")]
    intervals: Annotated[
        Sequence[IntervalView], Meta(description="Proven periods, the earliest first; different paths may overlap.")
    ]
    gaps: Annotated[
        Sequence[GapView], Meta(description="The earliest first; closed ones are kept as long as finished jobs.")
    ]
    pending: Annotated[
        Sequence[PeriodView], Meta(description="What is wanted and not read yet, although it can be read.")
    ]
    streams_aside: Annotated[int, Meta(ge=0, description="How many streams that it needs cannot be read now.")]
    is_complete: Annotated[
        bool,
        Meta(description="No gap is open, nothing is pending. Nothing outside the intervals was ever checked."),
    ]


@attrs.frozen(kw_only=True, slots=False)
class CoverageView:
    """Which of a connection's events are proven complete, and where some may be missing."""

    connection_id: UUID
    families: Sequence[FamilyView]
    open_gaps: Annotated[
        int, Meta(ge=0, description="A gap of unknown family is listed with every family, and counts once.")
    ]


def show_coverage(connection_id: ConnectionId, families: Sequence[FamilyCoverage]) -> CoverageView:
    """The connection's coverage, family by family."""
    return CoverageView(
        connection_id=connection_id,
        families=[_family(one) for one in families],
        open_gaps=len({gap.id for one in families for gap in one.open_gaps}),
    )


def show_period(span: Span) -> PeriodView:
    """The span."""
    return PeriodView(from_at=span.from_at, to_at=None if span.to_at == FAR else span.to_at)


def _family(coverage: FamilyCoverage) -> FamilyView:
    return FamilyView(
        name=coverage.family.name,
        kinds=sorted(coverage.family.kinds),
        paths=coverage.paths,
        intervals=[IntervalView(from_at=one.from_at, to_at=one.to_at, path=one.path) for one in coverage.intervals],
        gaps=[_gap(one) for one in coverage.gaps],
        pending=[show_period(one) for one in coverage.pending],
        streams_aside=coverage.streams_aside,
        is_complete=coverage.is_complete,
    )


def _gap(gap: Gap) -> GapView:
    return GapView(
        id=gap.id,
        from_at=gap.from_at,
        to_at=gap.to_at,
        cause=gap.cause,
        reason=gap.reason,
        stream=gap.stream,
        opened_at=gap.opened_at,
        closed_at=gap.closed_at,
        closed_by=gap.closed_by,
    )
