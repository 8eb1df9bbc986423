"""What a read costs that finds nothing new."""

from typing import TYPE_CHECKING

import attrs

from connectors.domain.model.stream_state import AccountState, StreamStatus
from connectors.domain.model.streams import DISCOVERY
from tests.simulation.ports.database import SimulatedUnitOfWork

if TYPE_CHECKING:
    from tests.simulation.ports.wire import Exchange
    from tests.simulation.run import Run

RUNS_IN_A_STATEMENT = 200
"""How many streams that bring nothing are stored together at least."""

MOST_STORES = 3
"""Transactions besides: a delivery or a job that comes meanwhile has a stream read once more."""

MOST_LISTINGS = 3
"""Requests of a read besides two for each stream, of which one is for what comes meanwhile: the list of streams."""

EVENTFUL = frozenset({"signals.record_all", "snapshots.save", "parked.save", "coverage.open_gap"})
"""What a read that brings nothing does not write."""


@attrs.define
class Turn:
    """One worker's time slice with one connection."""

    actor: str
    provider: str
    first: int
    """Of the requests that were sent meanwhile, in the wire's log."""
    end: int | None = None
    """None while it lasts, and where the worker died."""
    stores: int = 0
    """Transactions that stored streams."""
    listings: int = 0
    """Of these, those that stored discovery."""
    is_quiet: bool = True
    """Whether it stored nothing but how far the streams are read."""
    streams: int = 0


@attrs.define(eq=False)
class Cost:
    """Remembers what each turn took."""

    run: "Run"
    turns: list[Turn] = attrs.field(factory=list)
    _open: dict[tuple[object, object], Turn] = attrs.field(factory=dict)

    def requests(self, turn: "Turn") -> "list[Exchange]":
        """What was asked for in a turn."""
        return [one for one in self.run.wire.log[turn.first : turn.end] if one.by == turn.actor]

    def look(self, transaction: SimulatedUnitOfWork) -> None:
        """Look at what one transaction has stored."""
        changes = transaction.changes
        for one in changes:
            if one.table == "accounts" and one.before is not None and one.before.run != one.after.run:
                self._begin(one.after)
        actor = self.run.schedule.current
        found = {
            (one.after.tenant_id, one.after.connection_id)
            for one in changes
            if one.table in {"accounts", "streams"} and one.after is not None
        }
        for key in found:
            held = self._open.get(key)
            if held is None or actor is None or actor.name != held.actor:
                continue
            stored = [one.after for one in changes if one.table == "streams"]
            held.stores += bool(stored)
            held.listings += any(one.key == DISCOVERY for one in stored)
            # A page that is not the last one of its run, or a failure, is stored by itself.
            held.is_quiet &= all(
                one.status is StreamStatus.READY and one.incremental.run is None and one.backfill.run is None
                for one in stored
            )
            held.is_quiet &= EVENTFUL.isdisjoint(transaction.writes)
            if any(one.table == "accounts" and one.after.running_since is None for one in changes):
                self._end(key, held)

    def _begin(self, account: AccountState) -> None:
        actor = self.run.schedule.current
        if actor is not None:
            key = (account.tenant_id, account.connection_id)
            self._open[key] = Turn(actor.name, account.provider, first=len(self.run.wire.log))
            self.turns.append(self._open[key])

    def _end(self, key: tuple[object, object], held: Turn) -> None:
        del self._open[key]
        rows = self.run.database.memory.streams.find("connection", key)
        held.end, held.streams = len(self.run.wire.log), len(rows)


def is_small_when_quiet(run: "Run") -> None:
    """A read that brings nothing asks for each stream once and stores many of them in one statement."""
    if run.plan.profile != "calm" or any(item["do"] in {"refuse", "lose"} for item in run.plan.items):
        return
    for one in run.cost.turns:
        if one.end is None or not one.is_quiet:
            continue
        if one.stores - one.listings > MOST_STORES + one.streams / RUNS_IN_A_STATEMENT:
            run.schedule.report("costly", "a read that brings nothing is stored stream by stream", one.provider)
        lists = next(account.lists for account in run.accounts.values() if account.slug == one.provider)
        asked = sum(any(part in each.path for part in lists) for each in run.cost.requests(one))
        if asked > 2 * one.streams + MOST_LISTINGS:
            text = "a read that brings nothing asks again and again"
            run.schedule.report("costly", text, one.provider)
