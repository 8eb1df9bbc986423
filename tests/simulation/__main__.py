"""Runs seeds: `python -m tests.simulation 0-199`."""

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from tests.simulation.known import unexplained
from tests.simulation.plan import HOUR, PROFILES, Plan, make_plan, read_script, write_script
from tests.simulation.run import Run
from tests.simulation.schedule import Finding
from tests.simulation.shrink import shrink
from tests.simulation.world import SLUGS

COLLECT_EVERY = 10
"""Runs between two garbage collections."""


@click.command()
@click.argument("seeds", default="0-99")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="For all seeds, instead of one after the other.")
@click.option("--slug", "slugs", multiple=True, type=click.Choice(SLUGS), help="Only this provider; may be repeated.")
@click.option("--script", type=click.Path(exists=True, path_type=Path), help="Play this script instead of seeds.")
@click.option("--trace", is_flag=True, help="Print every step.")
@click.option("--plan", "shows_plan", is_flag=True, help="Print the whole script.")
@click.option("--shrink", "invariant", help="Print the smallest script that still breaks this invariant.")
@click.option("--all", "shows_all", is_flag=True, help="Also say what known faults explain.")
def main(
    seeds: str,
    profile: str | None,
    slugs: tuple[str, ...],
    script: Path | None,
    trace: bool,
    shows_plan: bool,
    invariant: str | None,
    shows_all: bool,
) -> None:
    """Run SEEDS, one (7) or from the first to the last (0-199), and say what was found. Exits with 1 if anything was."""
    if script is not None:
        plans: Iterable[Plan] = [read_script(script.read_text())]
    else:
        first, _, last = seeds.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        plans = (make_plan(seed, profile=profile, slugs=slugs) for seed in numbers)
    summary = Summary()
    gc.disable()  # a run makes little that refers to itself
    for number, plan in enumerate(plans):
        if number % COLLECT_EVERY == 0:
            gc.collect()
        run = Run(plan, keep_trace=trace)
        findings = run.play()
        if not shows_all and script is None:
            findings = unexplained(plan, findings)
        if trace:
            click.echo("\n".join(run.schedule.trace or ()))
        if shows_plan:
            click.echo(write_script(plan))
        summary.add(run, findings)
        if invariant is not None and any(one.invariant == invariant for one in findings):
            click.echo(write_script(shrink(plan, invariant)))
    summary.tell()
    sys.exit(1 if summary.seeds_of else 0)


class Summary:
    """What was found in how many seeds, and what that took."""

    def __init__(self) -> None:
        self.seeds_of: Counter[str] = Counter()
        self._first_of: dict[str, int] = {}
        self._seeds = self._steps = 0
        self._cpu_seconds = self._hours = 0.0

    def add(self, run: Run, findings: list[Finding]) -> None:
        """Print and count one run."""
        plan = run.plan
        self._seeds += 1
        self._steps += run.schedule.steps
        self._cpu_seconds += run.cpu_seconds
        self._hours += (plan.ends_at + plan.settles_for) / HOUR
        if not findings:
            return
        slugs = ", ".join(one.slug for one in plan.accounts)
        click.echo(f"seed {plan.seed} {plan.profile} ({slugs}) {run.schedule.trace_hash}")
        for invariant, slug, text in dict.fromkeys((one.invariant, one.slug, one.text) for one in findings):
            click.echo(f"    {invariant} [{slug}] {text}")
        for name in sorted({f"{one.invariant} [{one.slug}]" for one in findings}):
            self.seeds_of[name] += 1
            self._first_of.setdefault(name, plan.seed)

    def tell(self) -> None:
        """Print the sums."""
        cpu = max(self._cpu_seconds, 1e-9)
        click.echo(
            f"== {self._seeds} seeds in {cpu:.1f} CPU s: {60 * self._seeds / cpu:.0f} seeds a minute and core, "
            f"{self._hours / cpu:.1f} virtual hours and {self._steps / cpu:.0f} steps a CPU second"
        )
        for name, number in self.seeds_of.most_common():
            click.echo(f"   {name}: {number} seeds, first {self._first_of[name]}")


if __name__ == "__main__":
    main()
