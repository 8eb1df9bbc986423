"""The schedule: actors are greenlets, exactly one runs, and only at switch points may another go on.

Knows nothing of the product. Time is virtual: it jumps to the next moment at which somebody can go on. Whose step is next
is drawn from the seed, so one seed is one run, and its trace has one hash.
"""

import hashlib
import heapq
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import attrs
from greenlet import getcurrent, greenlet

EPOCH = datetime(2026, 3, 4, 5, 0, tzinfo=UTC)
"""The instant of second zero."""

LINES_AT_ONCE = 1_000
"""Lines of the trace that are hashed together."""

STALLS = (0.01, 0.3, 2.0, 15.0)
"""Seconds for which an actor may be held up at any switch point."""


class Killed(BaseException):
    """The process has died. Raised at a switch point, and again by whatever the dead actor still asks of a port."""


class StuckError(Exception):
    """The run takes more steps than any sane one."""


@attrs.frozen
class Finding:
    """Something that must not be."""

    invariant: str
    """The name of the rule that was broken."""
    text: str
    """What was seen, with the cause as far as it can be told."""
    slug: str = ""
    """The provider concerned, if one is."""
    at: float = 0.0
    """Virtual second."""


@attrs.define(eq=False)
class Actor:
    """Somebody who acts: a worker's thread, a request to the API, a vendor's sender, a person."""

    number: int
    name: str
    process: str
    """Dies as one: of the actors in it, none acts on."""
    let: greenlet | None = None
    condition: Callable[[], bool] | None = None
    turn: int = 0
    """Tells a wake-up that was overtaken by another from the one that counts."""
    is_dead: bool = False
    is_done: bool = False
    held_up: float = 0.0
    """For how many seconds more it stays at its present switch point; set by a trap."""
    was_killed: bool = False
    """Whether its process died before the run was over."""
    commits: int = 0
    """How many transactions it has committed."""
    failures: list[float] = attrs.field(factory=list)
    """When transactions of it were lost."""
    next_commit: str | None = None
    """How its next commit fails, `before` or `after` it happened; set by a trap."""
    next_request: str | None = None
    """What happens to its next request: lost `before` or `after` the vendor acts, or `cut`; set by a trap."""


@attrs.define(eq=False)
class Trap:
    """Waits for the n-th switch point of its kind, and acts there on whoever came."""

    matches: Callable[[Actor, str], bool]
    left: int
    act: Callable[[Actor, str], None]


class Schedule:
    """One run's time, actors, traps and trace.

    Args:
        seed: of the order of steps and the stalls.
        stalls: the share of switch points at which an actor is held up.
        slow: process → the seconds that each of its switch points takes at most. Lives of a process are told apart by
            what stands after a point in its name.
        keep_trace: whether to keep the lines besides their hash.
        max_steps: a run that takes more is `StuckError`.
    """

    def __init__(
        self,
        seed: int,
        *,
        stalls: float = 0.0,
        slow: Mapping[str, float] | None = None,
        keep_trace: bool = False,
        max_steps: int = 400_000,
    ) -> None:
        self.now = 0.0
        self.steps = 0
        self.current: Actor | None = None
        self.findings: list[Finding] = []
        self.trace: list[str] | None = [] if keep_trace else None
        self.traps: list[Trap] = []
        self.stalls = stalls
        self.slow = dict(slow or {})
        self._max_steps = max_steps
        self._random = random.Random(f"schedule {seed}")
        self._hash = hashlib.blake2b(digest_size=12)
        self._hub = getcurrent()
        self._numbers = count(1)
        self._ready: list[Actor] = []
        self._waiting: list[Actor] = []
        self._sleeping: list[tuple[float, int, int, Actor]] = []
        self._order = count()
        self._actors: dict[int, Actor] = {}
        self._dated = 0.0, EPOCH
        self._run_until = 0.0
        self._lines: list[str] = []
        """Of the trace, not hashed yet."""

    # --- what is seen -------------------------------------------------------------------------------------------------

    def instant(self) -> datetime:
        """The true time."""
        second, instant = self._dated
        if second != self.now:
            instant = self.instant_of(self.now)
            self._dated = self.now, instant
        return instant

    @staticmethod
    def instant_of(second: float) -> datetime:
        """The instant of a virtual second."""
        return EPOCH + timedelta(microseconds=round(second * 1e6))

    def second_of(self, at: datetime) -> float:
        """The virtual second of an instant."""
        return (at - EPOCH).total_seconds()

    @property
    def trace_hash(self) -> str:
        """The hash of everything that has happened, in order."""
        self._hash_lines()
        return self._hash.hexdigest()

    def note(self, *words: object) -> None:
        """Write a line of the trace."""
        line = f"{self.now:.6f} {self.current.name if self.current else '-'} {' '.join(map(str, words))}"
        self._lines.append(line)
        if len(self._lines) >= LINES_AT_ONCE:
            self._hash_lines()
        if self.trace is not None:
            self.trace.append(line)

    def _hash_lines(self) -> None:
        self._hash.update("".join(self._lines).encode())
        self._lines.clear()

    def report(self, invariant: str, text: str, slug: str = "") -> None:
        """Write down a finding."""
        self.note("FINDING", invariant, slug, text)
        self.findings.append(Finding(invariant, text, slug, self.now))

    # --- who acts -----------------------------------------------------------------------------------------------------

    def spawn(self, name: str, work: Callable[[], None], *, process: str = "", at: float | None = None) -> Actor:
        """A new actor, who begins at that virtual second, or now."""
        actor = Actor(next(self._numbers), name, process)
        actor.let = greenlet(lambda: self._run(actor, work), self._hub)
        self._actors[actor.number] = actor
        self._wake(actor, at)
        return actor

    def kill_process(self, process: str) -> None:
        """End all actors of the process, each at its present switch point."""
        for actor in list(self._actors.values()):
            if actor.process == process:
                actor.is_dead = actor.was_killed = True
                if actor is not self.current:
                    self._wake(actor)

    def arm(self, trap: Trap) -> None:
        """Set a trap."""
        self.traps.append(trap)

    # --- switch points, called by actors through ports ----------------------------------------------------------------

    def point(self, label: str) -> None:
        """Here others may go on, traps spring, and this actor may die or be held up."""
        me = self._acting()
        if me is None:
            return
        self.note(label)
        for trap in self.traps:
            if trap.matches(me, label):
                trap.left -= 1
                if trap.left <= 0:
                    self.traps.remove(trap)
                    trap.act(me, label)
                    break
        if me.is_dead:
            raise Killed
        until = self._delay(me)
        if until is None and self._is_nobody_else_ready():
            self.steps += 1
            return
        self._wake(me, until)
        self._switch(me)

    def sleep(self, seconds: float, label: str = "sleep") -> None:
        """Let that much time pass."""
        me = self._acting()
        if me is None:
            self.now += max(seconds, 0.0)  # set-up and oracle are outside of the schedule
            return
        self.note(label, f"{seconds:.6f}")
        until = self.now + max(seconds, 0.0)
        if until <= self._run_until and self._is_nobody_else_ready(until):
            self.steps += 1
            self.now = until
            return
        self._wake(me, until)
        self._switch(me)

    def wait(self, condition: Callable[[], bool], label: str, *, until: float | None = None) -> None:
        """Until the condition holds, or until that virtual second. A condition looks and changes nothing."""
        me = self._acting()
        if me is None:
            assert condition(), f"outside of the schedule nobody can wait: {label}"
            return
        while not condition() and (until is None or self.now < until):
            self.note("waits", label)
            me.condition = condition
            me.turn += 1
            self._waiting.append(me)
            if until is not None:
                heapq.heappush(self._sleeping, (until, next(self._order), me.turn, me))
            self._switch(me)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self, until: float) -> None:
        """Let everybody act until that virtual second.

        Raises:
            StuckError: that takes too many steps.
        """
        self._run_until = until
        while True:
            if self._sleeping and self._sleeping[0][0] <= self.now:
                self._wake_sleepers()
            for actor in [one for one in self._waiting if one.condition()]:  # type: ignore[misc]  # who waits has one
                self._wake(actor)
            if not self._ready:
                soonest = self._soonest()
                if soonest is None or soonest > until:
                    self.now = max(self.now, until)
                    return
                self.now = max(self.now, soonest)
                continue
            self.steps += 1
            if self.steps > self._max_steps:
                raise StuckError(f"more than {self._max_steps} steps")
            index = self._random.randrange(len(self._ready)) if len(self._ready) > 1 else 0
            actor = self._ready.pop(index)
            self.current = actor
            actor.let.switch()
            self.current = None

    def end(self) -> None:
        """Unwind whoever still hangs, so that nothing of this run lives on."""
        for actor in list(self._actors.values()):
            actor.is_dead = True
            if actor.let:  # who has not begun has nothing to unwind
                with self.acting_as(actor):
                    actor.let.throw(Killed)
        self._actors.clear()

    @contextmanager
    def acting_as(self, actor: Actor | None) -> Iterator[None]:
        """Within the block, what happens counts as that actor's; None: as nobody's."""
        before, self.current = self.current, actor
        try:
            yield
        finally:
            self.current = before

    def _run(self, actor: Actor, work: Callable[[], None]) -> None:
        try:
            if not actor.is_dead:
                work()
        except Killed:
            self.note("killed")
        except Exception as error:  # noqa: BLE001 - an actor's own code lets nothing out
            self.report("actor-crashed", f"{actor.name}: {type(error).__name__}: {error}")
        finally:
            actor.is_done = True
            self._actors.pop(actor.number, None)

    def _delay(self, me: Actor) -> float | None:
        """Until when the actor is held up at a switch point."""
        if me.held_up:
            seconds, me.held_up = me.held_up, 0.0
            return self.now + seconds
        if self.stalls > 0 and self._random.random() < self.stalls:
            return self.now + self._random.choice(STALLS)
        if not self.slow:
            return None
        slow = self.slow.get(me.process.partition(".")[0], 0.0)
        return self.now + slow * self._random.random() if slow else None

    def _is_nobody_else_ready(self, until: float | None = None) -> bool:
        """Whether the actor that runs is the one to go on, now or at that second: it need not leave and come back."""
        if self._ready or self.steps >= self._max_steps:
            return False
        if self._sleeping and self._sleeping[0][0] <= (self.now if until is None else until):
            return False
        return not any(one.condition() for one in self._waiting)  # type: ignore[misc]  # who waits has one

    def _acting(self) -> Actor | None:
        me = self.current
        if me is None or getcurrent() is not me.let:
            return None
        if me.is_dead:
            raise Killed
        return me

    def _switch(self, me: Actor) -> None:
        self._hub.switch()
        if me.is_dead:
            raise Killed

    def _wake(self, actor: Actor, at: float | None = None) -> None:
        """Make the actor ready now, or at that second, whatever it waits for."""
        actor.turn += 1
        if actor.condition is not None:
            actor.condition = None
            self._waiting.remove(actor)
        elif actor in self._waiting:
            self._waiting.remove(actor)
        if at is None or at <= self.now:
            if actor not in self._ready:
                self._ready.append(actor)
        else:
            heapq.heappush(self._sleeping, (at, next(self._order), actor.turn, actor))

    def _wake_sleepers(self) -> None:
        while self._sleeping and self._sleeping[0][0] <= self.now:
            _, _, turn, actor = heapq.heappop(self._sleeping)
            if turn == actor.turn and not actor.is_done:
                self._wake(actor)

    def _soonest(self) -> float | None:
        while self._sleeping and (self._sleeping[0][2] != self._sleeping[0][3].turn or self._sleeping[0][3].is_done):
            heapq.heappop(self._sleeping)
        return self._sleeping[0][0] if self._sleeping else None
