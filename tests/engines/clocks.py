"""A clock whose sleepers wait until the test lets them go."""

import asyncio
from collections.abc import Callable

from millrace.base.clock import FakeClock


class HeldClock(FakeClock):
    """`asked` lists what was slept for; `let_go` wakes every sleeper after its time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((seconds, future))
        await future

    async def let_go(self) -> None:
        """Wake the sleepers, and give everything that follows from it its turn."""
        await self._wake(lambda _: True)

    async def let_go_of(self, slept: float) -> None:
        """The same for those that sleep for so many seconds."""
        await self._wake(lambda seconds: seconds == slept)

    async def _wake(self, which: Callable[[float], bool]) -> None:
        await settle()
        sleepers = [one for one in self._sleepers if which(one[0])]
        self._sleepers = [one for one in self._sleepers if not which(one[0])]
        for seconds, future in sleepers:
            if not future.done():
                self.advance(seconds)
                future.set_result(None)
        await settle()


async def settle() -> None:
    """Let every task that can run come to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0)
