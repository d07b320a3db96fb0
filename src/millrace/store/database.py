"""The door to the database: `write` and `post` (durable when they return), `read` (a consistent snapshot), `migrate`.

Two makes stand behind it: `SqliteDatabase` (store/sqlite_database.py) and `PostgresDatabase` (store/postgres_database.py).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import ClassVar, TypeVar

from millrace.store import migrations
from millrace.store.migrations import Migration
from millrace.store.transaction import Batch, Op, R, Session, Tx
from millrace.store.writer import Committed, Writer

T = TypeVar("T")


class Database(ABC):
    """One database, shared safely with other processes that open the same one through this class."""

    dialect: ClassVar[str]
    """Whose migrations it takes: 'sqlite' or 'postgresql'."""

    def __init__(self, session: Session) -> None:
        self._closed = False
        self._writer = Writer(session)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in the next group commit; returns when it is on disk. What `work` raises undoes it alone.

        A caller that is cancelled while waiting does not undo the work: whoever needs the answer shields the call.
        Where the database is away, `work` may be run more than once; only one run of it is kept.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(work, future, loop)
        return await future

    async def post(self, batch: Batch[Op, R], op: Op) -> R:
        """Hand an operation to `batch` in the next group commit, together with all others of that batch that wait.

        As `write`: durable when it returns, raises what the batch answered, not undone by a cancelled caller.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._writer.post(batch, op, future, loop)
        return await future

    def write_now(self, work: Callable[[Tx], T]) -> T:
        """`write` for a caller without an event loop (the command line)."""
        future: Future[T] = Future()
        self._writer.submit(work, future, None)
        return future.result()

    @abstractmethod
    def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on a read-only snapshot, on the calling thread. Blocks: from an event loop, `look` instead."""

    @abstractmethod
    async def look(self, work: Callable[[Tx], T]) -> T:
        """A small `read` from an event loop, which it never holds up for longer than a disk's cache takes."""

    def migrate(self, all_migrations: list[Migration]) -> int:
        """Apply what is missing, each whole or not at all; returns how many.

        Refuses a database newer than this program.
        """
        return self.write_now(lambda tx: migrations.apply(tx, all_migrations))

    def watch(self, committed: Committed) -> None:
        """Have each commit told from now on; what is told must be quick and raise nothing."""
        self._writer.committed = committed

    def close(self) -> None:
        """Finish the writes that were taken in, then close every connection."""
        self._closed = True
        self._writer.close()
