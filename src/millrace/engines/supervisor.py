"""Keeps one server of an engine alive: launch, wait until it is ready, watch it, back off, launch again.

Theory of operation. A supervisor is one task. It launches a Served (a child process, or a watch over a server that
somebody else runs), waits for `ready`, then for `gone`. Whatever ends it is written into the engine's life as FAILED
with a sentence for the operator, and after a pause the next attempt is LOADING. The pause doubles from BACKOFF_FIRST_S
to BACKOFF_MAX_S and starts small again once a Served was ready for HEALTHY_S. `close` stops what runs and reaps it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from millrace.base.clock import NS_PER_S, Clock
from millrace.engines.life import Life
from millrace.engines.protocol import EngineState

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
"""Long enough to cost nothing, short enough that a mended file or server is noticed while one is looking."""
HEALTHY_S: Final = 60.0


class NotServingError(Exception):
    """A Served did not become ready; the sentence names what failed and the remedy."""


class Served(Protocol):
    """One running server, from its launch to its end."""

    async def ready(self) -> None:
        """Return when it can take work. Raises NotServingError when it will not."""
        ...

    async def gone(self) -> str:
        """Return when it can take no more work, with a sentence that says why."""
        ...

    async def stop(self) -> None:
        """End it and leave nothing behind. Safe to call at any time and twice."""
        ...


Launch = Callable[[], Awaitable[Served]]
"""Starts a Served. Raises NotServingError when even that fails."""


class Supervisor:
    """The life of one engine's server. `start` begins it, `close` ends it for good."""

    def __init__(self, life: Life, clock: Clock, launch: Launch) -> None:
        self._life = life
        self._clock = clock
        self._launch = launch
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._life.become(EngineState.LOADING)
        self._task = asyncio.create_task(self._run(), name=f"supervisor of {self._life.model}")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        if self._life.state is not EngineState.STOPPED:
            self._life.become(EngineState.STOPPED)
        if task is not None and not task.cancelled():
            task.result()  # a bug of the supervisor comes out here

    async def _run(self) -> None:
        pause = BACKOFF_FIRST_S
        while True:
            failure, served_s = await self._serve()
            if served_s >= HEALTHY_S:
                pause = BACKOFF_FIRST_S
            self._life.become(EngineState.FAILED, failure)
            await self._clock.sleep(pause)
            pause = min(2 * pause, BACKOFF_MAX_S)
            self._life.become(EngineState.LOADING)

    async def _serve(self) -> tuple[str, float]:
        """One server from launch to end: (why it ended, the seconds it was ready)."""
        try:
            served = await self._launch()
        except NotServingError as error:
            return str(error), 0.0
        try:
            await served.ready()
            self._life.become(EngineState.READY)
            began = self._clock.monotonic()
            failure = await served.gone()
            return failure, (self._clock.monotonic() - began) / NS_PER_S
        except NotServingError as error:
            return str(error), 0.0
        finally:
            await served.stop()
