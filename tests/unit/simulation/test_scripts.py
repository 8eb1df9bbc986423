"""Plans, their scripts, and the search for the smallest one."""

import attrs
import pytest

from tests.simulation import shrink as shrinking
from tests.simulation.plan import PROFILES, PlannedAccount, make_plan, read_script, write_script
from tests.simulation.schedule import Finding


@pytest.mark.parametrize("seed", range(2 * len(PROFILES)))
def test_a_script_is_the_whole_plan(seed):
    """What was written is read as it was; the same seed gives the same plan."""
    plan = make_plan(seed)
    assert read_script(write_script(plan)) == plan == make_plan(seed)
    assert write_script(read_script(write_script(plan))) == write_script(plan)


def test_a_script_has_a_line_for_each_item():
    """It can be read, and an item can be deleted by hand."""
    plan = make_plan(5)
    assert len(write_script(plan).splitlines()) == len(plan.items) + 3


class FakeRun:
    """Finds something if the plan has all that it needs."""

    needs = ()
    played = 0

    def __init__(self, plan):
        self.plan = plan

    def play(self):
        FakeRun.played += 1
        there = {item["do"] for item in self.plan.items}
        return [Finding("broken", "text", "slack")] if there >= set(self.needs) else []


@pytest.mark.parametrize("needs", [("item 13",), ("item 0", "item 39"), ("item 7", "item 8", "item 21")])
def test_shrinking_finds_what_matters(monkeypatch, needs):
    """Of forty items only those that the finding needs are left, and no account that none of them names."""
    monkeypatch.setattr(shrinking, "Run", FakeRun)
    monkeypatch.setattr(FakeRun, "needs", needs)
    monkeypatch.setattr(FakeRun, "played", 0)
    items = [{"at": float(number), "do": f"item {number}", "account": "n0"} for number in range(40)]
    accounts = [PlannedAccount("n0", "SlackBot", 9), PlannedAccount("n1", "JiraAccount", 9)]
    plan = attrs.evolve(make_plan(5), accounts=accounts, items=items, stalls=0.1, slow={"api": 1.0})
    smallest = shrinking.shrink(plan, "broken", "slack")
    assert [item["do"] for item in smallest.items] == list(needs)
    assert smallest.accounts == [PlannedAccount("n0", "SlackBot", 0)]
    assert (smallest.stalls, smallest.slow, smallest.offsets) == (0.0, {}, {})
    assert FakeRun.played < 120


def test_shrinking_stays_with_its_finding(monkeypatch):
    """A smaller plan that breaks something else does not count."""
    monkeypatch.setattr(shrinking, "Run", FakeRun)
    monkeypatch.setattr(FakeRun, "needs", ())
    plan = make_plan(5)
    assert shrinking.shrink(plan, "other", "slack").items == plan.items
