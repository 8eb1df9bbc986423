"""Looks at the service every virtual hour, from outside."""

from typing import TYPE_CHECKING

import attrs

from connectors.domain.model.ids import SignalId, TenantId
from tests.simulation.oracle import coverage, vendors

if TYPE_CHECKING:
    from tests.simulation.run import Run

EVERY = 3600.0
"""Seconds between two looks."""


@attrs.define(eq=False)
class Auditor:
    """Core's auditor: remembers what it has seen."""

    run: "Run"
    _seen: dict[SignalId, TenantId] = attrs.field(factory=dict)

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
        vendors.leaves_neighbours_unharmed(self.run)

    def _keeps_signals(self) -> None:
        """A signal that was seen stays, unless its tenant was erased."""
        present = {row.id: row.tenant_id for row in self.run.database.memory.signals.values()}
        erased = {self.run.tenants[one.item["tenant"]] for one in self.run.people.diary if one.item["do"] == "erase"}
        for signal_id, tenant_id in self._seen.items():
            if signal_id not in present and tenant_id not in erased:
                self.run.schedule.report("signal-gone", "a signal that was seen is gone")
        self._seen = present
