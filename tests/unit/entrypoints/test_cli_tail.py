"""`connectors signals tail`, in memory."""

import json

import pytest

from connectors.domain.model.errors import InfrastructureError
from connectors.entrypoints.cli import signals
from tests.support.builders import TENANT
from tests.support.foreground import Commands
from tests.support.world import created


class Stage:
    """What happens between the looks of a tail."""

    def __init__(self, monkeypatch, capsys):
        self.commands = Commands(monkeypatch, capsys, items=0)
        self.commands.settle()
        self.world = self.commands.world
        self.scenes = []
        monkeypatch.setattr(signals.time, "sleep", self._next)

    def _next(self, seconds):
        self.world.later(seconds=seconds)
        if not self.scenes:
            raise KeyboardInterrupt
        self.scenes.pop(0)()

    def deliver(self, number):
        return lambda: self.world.deliver(created(number))


@pytest.fixture
def stage(monkeypatch, capsys):
    return Stage(monkeypatch, capsys)


def test_lines_as_they_arrive(stage):
    """Each new signal is one line of JSON, in the order of arrival; Ctrl-C ends it cleanly."""
    stage.world.deliver(created(1))
    stage.scenes = [stage.deliver(2), lambda: None, stage.deliver(3)]
    done = stage.commands.mine("signals", "tail", "-o", "jsonl")
    assert [json.loads(line)["title"] for line in done.out.splitlines()] == ["Item 2", "Item 3"]
    assert (done.code, done.err) == (0, "Stopped.\n")


def test_lines_for_people(stage):
    """A line has when it arrived, where, what kind and its title, without what would move the cursor."""
    stage.scenes = [lambda: stage.world.deliver({"event": "item.created", "item": hostile()})]
    (line,) = stage.commands.mine("signals", "tail", "--interval", "2s").out.splitlines()
    assert line.startswith("2026-03-04T05:06:09Z  acme ")
    assert "issue_created" in line
    assert "\x1b" not in line
    assert line.endswith("  one �[2J line")


def hostile():
    return {"id": "9", "title": "one \x1b[2J line", "created_at": "2026-03-01T08:00:00Z"}


def test_filters(stage):
    """Filters narrow it; a connection that is not there is one line."""
    stage.scenes = [stage.deliver(1)]
    arguments = ("signals", "tail", "--provider", "acme", "--kind", "issue_created", "-o", "json")
    assert len(stage.commands.mine(*arguments, "--connection", stage.commands.connection.id).out.splitlines()) == 1
    stage.scenes = [stage.deliver(2)]
    assert stage.commands.mine("signals", "tail", "--kind", "issue_closed").out == ""
    lost = stage.commands.mine("signals", "tail", "--connection", TENANT)
    assert (lost.code, lost.err.startswith("Error: ")) == (1, True)


def test_since(stage):
    """It begins with what has arrived since that instant."""
    stage.world.deliver(created(1))
    stage.world.later(minutes=10)
    stage.world.deliver(created(2))
    done = stage.commands.mine("signals", "tail", "--since", "2026-03-04T05:10:00Z", "-o", "jsonl")
    assert [json.loads(line)["title"] for line in done.out.splitlines()] == ["Item 2"]


def test_a_database_that_is_away_is_waited_for(stage, monkeypatch):
    """It says so once, goes on, and gives what arrived meanwhile."""
    feed_class = signals.SignalFeed
    look, looks = feed_class.poll, iter(range(100))

    def flaky(self):
        if next(looks) in {1, 2}:
            raise InfrastructureError("The database cannot be reached.")
        return look(self)

    monkeypatch.setattr(feed_class, "poll", flaky)
    stage.scenes = [stage.deliver(1), lambda: None, lambda: None]
    done = stage.commands.mine("signals", "tail", "-o", "jsonl")
    assert [json.loads(line)["title"] for line in done.out.splitlines()] == ["Item 1"]
    assert done.err.count("cannot be reached") == 1
