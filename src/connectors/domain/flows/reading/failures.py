"""What happens when something cannot be read: who is set aside, who waits, and until when. docs/engine.md has the
rules."""

import logging
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.reading.agenda import Kind, Work
from connectors.domain.flows.reading.claims import was_read
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.reading.time_slice import SliceLostError, TimeSlice
from connectors.domain.flows.reading.transitions import (
    FRESH_ENOUGH,
    CircleError,
    forgiven,
    gone,
    limited,
    parked_again,
    pause_after,
    read_suspect,
    refused,
    set_aside,
    write_suspect,
)
from connectors.domain.model.coverage import GapCause
from connectors.domain.model.errors import (
    AccessLostError,
    ProviderUnavailableError,
    RateLimitedError,
    error_text,
    text_with_next_step,
)
from connectors.domain.model.spans import EPOCH, Span, common, without
from connectors.domain.model.stream_state import AccountState, ClosedBy, StreamState
from connectors.domain.model.streams import DISCOVERY
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory

SHORTEST_LIMIT = timedelta(seconds=1)
"""The least pause after a limit, whatever the provider names; each further limit in a row doubles it."""

LONGEST_LIMIT = timedelta(minutes=1)
"""That least pause is never longer."""

SHORTEST_OUTAGE = timedelta(seconds=5)
"""Before a provider that was down is probed again; each further failure in a row doubles it."""

LONGEST_OUTAGE = timedelta(minutes=15)
"""It is never longer."""

SEVERAL = 3
"""So many streams in a row for which the provider is not available: it is down, and none of them is to blame."""

MOST_SUSPECTED = 2
"""How often a stream may let its provider seem to be down before it is blamed itself."""

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Failures:
    """Records what could not be read."""

    unit_of_work: UnitOfWorkFactory
    entropy: Entropy
    ledger: Ledger

    def set_aside(self, held: TimeSlice, work: Work, error: Exception) -> None:
        """The stream, or the parked item, could not be read; everything else goes on.

        Raises:
            SliceLostError: the connection is no longer ours.
            InfrastructureError: our database failed.
        """
        now = held.now()
        reason = text_with_next_step(error)
        if work.item is not None:
            self.again_later(held, work, reason)
            return
        with self.unit_of_work() as uow:
            account = _own(uow, held, work, now)
            (state,) = uow.streams.lock(account.tenant_id, account.connection_id, [work.key])
            changed = set_aside(state, work.mode, reason, now)
            if isinstance(error, CircleError):
                changed = changed.with_reading(work.mode, attrs.evolve(changed.reading(work.mode), run=None))
            if isinstance(error, AccessLostError) and self._is_unlisted(held, state):
                unread = self._close_parked(uow, held, state.key, now)
                # If it comes back, they are read again as history.
                changed = gone(state, reason, now, unread)
                self._open_gaps(uow, held, changed, reason, now)
            uow.streams.save([changed])
            uow.accounts.save(account)
        _remember(held, account, changed)
        failures = changed.reading(work.mode).failures
        log.warning("stream_set_aside", extra={"stream": work.key, "reason": reason, "failures": failures})

    def refused_by_us(self, held: TimeSlice, work: Work, error: Exception) -> None:
        """Our database refused to store what was read. Raises like `set_aside`: then it is down, and nobody counts."""
        now = held.now()
        held.quiet.clear()
        with self.unit_of_work() as uow:
            account = _own(uow, held, work, now)
            owner = (account.tenant_id, account.connection_id)
            # As they are stored: part of what we hold in memory may have been refused.
            held.agenda.states = {one.key: one for one in uow.streams.list(*owner)}
            held.agenda.parked = {(one.stream_key, one.reference): one for one in uow.parked.list_open(*owner)}
            (state,) = uow.streams.lock(*owner, [work.key])
            changed = refused(state, work.mode, f"Our database refused it: {error_text(error)}", now)
            uow.streams.save([changed])
            uow.accounts.save(account)
        _remember(held, account, changed)
        log.warning("page_refused", extra={"stream": work.key, "reason": error_text(error)})

    def unavailable(self, held: TimeSlice, work: Work, error: ProviderUnavailableError) -> None:
        """The provider did not answer for this stream. If that goes for several in a row, it is down: everything waits,
        and no stream is to blame. Raises like `set_aside`."""
        now = held.now()
        if work.item is not None:
            self.again_later(held, work, error.message)
            return
        with self.unit_of_work() as uow:
            account = _own(uow, held, work, now)
            owner = (account.tenant_id, account.connection_id)
            known = held.agenda.states[work.key].reading(work.mode)
            # One that was suspected before, while others could be read, is to blame itself.
            is_suspect = known.suspected < MOST_SUSPECTED
            suspects = tuple(dict.fromkeys([*account.suspects, *([write_suspect(work.mode, work.key)] * is_suspect)]))
            readable = sum(one.is_readable and not one.is_discovery for one in held.agenda.states.values())
            is_down = is_suspect and (account.outages > 0 or len(suspects) >= min(SEVERAL, max(readable, 1)))
            keys = {work.key, *(key for _, key in map(read_suspect, suspects))} if is_down else {work.key}
            states = {one.key: one for one in uow.streams.lock(*owner, keys)}
            states[work.key] = set_aside(states[work.key], work.mode, error.message, now)
            if is_down:
                for mode, key in map(read_suspect, suspects):
                    if key in states:
                        states[key] = forgiven(states[key], mode)
                outages = account.outages + 1
                account = attrs.evolve(
                    account,
                    outages=outages,
                    suspects=suspects,
                    paused_until=now + self._outage_pause(outages),
                    pause_reason=error.message,
                )
            else:
                account = attrs.evolve(account, suspects=suspects)
            uow.streams.save(list(states.values()))
            uow.accounts.save(account)
        _remember(held, account, *states.values())
        log.warning("provider_unavailable", extra={"stream": work.key, "reason": error.message, "is_down": is_down})

    def limited(self, held: TimeSlice, work: Work, error: RateLimitedError) -> None:
        """The provider wants us to wait. No stream is to blame. Raises like `set_aside`."""
        now = held.now()
        with self.unit_of_work() as uow:
            account = _own(uow, held, work, now)
            limits = account.limits + 1
            until = max(error.retry_at, now + pause_after(limits, SHORTEST_LIMIT, LONGEST_LIMIT))
            account = attrs.evolve(account, limits=limits, paused_until=until, pause_reason=error.message)
            # Next time others come first: one stream, or one thing, must not use up what is allowed.
            changed, item = [], None
            if work.item is None:
                (state,) = uow.streams.lock(account.tenant_id, account.connection_id, [work.key])
                changed = [limited(state, until, now)]
                uow.streams.save(changed)
            else:
                item = work.item
                item = uow.parked.lock(item.tenant_id, item.connection_id, item.stream_key, item.reference)
                if item is not None and item.closed_at is None:
                    item = attrs.evolve(item, next_at=until)
                    uow.parked.save(item)
            uow.accounts.save(account)
        _remember(held, account, *changed)
        if item is not None and item.closed_at is None:
            held.agenda.parked[item.stream_key, item.reference] = item
        log.info("limited", extra={"reason": error.message, "seconds": round((until - now).total_seconds())})

    def again_later(self, held: TimeSlice, work: Work, reason: str) -> None:
        """A parked item could not be read once more. Raises like `set_aside`."""
        item, now = work.item, held.now()
        assert item is not None  # noqa: S101 - the caller has looked
        with self.unit_of_work() as uow:
            account = _own(uow, held, work, now)
            present = uow.parked.lock(item.tenant_id, item.connection_id, item.stream_key, item.reference)
            if present is not None and present.closed_at is None:
                present = parked_again(present, reason, now)
                uow.parked.save(present)
            uow.accounts.save(account)
        held.agenda.account = account
        if present is None or present.closed_at is not None:
            held.agenda.parked.pop((item.stream_key, item.reference), None)
        else:
            held.agenda.parked[item.stream_key, item.reference] = present

    @staticmethod
    def _close_parked(uow: UnitOfWork, held: TimeSlice, stream_key: str, now: datetime) -> list[Span]:
        """Close the parked things of a stream that is gone: they are gone with it; when they happened."""
        spans = []
        for key, item in sorted(held.agenda.parked.items()):
            if key[0] == stream_key:
                present = uow.parked.lock(item.tenant_id, item.connection_id, *key)
                if present is not None and present.closed_at is None:
                    uow.parked.save(attrs.evolve(present, closed_at=now, closed_by=ClosedBy.GONE))
                del held.agenda.parked[key]
                spans.append(item.span)
        return spans

    def _is_unlisted(self, held: TimeSlice, state: StreamState) -> bool:
        """Whether the last discovery did not name it."""
        discovery = held.agenda.states.get(DISCOVERY)
        if discovery is None or discovery.read_until is None or state.is_discovery:
            return False
        return state.listed_at < discovery.read_until - FRESH_ENOUGH

    def _open_gaps(self, uow: UnitOfWork, held: TimeSlice, state: StreamState, reason: str, now: datetime) -> None:
        """Record what is wanted of a stream that is gone and was not read."""
        agenda = held.agenda
        since = EPOCH if was_read(state) else state.found_at  # what could never be read was not promised
        wanted = common(agenda.account.requested, [Span(since, max(now, since))])
        for span in without(wanted, [*agenda.proven(state), *state.given_up]):
            self.ledger.open_gap(
                uow,
                held.session.connection,
                sorted(state.stream.families),
                GapCause.STREAM_GONE,
                f"{state.stream.name} is gone: {reason}",
                from_at=span.from_at,
                to_at=span.to_at,
                reference=f"{state.key}@{span.from_at.isoformat()}",
                stream=state.key,
            )

    def _outage_pause(self, outages: int) -> timedelta:
        pause = pause_after(outages, SHORTEST_OUTAGE, LONGEST_OUTAGE)
        # Jitter over the upper half of the pause: connections that failed together are not probed together.
        return pause * (0.5 + self.entropy.fraction() / 2)


def _own(uow: UnitOfWork, held: TimeSlice, work: Work, now: datetime) -> AccountState:
    known = held.agenda.account
    account = uow.accounts.find(known.tenant_id, known.connection_id, lock=True)
    if account is None or account.run != held.run:
        raise SliceLostError
    # What fails has had its turn, too: a kind of work that fails every time must not keep the others from theirs.
    turn = account.last_turn if work.kind is Kind.DISCOVERY else work.kind
    return attrs.evolve(account, heartbeat_at=now, last_turn=turn, updated_at=now)


def _remember(held: TimeSlice, account: AccountState, *states: StreamState) -> None:
    held.agenda.account = account
    held.agenda.states.update({one.key: one for one in states})
