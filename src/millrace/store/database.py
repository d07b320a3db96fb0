"""The door to the database: `write` (durable when it returns), `read` (a consistent snapshot), `migrate`."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import apsw

from millrace.store import migrations
from millrace.store.migrations import Migration
from millrace.store.sqlite import UNAVAILABLE, SqliteTx, closing, connect, unavailable
from millrace.store.transaction import Tx
from millrace.store.writer import Writer

T = TypeVar("T")


class Database:
    """A SQLite file, shared safely with other processes that open the same file through this class."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers = threading.local()
        self._all_readers: list[apsw.Connection] = []
        self._guard = threading.Lock()
        self._closed = False
        self._writer = Writer(connect(path, writable=True), lambda error: unavailable(path, error))

    @property
    def path(self) -> Path:
        return self._path

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in the next group commit; returns when it is on disk. What `work` raises undoes it alone.

        A caller that is cancelled while waiting does not undo the work: whoever needs the answer shields the call.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(work, future, loop)
        return await future

    def write_now(self, work: Callable[[Tx], T]) -> T:
        """`write` for a caller without an event loop (the command line)."""
        future: Future[T] = Future()
        self._writer.submit(work, future, None)
        return future.result()

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on a read-only snapshot, at once and on the calling thread: small look-ups, or from a thread."""
        connection = self._reader()
        try:
            connection.execute("BEGIN")
            try:
                return work(SqliteTx(connection))
            finally:
                connection.execute("ROLLBACK")
        except UNAVAILABLE as error:
            raise unavailable(self._path, error) from error

    def migrate(self, all_migrations: list[Migration]) -> int:
        """Apply what is missing, each whole or not at all; returns how many.

        Refuses a database newer than this program.
        """
        return self.write_now(lambda tx: migrations.apply(tx, all_migrations))

    def close(self) -> None:
        """Finish the writes that were taken in, then close every connection."""
        self._closed = True
        self._writer.close()
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
