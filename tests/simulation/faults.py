"""What goes wrong, by items of the plan. Faults that aim at a step are traps: they wait for the n-th of its kind."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from connectors_sandbox.delivery import Disorder
from tests.simulation.ports.database import Outage
from tests.simulation.ports.wire import Refusal
from tests.simulation.schedule import Actor, Trap

if TYPE_CHECKING:
    from tests.simulation.run import Run


def _refuse(run: "Run", item: Mapping[str, Any]) -> None:
    run.wire.refusals.append(
        Refusal(
            mount=item["mount"],
            part=item["part"],
            until=run.schedule.now + item["seconds"],
            status=item["status"],
            retry_after=item.get("retry_after"),
            damage=item.get("damage"),
        )
    )


def _lose(run: "Run", item: Mapping[str, Any]) -> None:
    def act(actor: Actor, label: str) -> None:
        run.schedule.note("LOSE", item["how"], label)
        actor.next_request = item["how"]

    run.schedule.arm(Trap(_at("ask:", item["part"]), item["n"], act))


def _commit(run: "Run", item: Mapping[str, Any]) -> None:
    def act(actor: Actor, label: str) -> None:
        run.schedule.note("COMMIT FAILS", item["how"], label)
        actor.next_commit = item["how"]

    run.schedule.arm(Trap(_at("commit:", item["write"]), item["n"], act))


def _database_down(run: "Run", item: Mapping[str, Any]) -> None:
    run.database.down_until = run.schedule.now + item["seconds"]


def _failing_write(run: "Run", item: Mapping[str, Any]) -> None:
    run.database.failing_writes.append(Outage(item["write"], run.schedule.now + item["seconds"]))


def _kill(run: "Run", item: Mapping[str, Any]) -> None:
    def act(actor: Actor, label: str) -> None:
        run.schedule.note("KILL", label)
        run.processes.kill(actor)

    run.schedule.arm(Trap(_at(item["label"], item["part"], in_process=True), item["n"], act))


def _mail(run: "Run", item: Mapping[str, Any]) -> None:
    run.mail.late = item["late"]
    run.sandbox.deliveries.disorder = Disorder(drop=item["drop"], duplicate=item["duplicate"], shuffle=True)
    run.schedule.sleep(item["seconds"], "disorder")
    run.mail.heal()


def _at(begin: str, part: str, *, in_process: bool = False) -> Callable[[Actor, str], bool]:
    def matches(actor: Actor, label: str) -> bool:
        return label.startswith(begin) and part in label and (bool(actor.process) or not in_process)

    return matches


def arm_item(run: "Run", item: Mapping[str, Any], act: Callable[[], None]) -> None:
    """Do the item at the n-th switch point of its `when`, as that step's other side."""
    when = item["when"]
    run.schedule.arm(Trap(_at(when["label"], when["part"]), when["n"], lambda _actor, _label: act()))


FAULTS: Mapping[str, Callable[["Run", Mapping[str, Any]], None]] = {
    "refuse": _refuse,
    "lose": _lose,
    "commit": _commit,
    "database_down": _database_down,
    "failing_write": _failing_write,
    "kill": _kill,
    "mail": _mail,
}
"""What may go wrong, by an item's `do`."""
