"""A worker's end of the channel: engines that its parent runs, the metrics of its siblings, and the end of the parent."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable
from typing import Final

from millrace.engines.embedded.follower import Feed, Standing
from millrace.gateway.accepting import Tally
from millrace.workers.messages import Ask, Channel, Collect, Collected, Down, EngineNews, Sample, Task

COLLECT_S: Final = 3.0
"""How long the metrics of all may take; then a worker shows its own."""

ORPHAN_DRAIN_S: Final = 3.0
"""What running requests get when the parent is gone: its engines are, too, and its home may be taken again."""

ORPHAN_END_S: Final = 20
"""A worker that has not ended so long after its parent is ended by the kernel."""

_log = logging.getLogger("millrace.workers")


class Member:
    """One of `task.workers`, from the task on."""

    def __init__(self, task: Task, channel: Channel[Down], tally: Tally) -> None:
        self.task = task
        self.tally = tally
        self.channel = channel
        self._standings: dict[str, Standing] = {}
        self._news = asyncio.Condition()
        self._collected: asyncio.Future[str] | None = None

    def feed(self, model: str) -> Feed:
        """What the parent says of its engine."""

        async def standings() -> AsyncGenerator[Standing, None]:
            told: Standing | None = None
            while True:
                async with self._news:
                    while self._standings.get(model, told) == told:
                        await self._news.wait()
                    told = self._standings[model]
                yield told

        return standings

    def forget(self, model: str) -> None:
        """Nobody asks for its feed any more."""
        self._standings.pop(model, None)

    async def whole(self, own: bytes) -> bytes:
        """The metrics of all workers; this one's own when they cannot be had."""
        if self._collected is None:
            self._collected = asyncio.get_running_loop().create_future()
            self.channel.send(Ask())
        try:
            async with asyncio.timeout(COLLECT_S):
                return (await asyncio.shield(self._collected)).encode()
        except TimeoutError:
            self._collected = None
            return own

    async def listen(self, own: Callable[[], bytes]) -> None:
        """Take what the parent says, until it is gone; then end this process as the parent would have."""
        while (said := await self.channel.receive()) is not None:
            if isinstance(said, EngineNews):
                async with self._news:
                    self._standings[said.model] = said.standing
                    self._news.notify_all()
            elif isinstance(said, Collect):
                self.channel.send(Sample(own().decode()))
            elif isinstance(said, Collected) and self._collected is not None:
                self._collected.set_result(said.text)
                self._collected = None
        _log.error("the parent is gone; what runs has %g s, then this worker ends", ORPHAN_DRAIN_S)
        signal.alarm(ORPHAN_END_S)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(ORPHAN_DRAIN_S)
        os.kill(os.getpid(), signal.SIGTERM)
