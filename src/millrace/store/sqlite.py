"""SQLite behind the store's door: how a connection is set up, what it says to a statement, and its errors in our words."""

import contextlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import apsw
import msgspec

from millrace.base.errors import Reason, Refusal
from millrace.store.transaction import Conflict, Lost, Scalar, Tx, Value, Values
from millrace.store.turnstile import Turnstile

OLDEST = (3, 51, 3)
"""Older versions can corrupt a database in WAL mode that two connections write (fixed in 3.51.3, 2026-03-13)."""

BUSY_TIMEOUT_MS = 10_000
"""How long to wait for another process (a command beside the server) to finish its write, which takes milliseconds."""

WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""To what the write-ahead log is truncated after a checkpoint, so that one burst does not keep the disk for ever."""

WRITER_CACHE_KIB = 32 * 1024
"""Holds the upper pages of every index of some million requests, which each transaction walks through."""

READER_CACHE_KIB = 4 * 1024
"""There is one reader for each thread that reads; what they look up is a few rows."""

UNAVAILABLE = (
    apsw.BusyError, apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.CorruptError,
    apsw.NotADBError, apsw.LockedError, apsw.PermissionsError, apsw.NoMemError,
)


_encode = msgspec.json.Encoder().encode


class SqliteTx:
    """A `Tx` on one connection; the statement cache of apsw keeps the hot statements prepared."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def rows(self, sql: str, **values: Value) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._execute(translate(sql), _bound(values)).fetchall()
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error

    def row(self, sql: str, **values: Value) -> tuple | None:  # type: ignore[type-arg]
        try:
            return self._execute(translate(sql), _bound(values)).fetchone()
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error

    def run(self, sql: str, **values: Value) -> int:
        try:
            self._execute(translate(sql), _bound(values))
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error
        return self._connection.changes()

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        if not values:
            return
        try:
            self._connection.executemany(translate(sql), values)
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> None:
        if not rows:
            return
        try:
            self._connection.executemany(_insertion(table, tuple(columns)), rows)
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error

    def now(self, ours: int) -> int:
        return ours


class SqliteSession:
    """The one writable connection of a process; another process waits for its transaction to end, in turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, writable=True)
        self._turnstile = Turnstile(path)
        self.tx: Tx = SqliteTx(self._connection)

    def lost(self, error: Exception) -> Lost | None:
        return Lost(unavailable(self._path, error), again=False) if isinstance(error, UNAVAILABLE) else None

    def begin(self) -> None:
        if not self._turnstile.enter(BUSY_TIMEOUT_MS / 1000):
            raise apsw.BusyError("another process has been writing for long")
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")
        self._turnstile.leave()

    def roll_back(self) -> None:
        with contextlib.suppress(apsw.Error):  # SQLite has rolled back by itself after some errors
            self._connection.execute("ROLLBACK")
        self._turnstile.leave()

    def savepoint(self) -> None:
        self._connection.execute("SAVEPOINT item")

    def release(self) -> None:
        self._connection.execute("RELEASE item")

    def roll_back_to(self) -> None:
        self._connection.execute("ROLLBACK TO item")
        self._connection.execute("RELEASE item")

    def close(self) -> None:
        self._connection.close()
        self._turnstile.close()


@cache
def translate(sql: str) -> str:
    """The common dialect in SQLite's words: a list travels as JSON, and nobody else writes while a transaction does."""
    listed = re.sub(r"\(:(\w+)\.\.\.\)", r"(SELECT value FROM json_each(:\1))", sql)
    return re.sub(r"\s+FOR UPDATE(?: SKIP LOCKED)?\s*$", "", listed)


@cache
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"  # noqa: S608 - our own names


def _bound(values: dict[str, Value]) -> dict[str, Scalar]:
    """Parameters as SQLite takes them: lists as JSON. Nearly always there is none, and then nothing is copied."""
    for value in values.values():
        if isinstance(value, list | tuple):
            return {name: _json(one) if isinstance(one, list | tuple) else one for name, one in values.items()}  # type: ignore[misc]
    return values  # type: ignore[return-value]


def _json(values: Sequence[Scalar]) -> str:
    return _encode(values).decode()


def library_version() -> tuple[int, ...]:
    """Of the SQLite that is built into this installation."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def connect(path: Path, *, writable: bool) -> apsw.Connection:
    """Open the file, creating it when writable. Raises a Refusal that names the file when it cannot be used."""
    if library_version() < OLDEST:
        raise Refusal(
            Reason.BAD_SETTING,
            f"SQLite {apsw.sqlite_lib_version()} can corrupt the books; install an apsw wheel with 3.51.3 or newer",
        )
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else a range or LIMIT parameter is planned anew each time: 5 ×
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}").fetchall()
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB if writable else READER_CACHE_KIB}")
        if not writable:
            connection.execute("PRAGMA query_only = ON")
    except UNAVAILABLE as error:
        raise unavailable(path, error) from error
    return connection


def unavailable(path: Path, error: Exception) -> Refusal:
    """The database cannot be used now; nothing of the refused work was kept."""
    return Refusal(
        Reason.STORE_UNAVAILABLE,
        f"the database {path.name} cannot be used now ({error}); "
        "check that its folder is writable and the disk has room",
        retry_after_s=1,
    )

