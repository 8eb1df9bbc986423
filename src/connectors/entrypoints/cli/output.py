"""What commands print: a table for people, JSON or JSON lines for programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import attrs
import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.entrypoints.representation.encoding import encode

GAP = 2
"""Characters between two columns."""

MIN_TEXT_WIDTH = 16
"""Characters that a column of text keeps: two or three words a line are still readable."""

MIN_COLUMNS = 2
"""Columns that every terminal shows: a name and its value."""

PIPE_WIDTH = 10_000
"""Characters of a line that is not printed to a terminal: nothing wraps there. A title has up to 300."""

F = TypeVar("F", bound=Callable[..., Any])


class Output(StrEnum):
    """What `--output` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def output_option(function: F) -> F:
    """Add `--output` to a command."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice([str(one) for one in Output]),
        default=str(Output.TABLE),
        show_default=True,
        callback=lambda _context, _option, value: Output(value),
        help="A table for people, JSON or JSON lines for programs.",
    )(function)


def print_json(document: Any) -> None:
    """Print the document on standard output, indented."""
    click.echo(msgspec.json.format(encode(document), indent=2).decode())


def print_json_line(document: Any) -> None:
    """Print the document on one line of standard output."""
    click.echo(encode(document).decode())


def show_rows(
    rows: Iterable[Any], output: Output, columns: Mapping[str, Callable[[Any], object]], *, empty: str = "Nothing."
) -> None:
    """Print many things.

    Args:
        rows: anything that msgspec can encode.
        output: the form.
        columns: of the table: heading → the cell of a row.
        empty: the text for people when there are no rows.
    """
    listed = list(rows)
    match output:
        case Output.JSON:
            print_json(listed)
        case Output.JSONL:
            for row in listed:
                print_json_line(row)
        case Output.TABLE if not listed:
            click.echo(empty)
        case Output.TABLE:
            print_table(list(columns), [[column(row) for column in columns.values()] for row in listed])


def show_one(thing: Any, output: Output) -> None:
    """Print one thing; for people, a line for each of its members."""
    if output is not Output.TABLE:
        if output is Output.JSON:
            print_json(thing)
        else:
            print_json_line(thing)
        return
    members: Mapping[str, Any] = msgspec.to_builtins(thing)
    print_table(["", ""], [[name, _plain(value)] for name, value in members.items()], headings_shown=False)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, headings_shown: bool = True) -> None:
    """Print a table on standard output, as wide as the terminal; in a pipe, as wide as its content.

    Columns of text wrap. Ids, times and kinds never do, because a broken one cannot be copied: a terminal that is too
    narrow does not show the last columns, and a line says so.
    """
    # Text, not markup: a title may contain brackets, which must not colour the terminal.
    columns = [
        _Column(heading, [Text(printable("" if cell is None else str(cell))) for cell in cells])
        for heading, cells in zip(headings, zip(*rows, strict=True), strict=True)
    ]
    console = Console()
    shown = columns
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    else:
        while len(shown) > MIN_COLUMNS and _min_width(shown) > console.width:
            shown = shown[:-1]
        console.width = max(console.width, _min_width(shown))
    table = Table(box=None, show_header=headings_shown, pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(column.heading, overflow="fold", no_wrap=not column.wraps)
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
    if missing := ", ".join(column.heading for column in columns[len(shown) :]):
        click.echo(f"(This terminal is too narrow to show: {missing}.)", err=True)


def print_line(cells: Iterable[str]) -> None:
    """Print one line of an endless table."""
    click.echo((" " * GAP).join(printable(cell).replace("\n", " ") for cell in cells).rstrip())


@attrs.frozen
class _Column:
    heading: str
    cells: Sequence[Text]

    @property
    def wraps(self) -> bool:
        return any(" " in cell.plain for cell in self.cells)

    @property
    def min_width(self) -> int:
        width = max(cell_len(line) for cell in (self.heading, *map(str, self.cells)) for line in cell.split("\n"))
        return min(width, MIN_TEXT_WIDTH) if self.wraps else width


def _min_width(columns: Sequence[_Column]) -> int:
    return sum(column.min_width for column in columns) + GAP * (len(columns) - 1)


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        return msgspec.json.format(encode(value), indent=2).decode()
    return "" if value is None else str(value)


def printable(text: str) -> str:
    """Foreign text without control characters, so that a title cannot move the cursor."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)
