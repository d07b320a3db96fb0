"""Where an engine stands in its life, why it failed, and a way to wait until that is decided."""

import asyncio

from millrace.base.errors import Refusal
from millrace.engines.protocol import EngineState, not_ready, transition

_UNDECIDED = frozenset({EngineState.DECLARED, EngineState.LOADING})


class Life:
    """The state of one engine, changed only through the table; `failure` says what is wrong and how to mend it."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.state = EngineState.DECLARED
        self.failure: str | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def become(self, state: EngineState, failure: str | None = None) -> None:
        """Take a step of the table. The last failure stays readable while the engine loads again, until it is READY."""
        self.state = transition(self.state, state)
        if state is EngineState.READY:
            self.failure = None
        elif failure is not None:
            self.failure = failure
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def decided(self) -> EngineState:
        """Wait until the engine is neither DECLARED nor LOADING, and say what it is."""
        while self.state in _UNDECIDED:
            await self.step()
        return self.state

    async def step(self) -> None:
        """Wait for the next step."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def require_ready(self, retry_after_s: int = 2) -> None:
        """Raises ENGINE_UNAVAILABLE unless the engine is READY."""
        if self.state is not EngineState.READY:
            raise self.not_ready(retry_after_s)

    def not_ready(self, retry_after_s: int = 2) -> Refusal:
        return not_ready(self.model, self.state, retry_after_s)
