"""The real door to the database, with the house in memory and a disk that can be told to refuse; for tests of the
books.

A process is killed by `die`: whatever it wrote stays, and what it was just about to write or to hear never comes.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from tests.money.house import House

from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.transaction import Tx

T = TypeVar("T")


def disk_full() -> Refusal:
    return Refusal(Reason.STORE_UNAVAILABLE, "the database cannot be used now (database or disk is full)", retry_after_s=1)


class MemoryDatabase(Database):
    """Each write is a commit of its own, at a moment that `rng` chooses; `rng` None writes at once.

    `refusals` is the chance that a write is refused; half of those were kept all the same, as after a commit whose
    answer was lost.
    """

    def __init__(self, house: House, rng: random.Random | None = None) -> None:  # the file's own set-up is not wanted
        self.house = house
        self.refusals = 0.0
        self._rng = rng
        self._dead = False

    def die(self) -> None:
        self._dead = True

    async def write(self, work: Callable[[Tx], T]) -> T:
        await self._pause()
        refused = self._rng is not None and self._rng.random() < self.refusals
        if refused and self._rng is not None and self._rng.random() < 0.5:
            raise disk_full()
        done = self.house.do(work)
        await self._pause()
        if refused:
            raise disk_full()
        return done

    def read(self, work: Callable[[Tx], T]) -> T:
        return work(self.house.tx)

    def write_now(self, work: Callable[[Tx], T]) -> T:
        return self.house.do(work)

    def close(self) -> None:
        pass

    async def _pause(self) -> None:
        if self._rng is None:
            return
        for _ in range(self._rng.choice((0, 1, 1, 2, 5))):
            await asyncio.sleep(0)
        if self._dead:
            await asyncio.get_running_loop().create_future()
