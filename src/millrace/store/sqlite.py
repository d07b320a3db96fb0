"""SQLite behind the store's door: how a connection is set up, and its errors in our words."""

from pathlib import Path

import apsw

from millrace.base.errors import Reason, Refusal
from millrace.store.transaction import Conflict, Value

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


class SqliteTx:
    """A `Tx` on one connection; the statement cache of apsw keeps the hot statements prepared."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def rows(self, sql: str, **values: Value) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._execute(sql, values).fetchall()
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error

    def row(self, sql: str, **values: Value) -> tuple | None:  # type: ignore[type-arg]
        try:
            return self._execute(sql, values).fetchone()
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error

    def run(self, sql: str, **values: Value) -> int:
        try:
            self._execute(sql, values)
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error
        return self._connection.changes()


def connect(path: Path, *, writable: bool) -> apsw.Connection:
    """Open the file, creating it when writable. Raises a Refusal that names the file when it cannot be used."""
    if tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) < OLDEST:
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


def closing() -> Refusal:
    """The database takes nothing in any more."""
    return Refusal(Reason.STORE_UNAVAILABLE, "the database is being closed", retry_after_s=1)
