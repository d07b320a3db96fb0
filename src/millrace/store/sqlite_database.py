"""A SQLite file behind the store's door: one writer, and one read-only connection for each thread that reads."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from millrace.store.database import Database
from millrace.store.sqlite import UNAVAILABLE, SqliteSession, SqliteTx, connect, unavailable
from millrace.store.transaction import Tx
from millrace.store.writer import closing

T = TypeVar("T")


class SqliteDatabase(Database):
    """A SQLite file, shared safely with other processes that open the same file through this class."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers = threading.local()
        self._all_readers: list[apsw.Connection] = []
        self._guard = threading.Lock()
        super().__init__(SqliteSession(path))

    @property
    def path(self) -> Path:
        return self._path

    def read(self, work: Callable[[Tx], T]) -> T:
        connection = self._reader()
        try:
            connection.execute("BEGIN")
            try:
                return work(SqliteTx(connection))
            finally:
                connection.execute("ROLLBACK")
        except UNAVAILABLE as error:
            raise unavailable(self._path, error) from error

    async def look(self, work: Callable[[Tx], T]) -> T:
        return self.read(work)

    def close(self) -> None:
        super().close()
        with self._guard:
            for connection in self._all_readers:
                connection.close()
            self._all_readers.clear()

    def _reader(self) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._readers, "connection", None)
        if self._closed:
            raise closing()
        if connection is None:
            connection = connect(self._path, writable=False)
            self._readers.connection = connection
            with self._guard:
                self._all_readers.append(connection)
        return connection
