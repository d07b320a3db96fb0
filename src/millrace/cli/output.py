"""How answers are printed: one JSON object, or views for people; with rich on a terminal, plain and stable when piped."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

GAP: Final = "  "
NOTHING: Final = "-"
"""Stands for an empty cell, so that columns can be counted."""


class Table(Struct, frozen=True):
    """Rows under headings. Columns in `right` are numbers."""

    headings: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()
    empty: str = "nothing yet"


class Facts(Struct, frozen=True):
    """One thing, a line for each of its properties."""

    lines: Sequence[tuple[str, str]]


class Text(Struct, frozen=True):
    """Printed as it is."""

    text: str


View = Table | Facts | Text


def cell(value: object) -> str:
    """A value as people read it."""
    return NOTHING if value is None or value == "" else str(value)


def print_json(form: object) -> None:
    """One object on one line."""
    sys.stdout.write(msgspec.json.encode(form).decode() + "\n")


def print_views(views: Iterable[View]) -> None:
    """Views below each other."""
    for view in views:
        if isinstance(view, Table) and view.rows and sys.stdout.isatty():
            _print_rich(view)
        else:
            sys.stdout.write(render(view) + "\n")


def render(view: View) -> str:
    """Plain text, the same for the same view whatever it is printed on."""
    if isinstance(view, Text):
        return view.text
    if isinstance(view, Facts):
        width = max(len(name) for name, _ in view.lines)
        return "\n".join(f"{name.ljust(width)}{GAP}{value}" for name, value in view.lines)
    if not view.rows:
        return view.empty
    rows = [view.headings, *view.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(view.headings))]
    return "\n".join(_row(row, widths, view.right) for row in rows)


def _row(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = (
        text.rjust(width) if place in right else text.ljust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return GAP.join(cells).rstrip()


def _print_rich(view: Table) -> None:
    """As wide as it is: the terminal may break a line, but an id that is folded into its column cannot be copied."""
    # Here, because rich takes longer to import than most commands take to answer.
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    table = RichTable(box=None, header_style="bold", pad_edge=False)
    for place, heading in enumerate(view.headings):
        table.add_column(heading, justify="right" if place in view.right else "left", overflow="fold")
    for row in view.rows:
        table.add_row(*(RichText(text) for text in row))
    natural = max(map(len, render(view).splitlines()))
    Console(highlight=False, width=natural + len(GAP)).print(table)
