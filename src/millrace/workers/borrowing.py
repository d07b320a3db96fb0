"""Engines of tuned models that a worker has from its parent, each for as long as requests of this worker use it.

A loan has a number of its own, under which the parent says how the engine stands, so that what it said of an earlier loan of
the same model is never taken for news. Loans end with the worker's channel too.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.tuned.values import TunedModel
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.pool import RETRY_S
from millrace.engines.protocol import EngineState, not_ready
from millrace.workers.member import Member
from millrace.workers.messages import Borrow, Return, loan_name

ANSWER_S: Final = 2.0
"""The parent gives up after `patience_s` and says so; a worker that hears nothing of it gives up this much later."""

Follow = Callable[[TunedModel, str], EmbeddedEngine]
"""An engine that follows what the parent says under that name."""


class _Loan:
    def __init__(self, number: int, engine: EmbeddedEngine) -> None:
        self.number = number
        self.engine = engine
        self.users = 0


class Borrowing:
    """Of one worker."""

    def __init__(self, member: Member, follow: Follow, clock: Clock, patience_s: float) -> None:
        self._member = member
        self._follow = follow
        self._clock = clock
        self._patience_s = patience_s
        self._loans: dict[str, _Loan] = {}
        self._made = 0

    @asynccontextmanager
    async def lend(self, model: TunedModel) -> AsyncGenerator[EmbeddedEngine, None]:
        """The engine of that model, READY. Raises ENGINE_UNAVAILABLE with the parent's sentence where there is none in time."""
        loan = self._loans.get(model.name) or self._borrow(model)
        loan.users += 1
        try:
            if loan.engine.state is EngineState.DECLARED:
                await loan.engine.start()
            if loan.engine.state is not EngineState.READY:
                await self._ready(loan, model.name)
            yield loan.engine
        finally:
            loan.users -= 1
            if not loan.users:
                await self._return(loan, model.name)

    def _borrow(self, model: TunedModel) -> _Loan:
        self._made += 1
        loan = self._loans[model.name] = _Loan(self._made, self._follow(model, loan_name(self._made)))
        self._member.channel.send(Borrow(loan.number, model))
        return loan

    async def _return(self, loan: _Loan, name: str) -> None:
        del self._loans[name]
        self._member.channel.send(Return(loan.number))
        await loan.engine.close()
        self._member.forget(loan_name(loan.number))

    async def _ready(self, loan: _Loan, name: str) -> None:
        engine = loan.engine
        waits = [
            asyncio.create_task(engine.decided()),
            asyncio.create_task(self._clock.sleep(self._patience_s + ANSWER_S)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if engine.state is EngineState.READY:
            return
        if engine.failure is not None:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, engine.failure, retry_after_s=RETRY_S)
        raise not_ready(name, engine.state, RETRY_S)
