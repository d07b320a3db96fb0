"""A PostgreSQL database behind the store's door: one writer, and a few read-only connections that readers take in turn."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import psycopg

from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.postgres import PostgresSession, PostgresTx
from millrace.store.postgres_connection import Address, is_lost, unavailable
from millrace.store.transaction import Tx
from millrace.store.writer import closing

T = TypeVar("T")

READERS_MAX: Final = 8
"""Connections that read at once; with the writer's a process has at most nine of the server's hundred."""

READER_WAIT_S: Final = 30.0
"""How long a read waits for a connection before it is refused."""

LOOKERS_MAX: Final = 4
"""Threads for small reads of event loops."""

LOOK_MS: Final = 2_000
"""What `look` asks for are a few rows; a request must not wait for longer."""

SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresDatabase(Database):
    """One database of a PostgreSQL server, shared with all that name it. Raises a Refusal when it cannot be used."""

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self._address = Address(url)
        self._readers = Readers(self._address)
        self._looking = ThreadPoolExecutor(LOOKERS_MAX, thread_name_prefix="millrace-look")
        super().__init__(PostgresSession(self._address))

    def read(self, work: Callable[[Tx], T]) -> T:
        return self._read(work, [SNAPSHOT])

    async def look(self, work: Callable[[Tx], T]) -> T:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise closing()
        limited = [SNAPSHOT, f"SET LOCAL statement_timeout = {LOOK_MS}"]
        return await loop.run_in_executor(self._looking, self._read, work, limited)

    def close(self) -> None:
        super().close()
        self._looking.shutdown()
        self._readers.close()

    def _read(self, work: Callable[[Tx], T], begin: list[str]) -> T:
        """Once more where the connection was dead already: the server has been started again since it was last used."""
        if self._closed:
            raise closing()
        with self._readers.turn():
            try:
                try:
                    return _snapshot(self._readers, work, begin)
                except psycopg.OperationalError as error:
                    if error.sqlstate is not None and not error.sqlstate.startswith(("08", "57P")):
                        raise
                    self._readers.forget()
                    return _snapshot(self._readers, work, begin)
            except psycopg.Error as error:
                if isinstance(error, psycopg.OperationalError) or is_lost(error):
                    raise unavailable(self._address, error) from error
                raise


def _snapshot(readers: "Readers", work: Callable[[Tx], T], begin: list[str]) -> T:
    connection = readers.take()
    try:
        tx = PostgresTx(connection)
        tx.before = [*begin]
        try:
            return work(tx)
        finally:
            if not tx.before:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("ROLLBACK", prepare=False)
    finally:
        readers.give_back(connection)


class Readers:
    """Read-only connections, made when they are needed and kept for the next."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._turns = threading.BoundedSemaphore(READERS_MAX)
        self._guard = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until one of the connections is free. Raises STORE_UNAVAILABLE when that takes too long."""
        if not self._turns.acquire(timeout=READER_WAIT_S):
            raise Refusal(
                Reason.STORE_UNAVAILABLE, f"{READERS_MAX} reads of the {self._address} run already; try again", retry_after_s=5
            )
        try:
            yield
        finally:
            self._turns.release()

    def take(self) -> Connection:
        """Within a turn. Raises psycopg's errors when there is no server."""
        with self._guard:
            if self._idle:
                return self._idle.pop()
        return self._address.connect()

    def give_back(self, connection: Connection) -> None:
        with self._guard:
            if not self._closed and not connection.closed:
                self._idle.append(connection)
                return
        connection.close()

    def forget(self) -> None:
        """Close the idle ones: the server that they led to is gone."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        with self._guard:
            self._closed = True
        self.forget()
