"""Signals: each event once."""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.run import Run


def are_there_once(run: "Run") -> None:
    """No event gave two signals, whichever paths found it."""
    events = Counter(
        (one.provider, one.connection_id, one.kind, one.subject.id, one.occurred_at, one.title)
        for one in run.database.memory.signals.values()
    )
    for (provider, _, kind, *_rest), number in events.items():
        if number > 1:
            run.schedule.report("twice", f"{kind} is there {number} times", provider)
            return
