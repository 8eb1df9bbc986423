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
            is_single=item.get("single", False),
            tenant_id=run.tenants[item["tenant"]] if "tenant" in item else None,
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
    run.database.go_down(item["seconds"])


def _failing_write(run: "Run", item: Mapping[str, Any]) -> None:
    run.database.failing_writes.append(Outage(item["write"], run.schedule.now + item["seconds"]))


def _kill(run: "Run", item: Mapping[str, Any]) -> None:
    def act(actor: Actor, label: str) -> None:
        run.schedule.note("KILL", label)
        name = actor.process.partition(".")[0]
        run.processes.kill(name)
        if "also" in item:
            run.processes.kill(item["also"])
        if "again" in item:
            at = run.schedule.now + item["again"]
            run.schedule.spawn("fault:kill again", lambda: run.processes.kill(name), at=at)

    matches = _at(item["label"], item["part"], in_process=item.get("process", ""))
    run.schedule.arm(Trap(matches, item["n"], act))


def _hold_up(run: "Run", item: Mapping[str, Any]) -> None:
    """A thread that is not scheduled for minutes: its machine was suspended, or swaps."""

    def act(actor: Actor, label: str) -> None:
        run.schedule.note("HOLD UP", label)
        actor.held_up = item["seconds"]

    run.schedule.arm(Trap(_at(item["label"], item["part"], in_process=""), item["n"], act))


def _mail(run: "Run", item: Mapping[str, Any]) -> None:
    run.mail.late, run.mail.deaf = item["late"], item.get("deaf", 0.0)
    run.sandbox.deliveries.disorder = Disorder(drop=item["drop"], duplicate=item["duplicate"], shuffle=True)
    run.schedule.sleep(item["seconds"], "disorder")
    run.mail.heal()


def _at(begin: str, part: str, *, in_process: str | None = None) -> Callable[[Actor, str], bool]:
    """Whether a step has such a label and, unless None, is one of that process; empty: of any."""

    def matches(actor: Actor, label: str) -> bool:
        if not label.startswith(begin) or part not in label:
            return False
        return in_process is None or (bool(actor.process) and in_process in ("", actor.process.partition(".")[0]))

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
    "hold_up": _hold_up,
    "mail": _mail,
}
"""What may go wrong, by an item's `do`."""
