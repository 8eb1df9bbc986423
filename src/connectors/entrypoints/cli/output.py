"""How commands print: a table for people, JSON or JSON lines for programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
    """The document on standard output, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def show_rows(
    rows: Iterable[Any], output: Output, columns: Mapping[str, Callable[[Any], object]], *, empty: str = "Nothing."
) -> None:
    """Many things.

    Args:
        rows: what msgspec can encode.
        output: how.
        columns: the table's: heading → what stands below it.
        empty: what a person reads when there are none.
    """
    listed = list(rows)
    match output:
        case Output.JSON:
            print_json(listed)
        case Output.JSONL:
            for row in listed:
                click.echo(msgspec.json.encode(row).decode())
        case Output.TABLE if not listed:
            click.echo(empty)
        case Output.TABLE:
            print_table(list(columns), [[column(row) for column in columns.values()] for row in listed])


def show_one(thing: Any, output: Output) -> None:
    """One thing, as a list of its members for people."""
    if output is not Output.TABLE:
        if output is Output.JSON:
            print_json(thing)
        else:
            click.echo(msgspec.json.encode(thing).decode())
        return
    members: Mapping[str, Any] = msgspec.to_builtins(thing)
    print_table(["", ""], [[name, _plain(value)] for name, value in members.items()], headings_shown=False)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, headings_shown: bool = True) -> None:
    """A table on standard output, as wide as the terminal; piped, as wide as it needs to be."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = Table(box=None, show_header=headings_shown, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not markup: a title may contain brackets, and must not colour our terminal.
        table.add_row(*(Text(_printable("" if cell is None else str(cell))) for cell in row))
    console.print(table)


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return "" if value is None else str(value)


def _printable(text: str) -> str:
    """Foreign text without control characters: a title must not move the cursor."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)
