"""The commands about single streams, and what `sync` and `backfill` say of those that cannot be read, in memory."""

import io
import json
from datetime import timedelta

import pytest
from rich.console import Console
from rich.live import Live

from connectors.domain.model.sync import JobStatus, JobType, Progress, StreamCounts
from connectors.entrypoints.cli.progress import Lines, Screen
from connectors.entrypoints.cli.read_targets import ReadRequest, ReadTarget, refresh
from tests.support.boxes import BOXES, BoxVendor
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_account, make_connection, make_id, make_job
from tests.support.foreground import Commands
from tests.support.vendor import answer
from tests.support.world import World

DAY = timedelta(days=1)


@pytest.fixture
def commands(monkeypatch, capsys):
    """A connection with three boxes, of which b answers 403; its first jobs are done."""
    world = World(BOXES, vendor=BoxVendor)
    for box in "abc":
        world.vendor.put(box, 1, 2, at=NOW - DAY)
    world.vendor.closed["b"] = 403
    commands = Commands(monkeypatch, capsys, items=0, world=world)
    commands.settle()
    return commands


def streams(commands, *arguments):
    return commands.mine("connections", "streams", commands.connection.id, *arguments)


def test_streams_are_listed(commands):
    """The table begins with discovery, and says of each stream what is in its way; filters narrow the list."""
    table = streams(commands)
    assert (table.code, table.err) == (0, "")
    heading, discovery, *rows = table.out.splitlines()
    assert heading.split()[:2] == ["stream", "status"]
    assert discovery.startswith("discovery  ready")
    assert [row.split()[:2] for row in rows] == [["box:a", "ready"], ["box:b", "blocked"], ["box:c", "ready"]]
    assert "Acme does not show it (403)." in rows[1]
    assert "never" in rows[1]
    shown = json.loads(streams(commands, "-o", "json").out)
    assert [one["key"] for one in shown] == ["discovery", "box:a", "box:b", "box:c"]
    (blocked,) = map(json.loads, streams(commands, "--status", "blocked", "-o", "jsonl").out.splitlines())
    assert blocked == shown[2]
    assert len(json.loads(streams(commands, "--family", "items", "--status", "ready", "-o", "json").out)) == 2
    assert streams(commands, "--family", "issues").out == "No streams.\n"
    assert streams(commands, "--status", "lost").code == 2


def test_what_the_table_cannot_hold_is_said(commands):
    """Streams that were never readable are counted, a pause of the provider is named, and a parked item is shown."""
    world = commands.world
    world.vendor.put("d", 1)
    world.vendor.unreadable["d"] = "Nobody was invited."
    world.vendor.put("a", 7, detailed=True)
    world.vendor.broken["a-7"] = 403
    world.run_for(timedelta(minutes=20))
    (row,) = [line for line in streams(commands).out.splitlines() if line.startswith("box:a ")]
    assert "1 parked: a-7 (Acme does not show it (403))" in row
    world.vendor.down = 503
    world.run_for(timedelta(minutes=20))
    said = streams(commands).err
    assert "(1 more cannot be read and never could.)" in said
    assert "Nothing is read before 2026-" in said
    assert "Acme answered 503." in said


def test_a_stream_is_retried(commands):
    """`retry` has the stream read now."""
    commands.world.vendor.closed.clear()
    done = commands.mine("connections", "retry", commands.connection.id, "box:b", "-o", "json")
    assert (done.code, json.loads(done.out)["key"]) == (0, "box:b")
    commands.world.run_for(timedelta(minutes=1))
    assert {one["status"] for one in json.loads(streams(commands, "-o", "json").out)} == {"ready"}


def test_a_stream_is_dismissed(commands):
    """`dismiss` gives the stream up: the table says so, and the connection is healthy."""
    done = commands.mine("connections", "dismiss", commands.connection.id, "box:b", "-o", "json")
    assert (done.code, json.loads(done.out)["is_dismissed"]) == (0, True)
    commands.world.run_for(timedelta(minutes=1))
    assert "blocked, dismissed" in streams(commands).out
    shown = json.loads(commands.mine("connections", "show", commands.connection.id, "-o", "json").out)
    assert shown["health"] == "healthy"


@pytest.mark.parametrize("verb", ["retry", "dismiss"])
def test_unknown_streams(commands, verb):
    """A stream or connection that does not exist gives one line and exit code 1."""
    for arguments in ((commands.connection.id, "box:x"), (make_id(), "box:a")):
        done = commands.mine("connections", verb, *arguments)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)


@pytest.mark.parametrize("command", [("sync",), ("backfill", "--days", "60")])
def test_a_partial_read_exits_3(commands, command):
    """All that can be read is read; the exit code is 3, and standard error names what stands aside and why."""
    commands.world.later(minutes=3)
    done = commands.mine(*command, "-o", "json")
    assert done.code == 3, done.err
    (row,) = json.loads(done.out)
    assert (row["status"], row["streams"]) == ("partial", {"total": 3, "done": 2, "aside": 1})
    assert "acme ada: partial. 1 of 3 streams cannot be read now:" in done.err
    assert "  box:b (box b): Acme does not show it (403). Next try 2026-03-04T" in done.err
    assert f"connectors connections streams {commands.connection.id} -t {TENANT}" in done.err
    assert "acme ada: partial; 2/3 streams" in done.err


def test_a_failure_weighs_more_than_a_partial_read(commands):
    """Where one connection is partial and another one cannot be read at all, the exit code is 1, and both are named."""
    world = commands.world
    other = world.connect(OTHER_TENANT)
    commands.settle()
    world.later(minutes=3)

    def refuse(request):
        theirs = world.tokens(other).access_token.reveal()
        return answer({}, 401) if theirs in request.headers.get("authorization", "") else None

    world.vendor.before = refuse
    done = commands.run("sync")
    assert done.code == 1
    assert "acme ada: partial." in done.err
    assert "acme ada: failed." in done.err


def test_jobs_show_their_streams(commands):
    """The list shows how many streams are done and aside; the filter knows partial jobs."""
    done = commands.mine("jobs", "list", "--status", "partial")
    assert done.code == 0
    assert all("2/3, 1 aside" in line for line in done.out.splitlines()[1:])
    assert len(done.out.splitlines()) == len(commands.jobs(status=JobStatus.PARTIAL)) + 1


def test_progress_is_counted_while_a_connection_is_read(commands):
    """The display shows streams done and in all after every page, before the time slice has ended."""
    world, connection = commands.world, commands.connection
    for box in "defg":
        world.vendor.put(box, 1, 2, at=NOW - DAY)
    world.later(minutes=3)
    job = world.connectors.jobs.request(TENANT, connection.id, JobType.INCREMENTAL)
    target = ReadTarget(connection=connection, request=ReadRequest(type=JobType.INCREMENTAL), job=job)
    seen = []

    def look(_):
        refresh(world.connectors, [target])
        seen.append(target.streams)

    world.connectors.sync.run(TENANT, job.id, on_page=look)
    assert "0/7" in seen
    assert len(set(seen)) > 3
    refresh(world.connectors, [target])
    assert (target.streams, target.is_partial) == ("6/7", True)


def make_target(**changes):
    return ReadTarget(
        connection=make_connection(account=make_account(name="ada")),
        request=ReadRequest(type=JobType.BACKFILL),
        job=make_job(**changes),
    )


def drawn(target, width):
    """The screen, with a table that is too wide for nothing."""
    console = Console(file=io.StringIO(), force_terminal=True, height=24, width=width, color_system=None)
    with console.capture() as captured:
        console.print(Screen(Live(console=console)).render([target], NOW))
    return captured.get()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_screen_shows_streams(width):
    """At any width the screen shows streams read and in all next to pages, items and signals; no line is longer."""
    target = make_target(
        status=JobStatus.RUNNING,
        streams=StreamCounts(total=1480, done=1012, aside=2),
        progress=Progress(pages=2, items=31_000, signals=4_100),
    )
    text = drawn(target, width)
    assert [word for word in ("1,012/1,480", "31,000", "4,100", "streams", "reading") if word not in text] == []
    assert max(map(len, text.splitlines())) <= width


def test_lines_show_streams(capsys):
    """Without a terminal the line has the streams once they are known."""
    lines, target = Lines(), make_target(status=JobStatus.RUNNING)
    lines.show([target], NOW)
    target.job = make_job(status=JobStatus.PARTIAL, streams=StreamCounts(total=4, done=3, aside=1), error="One stands.")
    lines.show([target], NOW)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "github ada: reading; 0 pages, 0 items, 0 new signals, 0 items/s"
    assert last == "github ada: partial; 3/4 streams; 0 pages, 0 items, 0 new signals; One stands."
