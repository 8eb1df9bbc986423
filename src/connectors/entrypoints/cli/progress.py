"""How `backfill` and `sync` show what they wait for: live in a terminal, line by line elsewhere."""

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

LINES_EVERY = timedelta(seconds=5)
"""Between two reports where nobody looks at a terminal."""

RATE_OVER = timedelta(seconds=10)
"""The stretch of time whose items make the rate: short enough to show a limit, longer than a page takes."""

BAR = 12
"""Characters. How much there is to read, no provider says: the bar shows that it goes on, and when it is done."""

ROOMY = 100
"""Characters in a line that leave room for the bar."""

NUMBERS = ("pages", "items", "signals", "items/s")
"""The headings of the numbers' columns."""

LEAST_STATE = len("waiting until 12:34:56Z")
"""Characters of a state that matter more than a long name."""

MARGIN = 4
"""Lines of the terminal that are not the jobs': heading, sum, and package for what is typed."""

FRAMES_A_SECOND = 8

ID_END = 8
"""Characters of an id that tell it from others on one screen. The beginnings of ids made together are alike."""

STATE_STYLES = {JobStatus.SUCCEEDED: "green", JobStatus.FAILED: "red", JobStatus.CANCELLED: "yellow"}


class Display(Protocol):
    """Shows how the wishes are doing."""

    def show(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """Show it as it is now."""
        ...


@attrs.define
class Rates:
    """Items a second of each job, over the last seconds."""

    _marks: dict[UUID, deque[tuple[datetime, int]]] = attrs.field(factory=dict)

    def note(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """Take down where they stand."""
        for target in targets:
            if target.job is None:
                continue
            marks = self._marks.setdefault(target.job.id, deque())
            marks.append((now, target.job.progress.items))
            while now - marks[0][0] > RATE_OVER:
                marks.popleft()

    def of(self, target: ReadTarget) -> float:
        """Items a second; 0 before two looks."""
        marks = None if target.job is None else self._marks.get(target.job.id)
        if not marks or target.is_over:
            return 0.0
        (first_at, first), (last_at, last) = marks[0], marks[-1]
        seconds = (last_at - first_at).total_seconds()
        return (last - first) / seconds if seconds > 0 else 0.0


def state_of(target: ReadTarget, now: datetime) -> str:
    """In a few words, what it does or waits for."""
    job = target.job
    if job is None:
        return "refused"
    if job.status is JobStatus.QUEUED:
        if job.retry_after is not None and job.retry_after > now:
            return f"waiting until {clock_time(job.retry_after, now)}"
        return "next turn" if job.attempts else "queued"
    return "reading" if job.status is JobStatus.RUNNING else str(job.status)


def clock_time(at: datetime, now: datetime) -> str:
    """`14:03:22Z`, with its date if that is another day's."""
    return f"{at:%H:%M:%SZ}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%SZ}"


@contextmanager
def open_display() -> Iterator[Display]:
    """The display that standard error is fit for. Standard output stays free for the result."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, refresh_per_second=FRAMES_A_SECOND, transient=True) as live, _logs_above():
        yield Screen(live)


@contextmanager
def _logs_above() -> Iterator[None]:
    """Log lines go where `Live` has put standard error meanwhile, above the display instead of across it."""
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
    """A line for each job now and then, and when it ends."""

    _rates: Rates = attrs.field(factory=Rates)
    _told: dict[UUID, str] = attrs.field(factory=dict)
    _next_at: datetime | None = None

    def show(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """See `Display.show`."""
        self._rates.note(targets, now)
        is_time = self._next_at is None or now >= self._next_at
        if is_time:
            self._next_at = now + LINES_EVERY
        names = _names(targets)
        for target in targets:
            if is_time or target.is_over:
                self._tell(names[target.connection.id], target, now)

    def _tell(self, name: str, target: ReadTarget, now: datetime) -> None:
        line = f"{name}: {state_of(target, now)}"
        if target.job is not None:
            done = target.job.progress
            line += f"; {done.pages} pages, {done.items} items, {done.signals} new signals"
            if not target.is_over:
                line += f", {self._rates.of(target):.0f} items/s"
        if target.error is not None:
            line += f"; {target.error}"
        if self._told.get(target.connection.id) != line:
            self._told[target.connection.id] = line
            click.echo(printable(line), err=True)


@attrs.define
class Screen:
    """A table that stays in its place and changes."""

    _live: Live
    _rates: Rates = attrs.field(factory=Rates)

    def show(self, targets: Sequence[ReadTarget], now: datetime) -> None:
        """See `Display.show`."""
        self._rates.note(targets, now)
        self._live.update(self.render(targets, now))

    def render(self, targets: Sequence[ReadTarget], now: datetime) -> RenderableType:
        """The jobs, those that go on first, as many as there is package for; below them the sum."""
        lines = max(self._live.console.height - MARGIN, 1)
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
        """Columns for this terminal: the bar gives way first, then the name and the state, never the numbers."""
        taken = (BAR + GAP if self._has_bar else 0) + sum(
            max(cell_len(cell) for cell in (heading, *cells))
            for heading, cells in zip(NUMBERS, zip(*numbers, strict=True), strict=True)
        )
        left = max(self._live.console.width - taken - GAP * (len(NUMBERS) + 1), 2)
        widest = min(max(cell_len(name) for name in names), max(left - LEAST_STATE, left // 3))
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        table.add_column("connection", no_wrap=True, overflow="ellipsis", max_width=widest)
        if self._has_bar:
            table.add_column("", width=BAR)
        table.add_column("state", no_wrap=True, overflow="ellipsis", max_width=left - widest)
        for heading in NUMBERS:
            table.add_column(heading, justify="right", no_wrap=True)
        return table

    @property
    def _has_bar(self) -> bool:
        return self._live.console.width >= ROOMY

    def _numbers(self, target: ReadTarget) -> tuple[str, ...]:
        if target.job is None:
            return ("",) * len(NUMBERS)
        done = target.job.progress
        return (f"{done.pages:,}", f"{done.items:,}", f"{done.signals:,}", f"{self._rates.of(target):,.0f}")


def _state(target: ReadTarget, now: datetime) -> Text:
    state = Text(state_of(target, now), style="" if target.job is None else STATE_STYLES.get(target.job.status, ""))
    if target.error is not None:
        state.append(f": {printable(target.error)}")
    return state


def _bar(target: ReadTarget, now: datetime) -> RenderableType:
    if target.is_over:
        return ProgressBar(total=1, completed=int(target.is_fulfilled), width=BAR)
    is_reading = state_of(target, now) == "reading"
    return ProgressBar(total=None, pulse=True, width=BAR) if is_reading else ProgressBar(total=1, width=BAR)


def _names(targets: Sequence[ReadTarget]) -> dict[UUID, str]:
    """What each connection is called here. Tenants may have connected the same account: then its id's end tells."""
    often = Counter(target.name for target in targets)
    return {
        target.connection.id: target.name
        if often[target.name] == 1
        else f"{target.name} …{str(target.connection.id)[-ID_END:]}"
        for target in targets
    }
