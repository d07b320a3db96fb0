"""PostgreSQL behind the store's door: what a connection says to a statement, and the writer's transactions on it.

Round trips are what costs: BEGIN, SAVEPOINT and RELEASE wait until a statement follows and go out as one command, with the
question for the transaction's number and the time.

Each thing that is asked is one message, sent at once. A process that is stopped between two messages is idle in its
transaction, which PostgreSQL ends after IDLE_TIMEOUT_MS; one that is stopped within a pipeline or a COPY counts as active,
and would hold its rows for as long as it is stopped. So there is neither: rows in bulk travel as arrays.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from millrace.base.errors import Reason, Refusal
from millrace.store.postgres_connection import AGAIN, READ_ONLY, Address, identity, is_lost, unavailable
from millrace.store.postgres_sql import translate
from millrace.store.postgres_values import listed, nul_refused
from millrace.store.transaction import Conflict, Lost, Scalar, Value, Values

BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_SAVEPOINT: Final = "SAVEPOINT item"
_RELEASE: Final = "RELEASE item"
_UNDO: Final = "ROLLBACK TO item"
_CLOCK: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
_OPENING: Final = f"SELECT pg_current_xact_id()::text, {_CLOCK}"

VERDICT_PATIENCE_S: Final = 10.0
"""How long a COMMIT without an answer is asked after. Its backend may wait for a replica, or the server start again."""

VERDICT_RETRY_S: Final = 0.1

_TYPES: Final = """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped"""

_CONFLICTS = (errors.IntegrityError, errors.RaiseException, errors.NumericValueOutOfRange)
"""A constraint; a trigger that refuses; a sum that has left 64 bits, which on SQLite is a constraint's business too."""

Cursor = psycopg.RawCursor[tuple[Any, ...]]


class Opening(NamedTuple):
    """What the server said when the transaction began: its number, its time, and ours (monotonic) when that came."""

    xid: str
    now: int
    at: int


class PostgresTx:
    """A `Tx` on one connection. After a `Conflict` PostgreSQL answers nothing more until the savepoint is undone.

    `before` are commands that go out before the next statement.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._cursor: Cursor = psycopg.RawCursor(connection)
        self._commands: Cursor = psycopg.RawCursor(connection)
        self._insertions: dict[tuple[str, tuple[str, ...]], str] = {}
        self.before: list[str] = []
        self.opening: Opening | None = None

    def rows(self, sql: str, **values: Value) -> list[tuple]:  # type: ignore[type-arg]
        cursor = self._execute(sql, values)
        return cursor.fetchall() if cursor.description else []

    def row(self, sql: str, **values: Value) -> tuple | None:  # type: ignore[type-arg]
        cursor = self._execute(sql, values)
        return cursor.fetchone() if cursor.description else None

    def run(self, sql: str, **values: Value) -> int:
        return max(0, self._execute(sql, values).rowcount)

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        """One question where the statement takes lists, each parameter as one; else a question for each."""
        if translate(sql).many and values:
            self._execute(sql, {name: [row[name] for row in values] for name in values[0]})  # type: ignore[misc]
            return
        for row in values:
            self._execute(sql, row)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> None:
        if rows:
            self._ask(self._insertion(table, tuple(columns)), [listed(column) for column in zip(*rows, strict=True)])

    def now(self, ours: int) -> int:
        """The server's clock when the transaction began, and what has passed since."""
        del ours
        self.flush()
        if self.opening is None:  # a reader's
            row = self.row(f"SELECT {_CLOCK}")
            assert row is not None
            return int(row[0])
        return self.opening.now + time.monotonic_ns() - self.opening.at

    def flush(self) -> None:
        """Send what waits, as one message; after BEGIN the server says which transaction this is, and when."""
        if not self.before:
            return
        commands, self.before = self.before, []
        begins = commands[0] == BEGIN
        with _conflicts():
            self._commands.execute("; ".join([*commands, _OPENING] if begins else commands), prepare=False)
        if begins:
            while self._commands.nextset():
                continue
            row = self._commands.fetchone()
            assert row is not None
            self.opening = Opening(row[0], row[1], time.monotonic_ns())

    def _execute(self, sql: str, values: Mapping[str, Value]) -> Cursor:
        translated = translate(sql)
        return self._ask(translated.sql, translated.bound(values))

    def _ask(self, text: str, parameters: Sequence[Any]) -> Cursor:
        self.flush()
        with _conflicts():
            return self._cursor.execute(text, parameters)

    def _insertion(self, table: str, columns: tuple[str, ...]) -> str:
        """An INSERT of arrays, each of its column's type; the types are asked for once."""
        made = self._insertions.get((table, columns))
        if made is None:
            types: dict[str, str] = dict(self.rows(_TYPES, name=table))
            arrays = ", ".join(f"${number}::{types[name]}[]" for number, name in enumerate(columns, start=1))
            made = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our own names
            self._insertions[table, columns] = made
        return made


@contextlib.contextmanager
def _conflicts() -> Iterator[None]:
    try:
        yield
    except _CONFLICTS as error:
        raise Conflict(error.diag.message_primary or str(error)) from error
    except errors.CharacterNotInRepertoire as error:
        raise nul_refused() from error


class PostgresSession:
    """The writer's connection, made again when it was lost. Raises a Refusal when it cannot be had at the start."""

    def __init__(self, address: Address, *, wait: Callable[[float], object] = time.sleep) -> None:
        self._address = address
        self._wait = wait
        try:
            self._connect()
        except psycopg.Error as error:
            raise unavailable(address, error) from error

    @property
    def tx(self) -> PostgresTx:
        return self._tx

    def lost(self, error: Exception) -> Lost | None:
        if not isinstance(error, psycopg.Error) or not (self._connection.closed or is_lost(error)):
            return None
        if error.sqlstate == READ_ONLY:
            self._connection.close()  # the next one may lead to the new primary
        again = self._connection.closed or error.sqlstate in AGAIN
        return Lost(unavailable(self._address, error), again=again)

    def begin(self) -> None:
        if self._connection.closed:
            self._connect_again()
        self._tx.opening = None
        self._tx.before = [BEGIN]

    def commit(self) -> None:
        waiting, self._tx.before = self._tx.before, []
        if BEGIN in waiting:
            return  # nothing was asked, so nothing was begun
        try:
            self._command("; ".join([*waiting, "COMMIT"]))
        except psycopg.Error as error:
            if not self._connection.closed:
                raise
            self._find_out(error)

    def roll_back(self) -> None:
        waiting, self._tx.before = self._tx.before, []
        if BEGIN in waiting or self._connection.closed:
            return
        with contextlib.suppress(psycopg.Error):
            self._command("ROLLBACK")
        if self._connection.info.transaction_status is not TransactionStatus.IDLE:
            self._connection.close()

    def savepoint(self) -> None:
        self._tx.before.append(_SAVEPOINT)

    def release(self) -> None:
        if self._connection.info.transaction_status is TransactionStatus.INERROR:
            raise RuntimeError("the work has gone on after a Conflict or an error of its SQL; it must end there")
        if self._tx.before[-1:] == [_SAVEPOINT]:
            self._tx.before.pop()  # nothing was asked within it
        else:
            self._tx.before.append(_RELEASE)

    def roll_back_to(self) -> None:
        if self._tx.before[-1:] == [_SAVEPOINT]:
            self._tx.before.pop()
        else:
            self._tx.before += [_UNDO, _RELEASE]

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> None:
        self._connection = self._address.connect()
        self._identity = identity(self._connection)
        self._tx = PostgresTx(self._connection)

    def _connect_again(self) -> None:
        """Raises `Lost` when there is no server to be had now."""
        try:
            self._connect()
        except psycopg.Error as error:
            raise Lost(unavailable(self._address, error), again=True) from error

    def _command(self, text: str) -> None:
        self._connection.execute(text, prepare=False)

    def _find_out(self, error: psycopg.Error) -> None:
        """After a COMMIT without an answer: returns when it is kept, raises `Lost` when it is not, or that is not known."""
        xid, before = self._tx.opening, self._identity
        patience = time.monotonic() + VERDICT_PATIENCE_S
        while xid is not None and time.monotonic() < patience:
            try:
                if self._connection.closed:
                    self._connect()
                status = self._status(xid.xid)
            except psycopg.Error:
                status = "in progress"  # of the server's restart, as far as we know
            if status == "aborted" and before[:2] == self._identity[:2]:
                raise Lost(unavailable(self._address, error), again=True) from error
            if status == "committed" and before == self._identity:
                return
            if status != "in progress":
                break
            self._wait(VERDICT_RETRY_S)
        raise Lost(_unknown(self._address), again=False) from error

    def _status(self, xid: str) -> str | None:
        """Raises psycopg's errors. A number that the server has not given out yet was lost with the crash that took it back."""
        try:
            row = self._connection.execute("SELECT pg_xact_status($1::text::xid8)", [xid]).fetchone()
        except errors.InvalidParameterValue:
            return "aborted"
        return None if row is None else row[0]


def _unknown(address: Address) -> Refusal:
    return Refusal(
        Reason.STORE_UNAVAILABLE,
        f"the {address} was lost during a commit, and whether that was kept is not known; "
        "repeating it with the same id is safe: it is done once",
        retry_after_s=1,
    )
