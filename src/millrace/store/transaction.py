"""What a piece of work sees of the database: run a statement, read rows. The store knows no domain words.

Statements are written once, in a small common dialect: SQL that SQLite and PostgreSQL both speak, with named parameters
(`:amount`), a list as `IN (:ids...)`, and `FOR UPDATE` where rows are read to be changed. Where the two differ further,
`queries.sql` has a variant beside the statement (store/named.py).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from millrace.base.errors import Refusal

Scalar = str | int | bytes | None
Value = Scalar | Sequence[str] | Sequence[int]
"""A parameter; a list only where the statement says `IN (:name...)`."""

Values = Mapping[str, Scalar]

Op = TypeVar("Op")
R = TypeVar("R")


class Tx(Protocol):
    """One open transaction. Parameters are named; money and counts are integers, never floats.

    A `Conflict` ends the piece of work that it is raised in: PostgreSQL answers nothing more until that is undone.
    """

    def rows(self, sql: str, **values: Value) -> list[tuple]:  # type: ignore[type-arg]  # a row's shape is its query's
        """All rows of a SELECT (or of a RETURNING clause)."""
        ...

    def row(self, sql: str, **values: Value) -> tuple | None:  # type: ignore[type-arg]
        """The first row, or None."""
        ...

    def run(self, sql: str, **values: Value) -> int:
        """Execute and say how many rows were changed. Raises `Conflict` where a constraint refuses."""
        ...

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        """The statement once for each set of parameters, in order. Raises `Conflict` where a constraint refuses one."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> None:
        """Add rows in bulk, in order. Raises `Conflict` where a constraint refuses one; then none is added."""
        ...

    def now(self, ours: int) -> int:
        """Nanoseconds on the database's clock, the same for all that share it; one without a clock answers `ours`."""
        ...


Batch = Callable[[Tx, list[Op]], list[R | Exception]]
"""Work for all operations that wait together: one answer each, in order; an exception is the answer of one that is refused."""


class Conflict(Exception):
    """A UNIQUE, CHECK, NOT NULL or foreign-key constraint refused a row."""


class Lost(Exception):
    """The whole transaction is gone: nothing of it was kept. `again`: it may work when it is run again."""

    def __init__(self, refusal: Refusal, *, again: bool) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal
        self.again = again


class Session(Protocol):
    """The writable connection of one database, as the writer drives it, from one thread.

    What it and its `tx` raise is an error of the database; `lost` tells whether the transaction is gone with it.
    """

    @property
    def tx(self) -> Tx: ...

    def lost(self, error: Exception) -> Lost | None:
        """None when the error is the work's own and only its savepoint need be undone."""
        ...

    def begin(self) -> None: ...

    def commit(self) -> None:
        """Durable when it returns; raises `Lost` only when nothing was kept."""
        ...

    def roll_back(self) -> None:
        """Leave no transaction open, whatever happened; never raises."""
        ...

    def savepoint(self) -> None: ...

    def release(self) -> None:
        """Keep what was done since `savepoint`. Raises RuntimeError where the work went on after a `Conflict`."""
        ...

    def roll_back_to(self) -> None:
        """Undo what was done since `savepoint`, which is gone then."""
        ...

    def close(self) -> None: ...
