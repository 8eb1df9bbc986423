"""Core as a reader: it follows the feed, and pages through the list, every few minutes."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs

from connectors.domain.flows.signals.feed import FULL_LOOKBACK, SignalFeed
from connectors.domain.flows.signals.queries import Listing
from connectors.domain.model.errors import InfrastructureError, TenantNotFoundError
from connectors.domain.model.ids import SignalId, TenantId
from connectors.domain.model.signal import Signal
from connectors.entrypoints.library import Connectors
from tests.simulation.oracle.answers import ANSWERED_WITHIN, UNHINDERED
from tests.simulation.processes import ConnectionLostError

if TYPE_CHECKING:
    from tests.simulation.run import Run

T = TypeVar("T")

POLLS_EVERY = 240.0
"""Seconds between two polls of the feed."""

POLLS_FOR_A_LIST = 5
"""After so many polls, the whole list is read."""

PAGE = 30
"""Signals of one page of the list."""


@attrs.define(eq=False)
class Core:
    """Reads one tenant's signals."""

    run: "Run"
    tenant_id: TenantId
    given: set[SignalId] = attrs.field(factory=set)
    """By the feed that is open now."""
    _feed: SignalFeed | None = None
    _begun_at: float = 0.0
    _polled_at: float = 0.0

    def work(self) -> None:
        """Read, for ever."""
        schedule, polls = self.run.schedule, 0
        while True:
            schedule.sleep(POLLS_EVERY, "core")
            polls += 1
            try:
                self.poll()
                if polls % POLLS_FOR_A_LIST == 0:
                    self.read_list()
            except InfrastructureError:
                pass  # the next poll catches up
            except (ConnectionLostError, TenantNotFoundError):
                self._feed = None  # it ended with its process; the next one begins where the last poll was

    def poll(self) -> None:
        """What is new; nothing may be given twice."""
        schedule = self.run.schedule
        began = schedule.now
        if self._feed is None:
            since = schedule.instant_of(self._polled_at)
            self._feed = self._call("feed", lambda api: api.queries.feed(self.tenant_id, since=since))
            self._begun_at, self.given = self._polled_at, set()
        feed = self._feed

        def take(_: Connectors) -> None:
            for signal in feed.poll():
                if signal.id in self.given:
                    schedule.report("feed-twice", "the feed gave a signal twice", signal.provider)
                self.given.add(signal.id)

        self._call("feed", take)
        self._polled_at = began

    def _call(self, name: str, work: Callable[[Connectors], T]) -> T:
        run, began = self.run, self.run.schedule.now
        answer: T = run.processes.call(f"api:{name}", work)
        if run.plan.profile in UNHINDERED and run.schedule.now - began > ANSWERED_WITHIN:
            run.schedule.report("answered-late", f"{name}: after more than {ANSWERED_WITHIN:.0f} s")
        return answer

    def look(self) -> None:
        """Whatever arrived while this feed was open, and before its last poll, was given."""
        for row in self.run.database.memory.signals.values():
            arrived_at = self.run.database.arrivals.get(row.id)
            if row.tenant_id != self.tenant_id or row.id in self.given or arrived_at is None:
                continue
            # The feed looks back so far only: an id that was made longer before it was committed, or by a clock that is
            # further behind, is not promised. An id by a clock that is ahead is given late, and not missed.
            made_at = self.run.schedule.second_of(row.received_at)
            is_too_old = arrived_at - made_at + self._clock > FULL_LOOKBACK.total_seconds()
            if self._begun_at <= min(made_at, arrived_at) and arrived_at < self._polled_at and not is_too_old:
                self.run.schedule.report("feed-missed", "the feed did not give a signal that arrived", row.provider)
                return

    @property
    def _clock(self) -> float:
        """How far the API's clock, by which the feed looks back, is ahead."""
        return self.run.plan.offsets.get("api", 0.0)

    def read_list(self) -> None:
        """The list, page by page: it shows nothing twice, and leaves out nothing that was there all the time."""
        schedule = self.run.schedule
        before, cursor = self._present(), None
        shown: list[SignalId] = []
        while True:
            page = self._call("list", partial(self._page, cursor))
            shown += [one.id for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        if len(shown) != len(set(shown)):
            schedule.report("list-twice", "a list that was read to its end has a signal twice")
        if (before & self._present()) - set(shown):
            schedule.report("list-misses", "a list that was read to its end misses a signal")

    def _page(self, cursor: str | None, api: Connectors) -> Listing[Signal]:
        return api.queries.list_signals(self.tenant_id, limit=PAGE, cursor=cursor)

    def _present(self) -> set[SignalId]:
        self.run.database.wait_for_writer()
        return {row.id for row in self.run.database.memory.signals.values() if row.tenant_id == self.tenant_id}
