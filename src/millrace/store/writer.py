"""Group commit: one thread owns the writable connection, and all that waits while a commit runs shares the next one.

A piece of work is a function of a transaction. It runs inside a savepoint of its own, so a refusal undoes it alone and
its neighbours in the same commit keep theirs. Operations of one batch that wait together are handed to it together: a
hundred of them cost little more than the few statements of one. An answer is given only after the commit that holds it
is on disk.
"""

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.store.transaction import Batch, Lost, Session, Tx

BATCH_MAX = 1_000
"""Pieces of work in one commit: at about 20 µs each a caller waits at most some 20 ms behind a full batch."""

PATIENCE_S: Final = 5.0
"""How long a transaction that was lost is tried again before everybody in it is told that the database is not there."""

RETRY_S: Final = (0.0, 0.01, 0.05, 0.2, 0.5)
"""Waits between the tries; the last one repeats."""

Work = Callable[[Tx], Any]
Committed = Callable[[int, int], None]
"""Told of each commit on the writer's thread: the pieces of work in it, and the nanoseconds that it took."""

AnyFuture = asyncio.Future[Any] | Future[Any]


class _Item(NamedTuple):
    """Either a piece of work, or an operation of a batch."""

    work: Work | None
    batch: "Batch[Any, Any] | None"
    op: Any
    future: AnyFuture
    loop: asyncio.AbstractEventLoop | None


class _Answer(NamedTuple):
    item: _Item
    value: Any
    error: BaseException | None


class Writer:
    """Owns the writable connection from a thread of its own.

    `close` finishes what was taken in and stops the thread. `wait` is how it waits between tries.
    """

    def __init__(self, session: Session, *, wait: Callable[[float], object] = time.sleep) -> None:
        self._session = session
        self._wait = wait
        self.committed: Committed = _unwatched
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._closing = False
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="millrace-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, future: AnyFuture, loop: asyncio.AbstractEventLoop | None) -> None:
        self._put(_Item(work, None, None, future, loop))

    def post(
        self, batch: "Batch[Any, Any]", op: object, future: AnyFuture, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self._put(_Item(None, batch, op, future, loop))

    def close(self) -> None:
        with self._guard:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        self._thread.join()

    def _put(self, item: _Item) -> None:
        with self._guard:
            if self._closing:
                raise closing()
            self._queue.put(item)

    def _serve(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            if batch:
                begun = time.monotonic_ns()
                answers = self._commit(batch)
                self.committed(len(batch), time.monotonic_ns() - begun)
                _deliver(answers)
        self._session.close()

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

    def _commit(self, items: list[_Item]) -> list[_Answer]:
        """Run all in one transaction, again where that may help.

        Where the transaction itself fails, nothing of it is kept and each is told.
        """
        patience = time.monotonic() + PATIENCE_S
        for wait_s in _waits():
            try:
                return self._try(items)
            except Exception as error:  # noqa: BLE001 - told to all; a dead writer would leave everybody waiting
                lost = self._lost(error)
                self._session.roll_back()
                if lost is None:  # a bug
                    return [_Answer(item, None, error) for item in items]
                if not lost.again or time.monotonic() + wait_s > patience:
                    return [_Answer(item, None, lost.refusal) for item in items]
            self._wait(wait_s)
        raise AssertionError("unreachable")

    def _try(self, items: list[_Item]) -> list[_Answer]:
        self._session.begin()
        answers: list[_Answer] = []
        for batch, members in groupby(items, key=lambda item: item.batch):
            together = list(members)
            answers += self._alone(together) if batch is None else self._together(batch, together)
        self._session.commit()
        return answers

    def _alone(self, items: list[_Item]) -> list[_Answer]:
        answers = []
        for item in items:
            assert item.work is not None
            answers.append(self._kept_or_undone(item, item.work))
        return answers

    def _together(self, batch: "Batch[Any, Any]", items: list[_Item]) -> list[_Answer]:
        """What breaks the batch as a whole is found by running its operations one by one."""
        if len(items) == 1:
            return [self._single(batch, items[0])]
        self._session.savepoint()
        try:
            results = batch(self._session.tx, [item.op for item in items])
            self._session.release()
        except Exception as error:
            if self._lost(error) is not None:
                raise
            self._session.roll_back_to()
            return [self._single(batch, item) for item in items]
        return [_answered(item, result) for item, result in zip(items, results, strict=True)]

    def _single(self, batch: "Batch[Any, Any]", item: _Item) -> _Answer:
        answer = self._kept_or_undone(item, lambda tx: batch(tx, [item.op])[0])
        return answer if answer.error is not None else _answered(item, answer.value)

    def _kept_or_undone(self, item: _Item, work: Work) -> _Answer:
        self._session.savepoint()
        try:
            value = work(self._session.tx)
            self._session.release()
        except StopIteration as error:  # a future cannot carry it
            return self._undone(item, RuntimeError(f"the work raised StopIteration({error.value!r})"))
        except Exception as error:
            if self._lost(error) is not None:
                raise  # the whole transaction is in doubt
            return self._undone(item, error)
        return _Answer(item, value, None)

    def _undone(self, item: _Item, error: Exception) -> _Answer:
        self._session.roll_back_to()
        return _Answer(item, None, error)

    def _lost(self, error: Exception) -> Lost | None:
        return error if isinstance(error, Lost) else self._session.lost(error)


def _unwatched(pieces: int, duration_ns: int) -> None:
    """Nobody watches."""


def closing() -> Refusal:
    """The database takes nothing in any more."""
    return Refusal(Reason.STORE_UNAVAILABLE, "the database is being closed", retry_after_s=1)


def _answered(item: _Item, result: Any) -> _Answer:
    return _Answer(item, None, result) if isinstance(result, Exception) else _Answer(item, result, None)


def _waits() -> Iterator[float]:
    yield from RETRY_S
    while True:
        yield RETRY_S[-1]


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
