"""Signals: each event once."""

from collections import Counter
from typing import TYPE_CHECKING

from tests.simulation.oracle.looks import Shown

if TYPE_CHECKING:
    from tests.simulation.run import Run


BIRTHS = ("_created", "_opened", "_posted", "_replied", "_commented", "_received", "_sent", "_published")
"""How kinds end that happen once to their subject, whatever date and title each path gives them."""


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
    for name, account in run.accounts.items():
        events = [fact.event for fact in run.truth.facts(name)]
        marks = [(one.kind, one.title) for one in events if one.kind.endswith(BIRTHS)]
        for connection in run.connections(name):
            titles: dict[str, list[str]] = {}
            for signal in Shown(run, connection).signals:
                titles.setdefault(signal.kind, []).append(signal.title)
            for kind, mark in marks:
                number = sum(mark in title for title in titles.get(kind, ()))
                if number > 1:
                    run.schedule.report("twice", f"one {kind} gave {number} signals", account.slug)
                    return


def are_given_by_the_feed(run: "Run") -> None:
    """Core was given every signal once."""
    for core in run.cores:
        core.look()
