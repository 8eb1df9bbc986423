"""What has happened at the vendors, and when we could first have known."""

import random
from typing import TYPE_CHECKING

import attrs

from tests.simulation.world.account import Event

if TYPE_CHECKING:
    from tests.simulation.run import Run


@attrs.frozen
class Fact:
    """An event at the vendor."""

    event: Event
    since: float
    """The virtual second at which the vendor began to show it."""


@attrs.define(eq=False)
class Truth:
    """The facts of all accounts."""

    run: "Run"
    _since: dict[tuple[str, str, str], float] = attrs.field(factory=dict)

    def begin(self) -> None:
        """Note what is there before anybody acts."""
        for name in self.run.accounts:
            self._look(name)

    def act(self, name: str, what: str, dice: int) -> None:
        """Let something happen."""
        self.run.accounts[name].do(what, random.Random(dice))
        self._look(name)

    def facts(self, name: str) -> list[Fact]:
        """What the vendor shows of that account now."""
        return [Fact(event, since) for event, since in self._look(name)]

    def _look(self, name: str) -> list[tuple[Event, float]]:
        now = self.run.schedule.now
        events = self.run.accounts[name].events()
        return [(one, self._since.setdefault((name, one.kind, one.title), now)) for one in events]
