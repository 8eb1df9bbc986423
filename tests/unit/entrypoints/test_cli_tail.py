"""`connectors signals tail`, in memory."""

import json

import pytest

from connectors.domain.model.errors import InfrastructureError
from connectors.entrypoints.cli import signals
from tests.support.builders import TENANT
from tests.support.foreground import Commands
from tests.support.world import created


class Feed:
    """A feed, and what happens between its polls."""

    def __init__(self, monkeypatch, capsys):
        self.commands = Commands(monkeypatch, capsys, items=0)
        self.commands.settle()
        self.world = self.commands.world
        self.steps = []
        monkeypatch.setattr(signals.time, "sleep", self._next)

    def _next(self, seconds):
        self.world.later(seconds=seconds)
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()

    def deliver(self, number):
        return lambda: self.world.deliver(created(number))


@pytest.fixture
def feed(monkeypatch, capsys):
    return Feed(monkeypatch, capsys)


def test_lines_as_they_arrive(feed):
    """Each new signal is one line of JSON, in the order of arrival; Ctrl-C ends it cleanly."""
    feed.world.deliver(created(1))
    feed.steps = [feed.deliver(2), lambda: None, feed.deliver(3)]
    done = feed.commands.mine("signals", "tail", "-o", "jsonl")
    assert [json.loads(line)["title"] for line in done.out.splitlines()] == ["Item 2", "Item 3"]
    assert (done.code, done.err) == (0, "Stopped.\n")


def test_lines_for_people(feed):
    """A line has the time of arrival, provider, kind and title, without characters that move the cursor."""
    feed.steps = [lambda: feed.world.deliver({"event": "item.created", "item": hostile()})]
    (line,) = feed.commands.mine("signals", "tail", "--interval", "2s").out.splitlines()
    assert line.startswith("2026-03-04T05:06:09Z  acme ")
    assert "issue_created" in line
    assert "\x1b" not in line
    assert line.endswith("  one �[2J line")


def hostile():
    return {"id": "9", "title": "one \x1b[2J line", "created_at": "2026-03-01T08:00:00Z"}


def test_filters(feed):
    """Filters narrow the tail; an unknown connection gives one line."""
    feed.steps = [feed.deliver(1)]
    arguments = ("signals", "tail", "--provider", "acme", "--kind", "issue_created", "-o", "json")
    assert len(feed.commands.mine(*arguments, "--connection", feed.commands.connection.id).out.splitlines()) == 1
    feed.steps = [feed.deliver(2)]
    assert feed.commands.mine("signals", "tail", "--kind", "issue_closed").out == ""
    lost = feed.commands.mine("signals", "tail", "--connection", TENANT)
    assert (lost.code, lost.err.startswith("Error: ")) == (1, True)


def test_since(feed):
    """With `--since`, the tail starts with what has arrived since that instant."""
    feed.world.deliver(created(1))
    feed.world.later(minutes=10)
    feed.world.deliver(created(2))
    done = feed.commands.mine("signals", "tail", "--since", "2026-03-04T05:10:00Z", "-o", "jsonl")
    assert [json.loads(line)["title"] for line in done.out.splitlines()] == ["Item 2"]


def test_a_tail_survives_a_database_outage(feed, monkeypatch):
    """An outage is reported once; then the tail prints what has arrived since."""
    feed_class = signals.SignalFeed
    poll, polls = feed_class.poll, iter(range(100))

    def flaky(self):
        if next(polls) in {1, 2}:
            raise InfrastructureError("The database cannot be reached.")
        return poll(self)

    monkeypatch.setattr(feed_class, "poll", flaky)
    feed.steps = [feed.deliver(1), lambda: None, lambda: None]
    done = feed.commands.mine("signals", "tail", "-o", "jsonl")
    assert [json.loads(line)["title"] for line in done.out.splitlines()] == ["Item 1"]
    assert done.err.count("cannot be reached") == 1
