"""What a connection's reading proves: computed from its streams, never stored. docs/engine.md has the rules."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

import attrs

from connectors.domain.flows.reading.agenda import Agenda
from connectors.domain.model.coverage import CoveragePath, Gap, GapCause, Interval
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.spans import EPOCH, FAR, Span, Spans, common, union, without
from connectors.domain.model.stream_state import AccountState, ParkedState, StreamState, StreamStatus
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.providers.contract import Family, Streams


@attrs.frozen(kw_only=True)
class Claims:
    """What the rows of one connection say, computed when asked."""

    agenda: Agenda

    @classmethod
    def of(
        cls,
        streams: Streams,
        account: AccountState | None,
        states: Iterable[StreamState],
        parked: Iterable[ParkedState],
    ) -> "Claims | None":
        """Those of these rows; None if nothing has been read yet."""
        if account is None:
            return None
        items = {(one.stream_key, one.reference): one for one in parked}
        return cls(
            agenda=Agenda(streams=streams, account=account, states={one.key: one for one in states}, parked=items)
        )

    # --- what is proven ----------------------------------------------------------------------------------------------

    def intervals(self, family: Family) -> list[Interval]:
        """What reading proves of the family, the earliest first."""
        proven = self.read(family)
        by_sync = self._common_proof(family, [path for path in _paths(family) if path is CoveragePath.SYNC])
        return sorted(
            (
                Interval(
                    tenant_id=self.agenda.account.tenant_id,
                    connection_id=self.agenda.account.connection_id,
                    family=family.name,
                    path=path,
                    from_at=span.from_at,
                    to_at=span.to_at,
                )
                for path, spans in (
                    (CoveragePath.SYNC, by_sync),
                    (CoveragePath.BACKFILL, without(proven, by_sync)),
                )
                for span in spans
            ),
            key=lambda one: one.from_at,
        )

    def read(self, family: Family) -> Spans:
        """What has been read of the family, by any path."""
        return self._common_proof(family, _paths(family))

    def is_pushed(self, family: Family) -> bool:
        """Whether webhooks report what happens in every stream of the family."""
        return all(one.stream.is_pushed for one in self._streams_of(family))

    def read_of(self, stream_key: str, family: Family) -> Spans:
        """What has been read of the family in one stream."""
        state = self.agenda.states.get(stream_key)
        return () if state is None else self.agenda.proven(state, _paths(family))

    def pending(self, family: Family) -> Spans:
        """What is wanted of the family and not read yet, of streams that can be read: nobody's fault."""
        if not _paths(family):
            return ()
        discovered = self._discovered()
        if discovered is None:
            return self.agenda.account.requested
        missing = [
            span
            for state in self._streams_of(family)
            if state.status is StreamStatus.READY
            for span in self._unread_of(state)
        ]
        return union(missing)

    def _unread_of(self, state: StreamState) -> Spans:
        """What history has yet to bring of a stream; all that is wanted before it was read the first time."""
        if self.agenda.read_until(state) is not None:
            return self.agenda.history(state)
        return without(self.agenda.account.requested, [*self.agenda.proven(state), *state.given_up])

    def _common_proof(self, family: Family, paths: Sequence[CoveragePath]) -> Spans:
        """The intersection over the family's streams, not beyond the last discovery, less what is parked."""
        discovered = self._discovered()
        if discovered is None or not paths:
            return ()
        streams = self._streams_of(family)
        found: Spans = (Span(EPOCH if streams else self._floor(), discovered.to_at),)
        for state in streams:
            found = common(found, self.agenda.proven(state, paths))
        return without(found, [one.span for one in self._parked_of(family)])

    def _streams_of(self, family: Family) -> list[StreamState]:
        """The streams that the family's completeness needs."""
        wholes = {one.stream.changes_in for one in self.agenda.states.values()}
        return [
            one
            for one in self.agenda.states.values()
            if family.name in one.stream.families
            and one.key not in wholes
            and one.status is not StreamStatus.GONE
            and not one.is_dismissed
            and (one.status is not StreamStatus.UNREADABLE or was_read(one))
        ]

    def _discovered(self) -> Span | None:
        """Up to when the streams are known."""
        state = self.agenda.states.get(DISCOVERY)
        return None if state is None or state.read_until is None else Span(self._floor(), state.read_until)

    def _floor(self) -> datetime:
        return min(one.since for one in self.agenda.account.requests)

    def _parked_of(self, family: Family) -> list[ParkedState]:
        return [
            item
            for item in self.agenda.parked.values()
            if (state := self.agenda.states.get(item.stream_key)) is not None and family.name in state.stream.families
        ]

    # --- what is missing ---------------------------------------------------------------------------------------------

    def aside(self) -> list[StreamState]:
        """The streams that cannot be read now, and could be or should be."""
        return [
            one
            for one in self.agenda.states.values()
            if not one.is_dismissed
            and (
                one.status is StreamStatus.BLOCKED
                or (one.status is StreamStatus.UNREADABLE and (was_read(one) or one.stream.is_chosen))
            )
        ]

    def gaps(self, family: Family) -> list[Gap]:
        """What is missing of the family because it cannot be read: streams aside and parked items."""
        found = [
            self._gap(
                family, GapCause.STREAM_BLOCKED, state.key, state.key, state.reason or "", span, state.status_since
            )
            for state in self.aside()
            if (family.name in state.stream.families or state.is_discovery) and _paths(family)
            for span in self._unread(state)
        ]
        found += [
            self._gap(
                family,
                GapCause.ITEM_UNREADABLE,
                f"{item.stream_key}/{item.reference}",
                item.stream_key,
                item.reason,
                item.span,
                item.opened_at,
            )
            for item in self._parked_of(family)
        ]
        return found

    def _unread(self, state: StreamState) -> Spans:
        """The stretches of a stream aside that are wanted and not read. The last one has no end, unless only history
        cannot be read."""
        if state.is_discovery:
            return (Span(state.read_until or self._floor()),)
        wanted: Spans = self.agenda.account.requested
        until = self.agenda.read_until(state)
        if state.is_readable and not state.incremental.failures and until is not None:
            wanted = common(wanted, [Span(EPOCH, until)])
        return without(wanted, [*self.agenda.proven(state), *state.given_up])

    def _gap(
        self, family: Family, cause: GapCause, reference: str, stream: str, reason: str, span: Span, at: datetime
    ) -> Gap:
        account = self.agenda.account
        name = f"{account.connection_id}/{family.name}/{cause}/{reference}/{rfc3339(span.from_at)}"
        return Gap(
            id=uuid5(NAMESPACE_URL, name),
            tenant_id=account.tenant_id,
            connection_id=account.connection_id,
            family=family.name,
            cause=cause,
            reference=reference,
            reason=reason,
            stream=stream,
            from_at=span.from_at,
            to_at=None if span.to_at == FAR else span.to_at,
            opened_at=at,
        )


def was_read(state: StreamState) -> bool:
    """Whether it could ever be read."""
    return state.read_until is not None or bool(state.proven)


def by_family(claims: Claims | None, families: Iterable[Family]) -> Mapping[str, Spans]:
    """What has been read of each family."""
    return {} if claims is None else {family.name: claims.read(family) for family in families}


def _paths(family: Family) -> list[CoveragePath]:
    """The paths of reading that show all of the family."""
    paths = ((CoveragePath.SYNC, family.is_read), (CoveragePath.BACKFILL, family.is_backfilled))
    return [path for path, shows in paths if shows]
