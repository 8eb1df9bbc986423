"""What has happened at the vendors, and when we could first have known."""

import random
from functools import partial
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
    """The virtual second since which the vendor has shown it; if it was hidden meanwhile, since when it is back."""


@attrs.define(eq=False)
class Truth:
    """The facts of all accounts."""

    run: "Run"
    _since: dict[str, dict[tuple[str, str], float]] = attrs.field(factory=dict)

    def begin(self) -> None:
        """Note what is there before anybody acts."""
        for name, account in self.run.accounts.items():
            account.changed = partial(self._look, name)
            self._look(name)

    def act(self, name: str, what: str, dice: int) -> None:
        """Let something happen."""
        self.run.accounts[name].do(what, random.Random(dice))
        self._look(name)

    def facts(self, name: str) -> list[Fact]:
        """What the vendor shows of that account now."""
        return [Fact(event, since) for event, since in self._look(name)]

    def _look(self, name: str) -> list[tuple[Event, float]]:
        now, before = self.run.schedule.now, self._since.get(name, {})
        events = self.run.accounts[name].events()
        found = [(one, before.get((one.kind, one.title), now)) for one in events]
        self._since[name] = {(one.kind, one.title): since for one, since in found}
        return found
