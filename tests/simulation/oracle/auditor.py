"""Looks at the service every virtual hour, from outside."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from connectors.domain.model.ids import SignalId, TenantId
from tests.simulation.oracle import connections, coverage, reading, vendors
from tests.simulation.oracle.looks import erasures

if TYPE_CHECKING:
    from tests.simulation.run import Run

EVERY = 3600.0
"""Seconds between two looks."""


@attrs.define(eq=False)
class Auditor:
    """Core's auditor: remembers what it has seen."""

    run: "Run"
    _looked_at: float = 0.0
    _seen: dict[SignalId, TenantId] = attrs.field(factory=dict)
    _extents: Mapping[reading.Row, reading.Extent] = attrs.field(factory=dict)

    def work(self) -> None:
        """Look, for ever."""
        while True:
            self.run.schedule.sleep(EVERY, "audit")
            self.run.database.wait_for_writer()
            self.look()

    def look(self) -> None:
        """One look."""
        self._keeps_signals()
        coverage.claims_nothing_false(self.run)
        connections.tell_what_fails(self.run)
        vendors.leaves_neighbours_unharmed(self.run)
        reading.says_what_it_cannot_read(self.run)
        reading.reads_the_others(self.run)
        self._extents = reading.goes_only_forward(self.run, self._extents)

    def _keeps_signals(self) -> None:
        """A signal that was seen stays, unless its tenant was erased since then."""
        schedule = self.run.schedule
        present = {row.id: row.tenant_id for row in self.run.database.memory.signals.values()}
        gone = {tenant_id for signal_id, tenant_id in self._seen.items() if signal_id not in present}
        for tenant_id in sorted(gone):
            tenant = self.run.tenants.index(tenant_id)
            begun = [one for one in self.run.plan.items if one["do"] == "erase" and one["tenant"] == tenant]
            answered = [one.ended for one in erasures(self.run, tenant)]
            if sum(one["at"] <= schedule.now for one in begun) <= sum(one < self._looked_at for one in answered):
                schedule.report("signal-gone", "a signal that was seen is gone")
        self._seen, self._looked_at = present, schedule.now
