"""What a piece of work sees of the database: run a statement, read rows. The store knows no domain words."""

from collections.abc import Mapping
from typing import Protocol

Value = str | int | bytes | None
Row = tuple[Value, ...]


class Tx(Protocol):
    """One open transaction. Parameters are named (`:amount`); money and counts are integers, never floats."""

    def rows(self, sql: str, **values: Value) -> list[tuple]:  # type: ignore[type-arg]  # a row's shape is its query's
        """All rows of a SELECT (or of a RETURNING clause)."""
        ...

    def row(self, sql: str, **values: Value) -> tuple | None:  # type: ignore[type-arg]
        """The first row, or None."""
        ...

    def run(self, sql: str, **values: Value) -> int:
        """Execute and say how many rows were changed. Raises `Conflict` where a constraint refuses."""
        ...


class Conflict(Exception):
    """A UNIQUE, CHECK, NOT NULL or foreign-key constraint refused a row."""


Values = Mapping[str, Value]
