"""Shows the progress of `backfill` and `sync`: live in a terminal, line by line elsewhere."""

import logging
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import attrs
import click
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from connectors.domain.model.sync import JobStatus
from connectors.entrypoints.cli.output import GAP, printable
from connectors.entrypoints.cli.read_targets import ReadTarget

REPORT_INTERVAL = timedelta(seconds=5)
"""Time between two reports where standard error is not a terminal."""

RATE_WINDOW = timedelta(seconds=10)
"""The time over which the rate is measured: short enough to show a limit, longer than one page takes."""

BAR_WIDTH = 12
"""Characters. The bar shows how many of the streams are read. No provider says how much there is in one, so that the
bar of a job with a single stream only shows that it runs or is done."""

BAR_FROM_WIDTH = 100
"""Width of a terminal, in characters, from which on the bar is shown."""

NUMBERS = ("streams", "pages", "items", "signals", "items/s")
"""The headings of the numbers' columns."""

MIN_STATE_WIDTH = len("waiting until 12:34:56Z")
"""Characters that the state keeps when a long name takes space."""

RESERVED_LINES = 4
"""Lines of the terminal that show no jobs: the heading, the sum, and space for what is typed."""

FRAMES_A_SECOND = 8

ID_SUFFIX = 8
"""Characters at the end of an id that distinguish it. Ids that were made together begin with the same ones."""

STATE_STYLES = {
    JobStatus.SUCCEEDED: "green",
    JobStatus.PARTIAL: "yellow",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "yellow",
}


class Display(Protocol):
    """Shows the progress of the targets."""

    def show(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """Show the present state."""
        ...


@attrs.define
class Rates:
    """Each job's items a second, over the last seconds."""

    _marks: dict[UUID, deque[tuple[datetime, int]]] = attrs.field(factory=dict)

    def record(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """Record the present counts."""
        for target in targets:
            if target.job is None:
                continue
            marks = self._marks.setdefault(target.job.id, deque())
            marks.append((now, target.job.progress.items))
            while now - marks[0][0] > RATE_WINDOW:
                marks.popleft()

    def of(self, target: ReadTarget) -> float:
        """Items a second; 0 until two counts are recorded."""
        marks = None if target.job is None else self._marks.get(target.job.id)
        if not marks or target.is_over:
            return 0.0
        (first_at, first), (last_at, last) = marks[0], marks[-1]
        seconds = (last_at - first_at).total_seconds()
        return (last - first) / seconds if seconds > 0 else 0.0


def state_of(target: ReadTarget, now: datetime) -> str:
    """What the job does or waits for, in a few words."""
    job = target.job
    if job is None:
        return "refused"
    if job.status is JobStatus.QUEUED:
        if job.retry_after is not None and job.retry_after > now:
            return f"waiting until {clock_time(job.retry_after, now)}"
        return "queued again" if job.attempts else "queued"
    return "reading" if job.status is JobStatus.RUNNING else str(job.status)


def clock_time(at: datetime, now: datetime) -> str:
    """`14:03:22Z`, with the date if it is not today's."""
    return f"{at:%H:%M:%SZ}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%SZ}"


@contextmanager
def open_display() -> Iterator[Display]:
    """A display on standard error: a live one if that is a terminal. Standard output is left to the result."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, refresh_per_second=FRAMES_A_SECOND, transient=True) as live, _logs_above():
        yield Screen(live)


@contextmanager
def _logs_above() -> Iterator[None]:
    """Send log lines through the standard error that `Live` has installed, so that they appear above the display."""
    handlers = [
        one
        for one in logging.getLogger().handlers
        if isinstance(one, logging.StreamHandler) and one.stream is sys.__stderr__
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(sys.__stderr__)


@attrs.define
class Lines:
    """Prints a line for each job every few seconds, and when it ends."""

    _rates: Rates = attrs.field(factory=Rates)
    _reported: dict[UUID, str] = attrs.field(factory=dict)
    _next_at: datetime | None = None

    def show(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """See `Display.show`."""
        self._rates.record(targets, now)
        is_time = self._next_at is None or now >= self._next_at
        if is_time:
            self._next_at = now + REPORT_INTERVAL
        names = _names(targets)
        for target in targets:
            if is_time or target.is_over:
                self._report(names[target.connection.id], target, now)

    def _report(self, name: str, target: ReadTarget, now: datetime) -> None:
        line = f"{name}: {state_of(target, now)}"
        if target.job is not None:
            done = target.job.progress
            line += f"; {target.streams} streams" if target.streams else ""
            line += f"; {done.pages} pages, {done.items} items, {done.signals} new signals"
            if not target.is_over:
                line += f", {self._rates.of(target):.0f} items/s"
        if target.error is not None:
            line += f"; {target.error}"
        if self._reported.get(target.connection.id) != line:
            self._reported[target.connection.id] = line
            click.echo(printable(line), err=True)


@attrs.define
class Screen:
    """A table that is redrawn in place."""

    _live: Live
    _rates: Rates = attrs.field(factory=Rates)

    def show(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """See `Display.show`."""
        self._rates.record(targets, now)
        self._live.update(self.render(targets, now))

    def render(self, targets: Sequence[ReadTarget], now: datetime) -> RenderableType:
        """The jobs, unfinished ones first, as many as fit; below them the sum."""
        lines = max(self._live.console.height - RESERVED_LINES, 1)
        shown = sorted(targets, key=lambda target: target.is_over)[:lines]
        names = _names(targets)
        numbers = [self._numbers(target) for target in shown]
        table = self._table([names[target.connection.id] for target in shown], numbers)
        for target, cells in zip(shown, numbers, strict=True):
            bar = [_bar(target, now)] if self._has_bar else []
            table.add_row(Text(printable(names[target.connection.id])), *bar, _state(target, now), *cells)
        over = sum(target.is_over for target in targets)
        items = sum(target.job.progress.items for target in targets if target.job is not None)
        rate = sum(self._rates.of(target) for target in targets)
        hidden = f", {len(targets) - lines} not shown" if len(targets) > lines else ""
        total = f"{over} of {len(targets)} done, {items:,} items, {rate:,.0f} items/s{hidden}. Ctrl-C stops it."
        return Group(table, Text(total, style="dim"))

    def _table(self, names: Sequence[str], numbers: Sequence[Sequence[str]]) -> Table:
        """Columns that fit this terminal: the bar goes first, then name and state shrink, the numbers never do."""
        taken = (BAR_WIDTH + GAP if self._has_bar else 0) + sum(
            max(cell_len(cell) for cell in (heading, *cells))
            for heading, cells in zip(NUMBERS, zip(*numbers, strict=True), strict=True)
        )
        left = max(self._live.console.width - taken - GAP * (len(NUMBERS) + 1), 2)
        widest = min(max(cell_len(name) for name in ("connection", *names)), max(left - MIN_STATE_WIDTH, left // 3))
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        table.add_column("connection", no_wrap=True, overflow="ellipsis", max_width=widest)
        if self._has_bar:
            table.add_column("", width=BAR_WIDTH)
        table.add_column("state", no_wrap=True, overflow="ellipsis", max_width=left - widest)
        for heading in NUMBERS:
            table.add_column(heading, justify="right", no_wrap=True)
        return table

    @property
    def _has_bar(self) -> bool:
        return self._live.console.width >= BAR_FROM_WIDTH

    def _numbers(self, target: ReadTarget) -> tuple[str, ...]:
        if target.job is None:
            return ("",) * len(NUMBERS)
        done = target.job.progress
        return (
            target.streams,
            f"{done.pages:,}",
            f"{done.items:,}",
            f"{done.signals:,}",
            f"{self._rates.of(target):,.0f}",
        )


def _state(target: ReadTarget, now: datetime) -> Text:
    state = Text(state_of(target, now), style="" if target.job is None else STATE_STYLES.get(target.job.status, ""))
    if target.error is not None:
        state.append(f": {printable(target.error)}")
    return state


def _bar(target: ReadTarget, now: datetime) -> RenderableType:
    if target.is_over and not target.is_partial:
        return ProgressBar(total=1, completed=int(target.is_complete), width=BAR_WIDTH)
    if target.job is not None and target.job.streams.total > 1:
        counts = target.job.streams
        return ProgressBar(total=counts.total, completed=counts.done, width=BAR_WIDTH)
    is_reading = state_of(target, now) == "reading"
    return ProgressBar(total=None, pulse=True, width=BAR_WIDTH) if is_reading else ProgressBar(total=1, width=BAR_WIDTH)


def _names(targets: Sequence[ReadTarget]) -> dict[UUID, str]:
    """Each connection's name on the screen. If several have the same account, the end of the id is added."""
    counts = Counter(target.name for target in targets)
    return {
        target.connection.id: target.name
        if counts[target.name] == 1
        else f"{target.name} …{str(target.connection.id)[-ID_SUFFIX:]}"
        for target in targets
    }
