"""Runs seeds: `python -m tests.simulation 0-199`, `… 7 --trace`, `… 7 --shrink false-claim`, `… --script known/x.json`."""

import argparse
import gc
import sys
from collections import Counter
from pathlib import Path

from tests.simulation.known import unexplained
from tests.simulation.plan import HOUR, PROFILES, make_plan, read_script, write_script
from tests.simulation.run import Run
from tests.simulation.shrink import shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="?", default="0-99", help="one, or the first and the last: 0-199")
    parser.add_argument("--profile", choices=PROFILES)
    parser.add_argument("--slug", action="append", default=[], help="only this provider; may be given again")
    parser.add_argument("--script", type=Path, help="play this script instead")
    parser.add_argument("--trace", action="store_true", help="print every step")
    parser.add_argument("--shrink", metavar="INVARIANT", help="print the smallest script that still breaks this")
    parser.add_argument("--all", action="store_true", help="also say what known faults explain")
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    if asked.script is not None:
        plans = [read_script(asked.script.read_text())]
    else:
        plans = [make_plan(seed, profile=asked.profile, slugs=asked.slug) for seed in range(int(first), int(last or first) + 1)]
    seeds_of: Counter[str] = Counter()
    first_of: dict[str, int] = {}
    cpu = steps = hours = 0.0
    gc.disable()  # a run makes little that refers to itself, and ends before that matters
    for number, plan in enumerate(plans):
        if number % 10 == 0:
            gc.collect()
        run = Run(plan, keep_trace=asked.trace)
        findings = run.play()
        if not asked.all and asked.script is None:
            findings = unexplained(plan, findings)
        cpu, steps = cpu + run.cpu_seconds, steps + run.schedule.steps
        hours += (plan.ends_at + plan.settles_for) / HOUR
        if asked.trace:
            print("\n".join(run.schedule.trace or ()))
        if findings or len(plans) == 1:
            slugs = ", ".join(one.slug for one in plan.accounts)
            print(f"seed {plan.seed} {plan.profile} ({slugs}) {run.schedule.trace_hash} {run.cpu_seconds:.2f} CPU s, {run.schedule.steps} steps")
        for one in dict.fromkeys((one.invariant, one.slug, one.text) for one in findings):
            print(f"    {one[0]} [{one[1]}] {one[2]}")
        for name in {f"{one.invariant} [{one.slug}]" for one in findings}:
            seeds_of[name] += 1
            first_of.setdefault(name, plan.seed)
        if asked.shrink and any(one.invariant == asked.shrink for one in findings):
            print(write_script(shrink(plan, asked.shrink)))
        sys.stdout.flush()
    print(f"== {len(plans)} seeds, {cpu:.1f} CPU s, {60 * len(plans) / cpu:.0f} seeds a minute and core, {hours / cpu:.1f} virtual hours a CPU second, {steps / cpu:.0f} steps a CPU second")
    for name, number in seeds_of.most_common():
        print(f"   {name}: {number} seeds, first {first_of[name]}")
    return 1 if seeds_of else 0


if __name__ == "__main__":
    sys.exit(main())
