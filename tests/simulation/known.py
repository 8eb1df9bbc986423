"""The known faults: what `KNOWN.md` lists, and which findings they explain."""

import re
from functools import cache
from pathlib import Path

import attrs

from tests.simulation.plan import Plan
from tests.simulation.schedule import Finding

FOLDER = Path(__file__).parent
LIST = FOLDER / "KNOWN.md"
SCRIPTS = FOLDER / "known"
A_MINUTE = 60.0


@attrs.frozen(kw_only=True)
class KnownFault:
    """One row of the list."""

    name: str
    """Its scripts in `known/` are called by it and by the invariant that each breaks."""
    invariants: tuple[str, ...]
    slugs: tuple[str, ...]
    """The providers; empty: any."""
    text: str
    """A regular expression that the whole finding matches."""
    needs: tuple[str, ...]
    """What a plan must have one of, by `do`, `what` or `write`, so that this can be the cause."""

    def explains(self, plan: Plan, finding: Finding) -> bool:
        """Whether this is what was found there."""
        return (
            finding.invariant in self.invariants
            and (not self.slugs or finding.slug in self.slugs)
            and re.fullmatch(self.text, finding.text) is not None
            and (not self.needs or not disturbances(plan).isdisjoint(self.needs))
        )

    def scripts(self) -> tuple[Path, ...]:
        """Its smallest scripts, at least one."""
        return tuple(sorted(SCRIPTS.glob(f"{self.name}.*.json")))


def disturbances(plan: Plan) -> set[str]:
    """What a plan has besides everyday life, in words of its items, and `clock` where a machine's is minutes off."""
    words = {
        str(item[key])
        for item in plan.items
        for key in ("do", "what", "write", "status", "damage", "how", "user", "change")
        if key in item
    }
    return words | {"clock"} if any(abs(offset) > A_MINUTE for offset in plan.offsets.values()) else words


@cache
def known_faults() -> tuple[KnownFault, ...]:
    """The list."""
    rows = [line for line in LIST.read_text().splitlines() if line.startswith("| `")]
    return tuple(_read(row) for row in rows)


def unexplained(plan: Plan, findings: list[Finding]) -> list[Finding]:
    """Those that no known fault explains. Where nothing goes wrong, nothing is explained."""
    if plan.profile == "calm":
        return findings
    return [one for one in findings if not any(fault.explains(plan, one) for fault in known_faults())]


def _read(row: str) -> KnownFault:
    name, invariants, slugs, text, needs, *_ = (
        cell.strip().strip("`").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]
    )
    return KnownFault(
        name=name,
        invariants=tuple(invariants.split()),
        slugs=tuple(slugs.split()) if slugs != "any" else (),
        text=text,
        needs=tuple(needs.split()) if needs != "-" else (),
    )
