"""Following a tenant's signals as they arrive: nothing left out, nothing twice."""

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
"""How far every look goes back behind the one before: an id is made a blink before its transaction ends."""

FULL_LOOKBACK = timedelta(seconds=60)
"""How far a thorough look goes back: for transactions that had to wait, and for machines whose clocks are behind."""

FULL_LOOKBACK_EVERY = timedelta(seconds=5)
"""How often a look is thorough. Not always: a history that is being read brings a thousand signals a second, and a look
reads all of its stretch."""

_TIME_SHIFT = 80
"""Bits of a UUIDv7 below its milliseconds (RFC 9562 §5.7)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.define(kw_only=True)
class SignalTail:
    """What arrives for one tenant.

    Ids tell in which order signals were made, but not in which order their transactions ended, and only what is
    committed can be seen. So every look goes back a little behind the one before, and remembers what it has seen there.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    tenant_id: TenantId
    where: SignalFilter
    """Narrowed to provider, connection and kind."""
    _since: datetime
    _looked_at: datetime
    _full_look_at: datetime
    _seen: set[SignalId] = attrs.field(factory=set)

    @classmethod
    def begin(
        cls,
        unit_of_work: UnitOfWorkFactory,
        clock: Clock,
        tenant_id: TenantId,
        where: SignalFilter,
        since: datetime | None = None,
    ) -> "SignalTail":
        """The tail of what arrives from now on, or has arrived since that instant."""
        now = clock.now()
        start = now if since is None else since
        tail = cls(
            unit_of_work=unit_of_work,
            clock=clock,
            tenant_id=tenant_id,
            where=where,
            since=now - FULL_LOOKBACK if since is None else since,
            looked_at=start,
            full_look_at=start,
        )
        if since is None:
            for _ in tail._unseen(tail._since, now):
                pass  # it is there already, and no news
        return tail

    def look(self) -> Iterator[Signal]:
        """What can be read now and has not been given before, in the order of its ids, without payloads.

        Raises:
            InfrastructureError: our database failed. The next look makes up for it.
        """
        now = self.clock.now()
        is_thorough = now - self._full_look_at >= FULL_LOOKBACK_EVERY
        floor = self._full_look_at - FULL_LOOKBACK if is_thorough else self._looked_at - SHORT_LOOKBACK
        for signal in self._unseen(max(floor, self._since), now):
            if self._is_wanted(signal):
                yield signal
        self._looked_at = now
        if is_thorough:
            self._full_look_at = now
            forgotten = first_id_at(now - FULL_LOOKBACK)
            self._seen = {one for one in self._seen if one > forgotten}

    def _unseen(self, floor: datetime, now: datetime) -> Iterator[Signal]:
        after, remembered = first_id_at(floor), first_id_at(now - FULL_LOOKBACK)
        while True:
            with self.unit_of_work() as uow:
                page = uow.signals.list_arrived(self.tenant_id, after=after, limit=PAGE)
            for signal in page:
                if signal.id not in self._seen:
                    if signal.id > remembered:  # no later look goes back further
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
    """An id below all that are made from that millisecond on, and above all that were made before."""
    milliseconds = max((at - _EPOCH) // timedelta(milliseconds=1), 0)
    return SignalId(UUID(int=milliseconds << _TIME_SHIFT))
