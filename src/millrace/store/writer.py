"""Group commit: one thread owns the writable connection, and all that waits while a commit runs shares the next one.

A piece of work is a function of a transaction. It runs inside a savepoint of its own, so a refusal undoes it alone and
its neighbours in the same commit keep theirs. An answer is given only after the commit that holds it is on disk.
"""

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import apsw

from millrace.base.errors import Refusal
from millrace.store.sqlite import UNAVAILABLE, SqliteTx, closing
from millrace.store.transaction import Tx

BATCH_MAX = 1_000
"""Pieces of work in one commit: at about 20 µs each a caller waits at most some 20 ms behind a full batch."""

Work = Callable[[Tx], Any]
AnyFuture = asyncio.Future[Any] | Future[Any]


class _Item(NamedTuple):
    work: Work
    future: AnyFuture
    loop: asyncio.AbstractEventLoop | None


class _Answer(NamedTuple):
    item: _Item
    value: Any
    error: BaseException | None


class Writer:
    """Owns the writable connection from a thread of its own.

    `close` finishes what was taken in and stops the thread.
    """

    def __init__(self, connection: apsw.Connection, unavailable: Callable[[Exception], Refusal]) -> None:
        self._connection = connection
        self._unavailable = unavailable
        self._tx = SqliteTx(connection)
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._closing = False
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="millrace-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, future: AnyFuture, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._guard:
            if self._closing:
                raise closing()
            self._queue.put(_Item(work, future, loop))

    def close(self) -> None:
        with self._guard:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            if batch:
                _deliver(self._commit(batch))
        self._connection.close()

    def _take(self) -> tuple[list[_Item], bool]:
        first = self._queue.get()
        if first is None:
            return [], False
        batch = [first]
        with contextlib.suppress(Empty):
            while len(batch) < BATCH_MAX:
                item = self._queue.get_nowait()
                if item is None:
                    return batch, False
                batch.append(item)
        return batch, True

    def _commit(self, batch: list[_Item]) -> list[_Answer]:
        """Run all in one transaction.

        Where the transaction itself fails, nothing of the batch is kept and each is told.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            answers = [self._answer(item) for item in batch]
            self._connection.execute("COMMIT")
        except UNAVAILABLE as error:
            self._roll_back()
            return [_Answer(item, None, self._unavailable(error)) for item in batch]
        except Exception as error:  # noqa: BLE001 - a bug, told to all; a dead writer would leave everybody waiting
            self._roll_back()
            return [_Answer(item, None, error) for item in batch]
        return answers

    def _roll_back(self) -> None:
        with contextlib.suppress(apsw.Error):  # SQLite has rolled back by itself after some errors
            self._connection.execute("ROLLBACK")

    def _answer(self, item: _Item) -> _Answer:
        self._connection.execute("SAVEPOINT item")
        try:
            value = item.work(self._tx)
        except UNAVAILABLE:
            raise  # the whole transaction is in doubt
        except StopIteration as error:  # a future cannot carry it
            return self._undone(item, RuntimeError(f"the work raised StopIteration({error.value!r})"))
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, who decides
            return self._undone(item, error)
        self._connection.execute("RELEASE item")
        return _Answer(item, value, None)

    def _undone(self, item: _Item, error: Exception) -> _Answer:
        self._connection.execute("ROLLBACK TO item")
        self._connection.execute("RELEASE item")
        return _Answer(item, None, error)


def _deliver(answers: list[_Answer]) -> None:
    """One wake-up for each event loop, whatever the number of answers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = defaultdict(list)
    for answer in answers:
        if answer.item.loop is None:
            _resolve([answer])
        else:
            by_loop[answer.item.loop].append(answer)
    for loop, theirs in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, theirs)


def _resolve(answers: list[_Answer]) -> None:
    for item, value, error in answers:
        if item.future.done():  # the caller was cancelled; what was committed stays, and it was told so
            continue
        if error is None:
            item.future.set_result(value)
        else:
            item.future.set_exception(error)
