"""The service's processes: the API, two workers, the ticker. Each can die between any two steps, and comes back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from connectors.domain.model.errors import InfrastructureError
from connectors.entrypoints.library import Connectors
from tests.simulation.ports.queue import TaskQueue
from tests.simulation.schedule import Killed
from tests.simulation.system import Changes, Surroundings, build

RESTARTS_AFTER = 3.0
"""Seconds."""

RESCUED_AFTER = (20.0, 25.0, 60.0)
"""Seconds after a worker's death until the queue gives its tasks to others."""

RESCUES_EVERY = 10.0
"""Seconds between two looks for what a dead worker has left behind."""

THREADS = 2
"""Of each worker."""

LONGEST_NAP = 300.0
"""Seconds after which the ticker looks in any case."""


class ConnectionLostError(Exception):
    """The process died before it answered, or is not there."""


@attrs.define(eq=False)
class Processes:
    """All processes of a run."""

    around: Surroundings
    queue: TaskQueue
    offsets: dict[str, float]
    changes: Changes = attrs.field(factory=Changes)
    is_over: bool = False
    _lives: dict[str, int] = attrs.field(factory=dict)
    _systems: dict[str, Connectors] = attrs.field(factory=dict)

    def start(self) -> None:
        """Start all of them."""
        for name in ("api", "worker-1", "worker-2", "ticker"):
            self._start(name)

    def restart(self, changes: Changes) -> None:
        """Stop all of them, as a deployment that waits for nobody, and start them with other settings."""
        self.changes = changes
        for name in list(self._systems):
            self._end(name)

    @property
    def api(self) -> Connectors:
        """The API's system, for looks that are nobody's.

        Raises:
            ConnectionLostError: it is down.
        """
        try:
            return self._systems["api"]
        except KeyError:
            raise ConnectionLostError from None

    def kill(self, name: str) -> None:
        """End the process, if it is there."""
        if name in self._systems:
            self._end(name)

    def heal(self) -> None:
        """Give back the apps that an operator has taken away."""
        if self.changes.without:
            self.restart(attrs.evolve(self.changes, without=frozenset()))

    def call(self, name: str, work: Callable[[Connectors], Any]) -> Any:
        """The result of a call to the API, from outside of it.

        Raises:
            ConnectionLostError: the API died meanwhile, or is down.
            Exception: what the call raised.
        """
        system, outcome = self.api, []

        def serve() -> None:
            try:
                outcome.append((True, work(system)))
            except Killed:
                raise
            except Exception as error:  # noqa: BLE001 - passed on to who called
                outcome.append((False, error))

        actor = self.around.schedule.spawn(name, serve, process=self._process("api"))
        self.around.schedule.wait(lambda: bool(outcome) or actor.is_done, "answer")
        if not outcome:
            raise ConnectionLostError
        succeeded, result = outcome[0]
        if not succeeded:
            raise result
        return result

    # --- lives ----------------------------------------------------------------------------------------------------

    def _process(self, name: str) -> str:
        return f"{name}.{self._lives[name]}"

    def _start(self, name: str) -> None:
        self._lives[name] = self._lives.get(name, 0) + 1
        self._systems[name] = system = build(self.around, changes=self.changes, offset=self.offsets.get(name, 0.0))
        schedule, process = self.around.schedule, self._process(name)
        if name == "ticker":
            schedule.spawn(name, lambda: self._tick(system), process=process)
        elif name != "api":
            for number in range(THREADS):
                schedule.spawn(f"{name}/{number}", lambda: self._work(system, process), process=process)

    def _end(self, name: str) -> None:
        schedule, process = self.around.schedule, self._process(name)
        del self._systems[name]
        schedule.kill_process(process)
        if self.is_over:
            return
        schedule.spawn(f"start {name}", lambda: self._start(name), at=schedule.now + RESTARTS_AFTER)
        wait = RESCUED_AFTER[self._lives[name] % len(RESCUED_AFTER)]
        schedule.spawn("death", lambda: self._take_over(process), at=schedule.now + wait)

    # --- what they do ---------------------------------------------------------------------------------------------

    def _work(self, system: Connectors, process: str) -> None:
        schedule, queue = self.around.schedule, self.queue
        while True:
            queue.wait_for_task()
            try:
                task = queue.take(process)
            except InfrastructureError:
                schedule.sleep(1.0, "queue away")
                continue
            if task is not None:
                schedule.note("task", task.task.kind, task.number)
                system.tasks.handle_task(task.task)
                queue.finish(task)

    def _tick(self, system: Connectors) -> None:
        schedule, ahead = self.around.schedule, self.offsets.get("ticker", 0.0)
        while True:
            due = [row.next_at for row in self.around.database.memory.schedules.values()]
            wait = LONGEST_NAP if not due else schedule.second_of(min(due)) - (schedule.now + ahead)
            schedule.sleep(min(max(wait, 1.0), LONGEST_NAP), "until due")
            system.tasks.tick()

    def _take_over(self, dead: str) -> None:
        """Have a worker rescue what the dead one has left behind; another one, if that worker dies, too."""
        schedule = self.around.schedule
        while self.queue.left_behind(dead):
            rescuer = next((name for name in ("worker-1", "worker-2") if name in self._systems), None)
            if rescuer is not None:
                system, process = self._systems[rescuer], self._process(rescuer)
                work = partial(self._rescue, system, dead)
                actor = schedule.spawn(f"{rescuer}/rescuer", work, process=process)
                schedule.wait(lambda actor=actor: actor.is_done, "rescue")
            schedule.sleep(RESCUES_EVERY, "rescues again")

    def _rescue(self, system: Connectors, dead: str) -> None:
        """What the queue does for the tasks of a dead worker: puts each in again, and ends the old one."""
        schedule = self.around.schedule
        for row in self.queue.left_behind(dead):
            try:
                system.tasks.requeue(row.task.kind, row.task.tenant_id, row.task.subject_id)
            except InfrastructureError:
                return  # it comes again
            schedule.point("taken over")
            self.queue.finish(row)
