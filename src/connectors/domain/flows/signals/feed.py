"""The feed: a tenant's signals as they arrive, each exactly once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs

from connectors.domain.model.ids import SignalId, TenantId
from connectors.domain.model.signal import Signal, SignalFilter
from connectors.ports.clock import Clock
from connectors.ports.unit_of_work import UnitOfWorkFactory

PAGE = 500
"""Signals that one transaction reads."""

SHORT_LOOKBACK = timedelta(seconds=2)
"""How far each poll looks back before the previous one: an id is made shortly before its transaction commits."""

FULL_LOOKBACK = timedelta(seconds=60)
"""How far a full lookback goes: for transactions that had to wait, and for machines whose clocks are behind."""

FULL_LOOKBACK_EVERY = timedelta(seconds=5)
"""How often a poll looks back fully. Not each time: a backfill may bring a thousand signals a second, and a full
lookback reads them all again."""

_TIME_SHIFT = 80
"""Bits of a UUIDv7 below its milliseconds (RFC 9562 §5.7)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.define(kw_only=True)
class SignalFeed:
    """What arrives for one tenant.

    Ids are in the order in which signals were made, but their transactions commit in another order, and only committed
    signals are visible. So each poll starts a little before the previous one and remembers what it has seen.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    tenant_id: TenantId
    where: SignalFilter
    """Narrowed to provider, connection and kind."""
    _since: datetime
    _polled_at: datetime
    _full_lookback_at: datetime
    _seen: set[SignalId] = attrs.field(factory=set)

    @classmethod
    def begin(
        cls,
        unit_of_work: UnitOfWorkFactory,
        clock: Clock,
        tenant_id: TenantId,
        where: SignalFilter,
        since: datetime | None = None,
    ) -> "SignalFeed":
        """The feed of what arrives from now on, or has arrived since that instant."""
        now = clock.now()
        start = now if since is None else since
        feed = cls(
            unit_of_work=unit_of_work,
            clock=clock,
            tenant_id=tenant_id,
            where=where,
            since=now - FULL_LOOKBACK if since is None else since,
            polled_at=start,
            full_lookback_at=start,
        )
        if since is None:
            for _ in feed._unseen(feed._since, now):
                pass  # mark what is already there as seen
        return feed

    def poll(self) -> Iterator[Signal]:
        """The signals that are visible now and were not returned before, sorted by id, without payloads.

        Raises:
            InfrastructureError: our database failed. The next poll catches up.
        """
        now = self.clock.now()
        is_full = now - self._full_lookback_at >= FULL_LOOKBACK_EVERY
        floor = self._full_lookback_at - FULL_LOOKBACK if is_full else self._polled_at - SHORT_LOOKBACK
        for signal in self._unseen(max(floor, self._since), now):
            if self._is_wanted(signal):
                yield signal
        self._polled_at = now
        if is_full:
            self._full_lookback_at = now
            oldest = first_id_at(now - FULL_LOOKBACK)
            self._seen = {one for one in self._seen if one > oldest}

    def _unseen(self, floor: datetime, now: datetime) -> Iterator[Signal]:
        after, remembered = first_id_at(floor), first_id_at(now - FULL_LOOKBACK)
        while True:
            with self.unit_of_work() as uow:
                page = uow.signals.list_arrived(self.tenant_id, after=after, limit=PAGE)
            for signal in page:
                if signal.id not in self._seen:
                    if signal.id > remembered:  # no later poll looks back further
                        self._seen.add(signal.id)
                    yield signal
            if len(page) < PAGE:
                return
            after = page[-1].id

    def _is_wanted(self, signal: Signal) -> bool:
        where = self.where
        return (
            where.provider in {None, signal.provider}
            and where.connection_id in {None, signal.connection_id}
            and where.kind in {None, signal.kind}
        )


def first_id_at(at: datetime) -> SignalId:
    """An id that is below all ids made from that millisecond on, and above all made before."""
    milliseconds = max((at - _EPOCH) // timedelta(milliseconds=1), 0)
    return SignalId(UUID(int=milliseconds << _TIME_SHIFT))
