"""Every table of a database with its columns, in an order in which rows can be added again; and their rows, page by page.

For backups: what is read by this is all there is, whichever make of database it is in.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import Final

from msgspec import Struct

from millrace.store.named import Queries
from millrace.store.transaction import Scalar, Tx

_SQL = Queries("millrace.store")

PAGE_ROWS: Final = 10_000
"""Rows read or added at once: some megabytes, and milliseconds of the database's time."""

OWN: Final = frozenset({"migration"})
"""What the database knows of itself is made with it, not read from another."""

KINDS: Final = {
    "INTEGER": "integer", "TEXT": "text", "BLOB": "bytes",
    "bigint": "integer", "integer": "integer", "smallint": "integer", "text": "text", "bytea": "bytes",
}  # fmt: skip
"""What the two makes call the three kinds of values that there are."""

Row = Sequence[Scalar]


class Column(Struct, frozen=True):
    """`kind` is integer, text or bytes."""

    name: str
    kind: str


class Table(Struct, frozen=True):
    """`key` are the columns of its primary key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def tables(tx: Tx) -> list[Table]:
    """Every table but the database's own, each after those that its rows refer to."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    for table, column, type_, place in tx.rows(_SQL["columns"]):
        if table not in OWN:
            found.setdefault(table, []).append((column, KINDS[type_], place))
    graph: dict[str, set[str]] = {name: set() for name in found}
    for table, other in tx.rows(_SQL["references"]):
        if table != other:
            graph[table].add(other)
    return [_table(name, found[name]) for name in TopologicalSorter(dict(sorted(graph.items()))).static_order()]


def pages(tx: Tx, table: Table, *, newest_first: bool = False, rows: int = PAGE_ROWS) -> Iterator[Sequence[Row]]:
    """All rows of a table in the order of its key, so many at once."""
    key = ", ".join(table.key)
    order = ", ".join(f"{name} DESC" for name in table.key) if newest_first else key
    select = f"SELECT {', '.join(table.column_names)} FROM {table.name}"  # noqa: S608 - our own names
    marks = ", ".join(f":after_{place}" for place in range(len(table.key)))
    further = f"{select} WHERE ({key}) {'<' if newest_first else '>'} ({marks}) ORDER BY {order} LIMIT :rows"
    places = [table.column_names.index(name) for name in table.key]
    page = tx.rows(f"{select} ORDER BY {order} LIMIT :rows", rows=rows)
    while page:
        yield page
        last = {f"after_{number}": page[-1][place] for number, place in enumerate(places)}
        page = tx.rows(further, rows=rows, **last) if len(page) == rows else []


def is_empty(tx: Tx) -> bool:
    """Whether nothing but the database's own tables has a row, whoever made it."""
    names = sorted({row[0] for row in tx.rows(_SQL["columns"])} - OWN)
    return not any(tx.row(f"SELECT 1 FROM {name} LIMIT 1") for name in names)  # noqa: S608 - as the database names them


def schema_number(tx: Tx) -> int:
    """The number of the last migration that was applied."""
    return int(tx.rows(_SQL["schema_number"])[0][0])


@contextmanager
def checked_at_the_end(tx: Tx) -> Iterator[None]:
    """Add many rows: PostgreSQL then checks their references all at once, where one by one takes several times as long.

    Raises `Conflict` where one leads nowhere.
    """
    references = tx.rows(_SQL["reference_definitions"])
    for table, name, _ in references:
        tx.run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    yield
    for table, name, definition in references:
        tx.run(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def count_on(tx: Tx) -> None:
    """After rows came with their numbers: have the database give out the numbers behind them."""
    for table, column in tx.rows(_SQL["counted_columns"]):
        tx.rows(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), MAX({column})) FROM {table} HAVING MAX({column}) > 0"  # noqa: S608
        )


def _table(name: str, columns: Sequence[tuple[str, str, int]]) -> Table:
    key = sorted((place, column) for column, _, place in columns if place)
    return Table(name, tuple(Column(column, kind) for column, kind, _ in columns), tuple(column for _, column in key))
