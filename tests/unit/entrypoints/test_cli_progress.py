"""The live display of `backfill` and `sync`."""

import io
import logging
from datetime import timedelta

import attrs
import pytest
from rich.console import Console
from rich.live import Live

from connectors.domain.model.sync import JobStatus, JobType, Progress
from connectors.entrypoints.cli.progress import Lines, Screen, clock_time, open_display, state_of
from connectors.entrypoints.cli.read_targets import ReadRequest, ReadTarget
from tests.support.builders import NOW, make_account, make_connection, make_job

REQUEST = ReadRequest(type=JobType.BACKFILL)


def make_target(name="ada", **changes):
    return ReadTarget(
        connection=make_connection(account=make_account(name=name)), request=REQUEST, job=make_job(**changes)
    )


def make_screen(height=24, width=110):
    console = Console(file=io.StringIO(), force_terminal=True, height=height, width=width, color_system=None)
    return Screen(Live(console=console)), console


def shown(screen, console, targets, now=NOW):
    with console.capture() as captured:
        console.print(screen.render(targets, now))
    return captured.get()


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"status": JobStatus.QUEUED}, "queued"),
        ({"status": JobStatus.QUEUED, "attempts": 1}, "queued again"),
        ({"status": JobStatus.QUEUED, "retry_after": NOW + timedelta(seconds=30)}, "waiting until 05:06:37Z"),
        ({"status": JobStatus.QUEUED, "retry_after": NOW + timedelta(days=1)}, "waiting until 2026-03-05 05:06:07Z"),
        ({"status": JobStatus.RUNNING}, "reading"),
        ({"status": JobStatus.FAILED}, "failed"),
    ],
)
def test_states(changes, state):
    """A job's state is a few words; a wait gives its end, with the date if that is not today."""
    assert state_of(make_target(**changes), NOW) == state


def test_the_screen_shows_counts_and_rate():
    """The screen shows pages, items, signals and items a second of each job, and their sum."""
    screen, console = make_screen()
    target = make_target(status=JobStatus.RUNNING, progress=Progress(pages=1, items=100, signals=40))
    screen.show([target], NOW)
    target.job = attrs.evolve(target.job, progress=Progress(pages=12, items=2100, signals=1240))
    screen.show([target], NOW + timedelta(seconds=4))
    text = shown(screen, console, [target])
    assert "github ada" in text
    assert [word for word in ("12", "2,100", "1,240", "500") if word not in text] == []
    assert "0 of 1 done, 2,100 items, 500 items/s" in text


def test_a_low_terminal_shows_unfinished_jobs():
    """If not all jobs fit, unfinished ones are shown first and the rest is counted."""
    screen, console = make_screen(height=8)
    targets = [make_target(f"done{n}", status=JobStatus.SUCCEEDED) for n in range(6)] + [
        make_target("going", status=JobStatus.RUNNING)
    ]
    text = shown(screen, console, targets)
    assert "going" in text
    assert "6 of 7 done" in text
    assert "3 not shown" in text


def test_foreign_text_does_not_move_the_cursor():
    """Account names and errors are shown without control characters and without markup."""
    screen, console = make_screen()
    text = shown(screen, console, [make_target("[red]\x1b[2Jx", status=JobStatus.QUEUED, error="a\x07b")])
    assert "[red]" in text
    assert "\x07" not in text
    assert "\x1b" not in text


def test_lines_are_printed_at_intervals(capsys):
    """Without a terminal a line is printed every few seconds if something has changed, and at the end."""
    lines, target = Lines(), make_target(status=JobStatus.RUNNING)
    for second in range(12):
        lines.show([target], NOW + timedelta(seconds=second))
    target.job = attrs.evolve(target.job, status=JobStatus.SUCCEEDED)
    for _ in range(3):
        lines.show([target], NOW + timedelta(seconds=12))
    assert [line.split(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "github ada: reading",
        "github ada: succeeded",
    ]


def test_no_terminal_no_screen(capsys):
    """If standard error is not a terminal, nothing is drawn and logging stays as it is."""
    before = list(logging.getLogger().handlers)
    with open_display() as display:
        assert isinstance(display, Lines)
    assert logging.getLogger().handlers == before
    assert capsys.readouterr() == ("", "")
    assert clock_time(NOW, NOW) == "05:06:07Z"


def test_a_narrow_terminal_keeps_the_numbers():
    """A narrow terminal shows the numbers in full, and no bar."""
    screen, console = make_screen(width=60)
    text = shown(
        screen, console, [make_target("a long name", status=JobStatus.RUNNING, progress=Progress(items=1_234_567))]
    )
    assert "  1,234,567  " in text
    assert "items/s" in text.splitlines()[0]
