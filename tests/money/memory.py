"""The real door to the database, with the house in memory and a disk that can be told to refuse; for tests of the
books.

A process is killed by `die`: whatever it wrote stays, and what it was just about to write or to hear never comes.
"""

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

from tests.money.house import House

from millrace.base.errors import Reason, Refusal
from millrace.money.billing.books import Books
from millrace.store.database import Database
from millrace.store.transaction import Batch, Op, R, Tx

T = TypeVar("T")


def bury(books: Books) -> None:
    """What the kernel does for a process that is gone: its files are closed, and so its locks are free."""
    lock, books._life._lock = books._life._lock, None
    if lock is not None:
        os.close(lock[1])
    if books._journal is not None:
        books._journal.close()


def disk_full() -> Refusal:
    return Refusal(Reason.STORE_UNAVAILABLE, "the database cannot be used now (database or disk is full)", retry_after_s=1)


class MemoryDatabase(Database):
    """Each write is a commit of its own, at a moment that `rng` chooses; `rng` None writes at once. What is posted until
    then goes together.

    `refusals` is the chance that a write is refused; half of those were kept all the same, as after a commit whose
    answer was lost.
    """

    def __init__(self, house: House, rng: random.Random | None = None) -> None:  # the file's own set-up is not wanted
        self.house = house
        self.tx: Tx = house.tx
        self.refusals = 0.0
        self._rng = rng
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._leader: asyncio.Task[None] | None = None
        self._dead = False

    def die(self) -> None:
        self._dead = True

    async def write(self, work: Callable[[Tx], T]) -> T:
        await self._pause()
        return await self.commit(work)

    async def commit(self, work: Callable[[Tx], T]) -> T:
        refused = self._rng is not None and self._rng.random() < self.refusals
        if refused and self._rng is not None and self._rng.random() < 0.5:
            raise disk_full()
        done = self._do(work)
        await self._pause()
        if refused:
            raise disk_full()
        return done

    async def post(self, batch: Batch[Op, R], op: Op) -> R:
        """As the writer does: whoever comes first takes along what waits by then."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((op, future))
        if len(self._waiting) == 1:
            self._leader = asyncio.create_task(self._together(batch))
        return await future

    async def _together(self, batch: "Batch[Any, Any]") -> None:
        await self._pause()
        taken, self._waiting = self._waiting, []
        try:
            answers = await self.commit(lambda _: self._answers(batch, [op for op, _ in taken]))
        except Exception as error:  # noqa: BLE001 - told to all
            answers = [error] * len(taken)
        for (_, future), answer in zip(taken, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _answers(self, batch: "Batch[Any, Any]", ops: list[Any]) -> list[Any]:
        """What breaks the batch as a whole is found by running its operations one by one."""
        try:
            return self._do(lambda tx: batch(tx, ops))
        except Exception as error:  # noqa: BLE001 - it is an answer
            return [error] if len(ops) == 1 else [answer for op in ops for answer in self._answers(batch, [op])]

    def _do(self, work: Callable[[Tx], T]) -> T:
        return self.house.do(lambda _: work(self.tx))

    def read(self, work: Callable[[Tx], T]) -> T:
        return work(self.tx)

    async def look(self, work: Callable[[Tx], T]) -> T:
        return self.read(work)

    def write_now(self, work: Callable[[Tx], T]) -> T:
        return self._do(work)

    def close(self) -> None:
        pass

    async def _pause(self) -> None:
        if self._rng is None:
            return
        for _ in range(self._rng.choice((0, 1, 1, 2, 5))):
            await asyncio.sleep(0)
        if self._dead:
            await asyncio.get_running_loop().create_future()
