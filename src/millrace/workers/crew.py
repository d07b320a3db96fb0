"""The parent of several workers: starts them, keeps them alive, tells them of its engines, ends them.

Theory of operation. Each worker has a keeper, a task that launches it, listens to it until it is gone, and launches it
again after a pause; the pause doubles from BACKOFF_FIRST_S to BACKOFF_MAX_S and starts small again once a worker has
served for HEALTHY_S. All workers accept from one socket, which the parent holds open: a connection that waits there while
a worker dies is taken by the next one. Before every worker has served once this is a start, and one that cannot be made is
refused with the worker's own sentence. `stop` ends it all, in the start as well as later; a second `stop` hastens it.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

from msgspec.structs import replace

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.follower import Standing
from millrace.engines.protocol import EngineState
from millrace.gateway.lending import Lending
from millrace.workers.merge import merge
from millrace.workers.messages import (
    Ask,
    Borrow,
    Collect,
    Collected,
    Drop,
    EngineNews,
    ModelState,
    Ready,
    Refused,
    Return,
    Sample,
    Up,
    loan_name,
)
from millrace.workers.worker import Worker

START_TRIES: Final = 3
"""A worker that ends this often before it ever served will not serve the next time."""

BACKOFF_FIRST_S: Final = 0.1
"""The first death is most often an accident, and callers feel each moment with a worker less."""

BACKOFF_MAX_S: Final = 10.0
HEALTHY_S: Final = 60.0

SAMPLE_S: Final = 1.0
"""How long a scrape waits for a worker that does not answer; then it is made without it."""

OnReady = Callable[[tuple[ModelState, ...]], None]

Launch = Callable[[int], Awaitable[Worker]]
"""Starts worker number so-and-so."""

_log = logging.getLogger("millrace.workers")


class Crew:
    """`size` workers, made and not started. `serve` runs them."""

    def __init__(
        self, size: int, launch: Launch, engines: Mapping[str, EmbeddedEngine], clock: Clock, patience_s: float,
        tuned: Lending[EmbeddedEngine] | None = None,
    ) -> None:  # fmt: skip
        self.restarts = [0] * size
        self._launch = launch
        self._engines = engines
        self._clock = clock
        self._patience_s = patience_s
        self._tuned = tuned
        self._loans: dict[tuple[int, int], asyncio.Task[None]] = {}
        """By the worker's number and the loan's."""
        self._alive: dict[int, Worker] = {}
        self._ready: dict[int, Ready] = {}
        self._refused: dict[int, str] = {}
        self._started = False
        self._stop = asyncio.Event()
        self._standings: dict[str, Standing] = {}
        self._samples: dict[int, asyncio.Future[str]] = {}
        self._collecting: asyncio.Task[str] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, ready: OnReady) -> None:
        """Until `stop`; `ready` is called once every worker serves. Raises a Refusal when the start fails."""
        async with AsyncExitStack() as stack:
            for engine in self._engines.values():
                stack.push_async_callback(engine.close)
                await engine.start()
            if self._tuned is not None:
                stack.push_async_callback(self._tuned.pool.close)
            await self._keep_all(ready)

    async def _keep_all(self, ready: OnReady) -> None:
        keepers = [asyncio.create_task(self._keep(number, ready)) for number in range(len(self.restarts))]
        news = [asyncio.create_task(self._publish(name, engine)) for name, engine in self._engines.items()]
        try:
            await asyncio.wait(keepers, return_when=asyncio.FIRST_EXCEPTION)
            self.stop()
            await asyncio.wait(keepers)
        finally:
            for task in (*keepers, *news, *self._answering, *self._loans.values()):
                task.cancel()
        for keeper in keepers:
            keeper.result()

    def stop(self) -> None:
        """End every worker in good order; one that has not ended after `patience_s` is killed."""
        if not self._stop.is_set():
            self._stop.set()
            asyncio.get_running_loop().call_later(self._patience_s, self._lose_patience)
        self._signal(signal.SIGTERM)

    async def collect(self) -> str:
        """The metrics of all workers, and of the parent. Who asks while a scrape runs gets the same one."""
        if self._collecting is None:
            self._collecting = asyncio.create_task(self._collect())
            self._collecting.add_done_callback(self._forget_collecting)
        return await asyncio.shield(self._collecting)

    async def _keep(self, number: int, ready: OnReady) -> None:
        pause, tries = BACKOFF_FIRST_S, 0
        while not self._stop.is_set():
            began = self._clock.monotonic()
            served, ended = await self._run(number, ready)
            if self._stop.is_set():
                return
            tries = 0 if served else tries + 1
            if not self._started:
                self._refuse_start(number, tries, ended)
            if self._clock.monotonic() - began >= HEALTHY_S * NS_PER_S:
                pause = BACKOFF_FIRST_S
            self.restarts[number] += 1
            _log.error("worker %d is gone: %s; it is started again in %g s", number, ended, pause)
            await self._pause(pause)
            pause = min(2 * pause, BACKOFF_MAX_S)

    def _refuse_start(self, number: int, tries: int, ended: str) -> None:
        if number in self._refused:
            raise Refusal(Reason.BAD_SETTING, self._refused[number])
        if tries == START_TRIES:
            raise Refusal(Reason.BAD_SETTING, f"worker {number} could not be started: {ended}; the log has its reason")

    async def _run(self, number: int, ready: OnReady) -> tuple[bool, str]:
        """One worker from launch to end: (whether it served, how it ended)."""
        try:
            worker = await self._launch(number)
        except OSError as error:
            return False, f"its process cannot be made ({error.strerror})"
        self._alive[number] = worker
        if self._stop.is_set():
            worker.send_signal(signal.SIGTERM)
        try:
            for model, standing in self._standings.items():
                worker.tell(EngineNews(model=model, standing=standing))
            while (said := await worker.heard()) is not None:
                self._take(number, worker, said, ready)
            return number in self._ready, await worker.gone()
        finally:
            worker.send_signal(signal.SIGKILL)
            del self._alive[number]
            self._ready.pop(number, None)
            for loan in [loan for loan in self._loans if loan[0] == number]:
                self._loans.pop(loan).cancel()
            sample = self._samples.pop(number, None)
            if sample is not None:
                sample.cancel()

    def _take(self, number: int, worker: Worker, said: Up, ready: OnReady) -> None:
        if isinstance(said, Ready):
            _log.info("worker %d serves (process %d)", number, worker.pid)
            self._ready[number] = said
            if not self._started and len(self._ready) == len(self.restarts):
                self._started = True
                ready(worst([said.models for said in self._ready.values()]))
        elif isinstance(said, Refused):
            self._refused[number] = said.sentence
            _log.error("worker %d: %s", number, said.sentence)
        elif isinstance(said, Ask):
            task = asyncio.create_task(self._answer(worker))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif isinstance(said, Sample) and number in self._samples:
            self._samples.pop(number).set_result(said.text)
        elif isinstance(said, Borrow) and self._tuned is not None:
            self._loans[number, said.number] = asyncio.create_task(self._lend(self._tuned, worker, said))
        elif isinstance(said, Return) and (number, said.number) in self._loans:
            self._loans.pop((number, said.number)).cancel()
        elif isinstance(said, Drop) and self._tuned is not None:
            for name in said.names:
                self._tuned.drop(name)
            self._tuned.pool.tend()

    async def _lend(self, tuned: Lending[EmbeddedEngine], worker: Worker, asked: Borrow) -> None:
        """Until it is returned the worker hears of each step of the engine, but not why it failed: that is the operator's."""
        name = loan_name(asked.number)
        try:
            async with tuned.lend(asked.model) as engine, aclosing(engine.standings()) as standings:
                async for standing in standings:
                    worker.tell(EngineNews(model=name, standing=replace(standing, failure=None)))
        except Refusal as refusal:
            worker.tell(EngineNews(model=name, standing=Standing(state=EngineState.STOPPED, failure=refusal.sentence)))

    async def _publish(self, model: str, engine: EmbeddedEngine) -> None:
        """Every worker hears of each step of an engine, and one that comes later of the last."""
        async with aclosing(engine.standings()) as standings:
            async for standing in standings:
                self._standings[model] = standing
                for worker in self._alive.values():
                    worker.tell(EngineNews(model=model, standing=standing))

    async def _answer(self, worker: Worker) -> None:
        worker.tell(Collected(await self.collect()))

    async def _collect(self) -> str:
        """A worker that still owes its last sample is not asked for another."""
        waiting: dict[int, asyncio.Future[str]] = {}
        for number in self._ready:
            if number not in self._samples:
                self._samples[number] = asyncio.get_running_loop().create_future()
                self._alive[number].tell(Collect())
            waiting[number] = self._samples[number]
        if waiting:
            await self._for(SAMPLE_S, asyncio.wait(waiting.values()))
        done = {number: sample.result() for number, sample in waiting.items() if sample.done() and not sample.cancelled()}
        return merge(done) + self._own_metrics()

    def _own_metrics(self) -> str:
        up = "".join(f'millrace_worker_up{{worker="{n}"}} {int(n in self._ready)}\n' for n in range(len(self.restarts)))
        restarts = "".join(f'millrace_worker_restarts_total{{worker="{n}"}} {times}\n' for n, times in enumerate(self.restarts))
        return (
            "# HELP millrace_worker_up 1 while the worker serves.\n# TYPE millrace_worker_up gauge\n" + up
            + "# HELP millrace_worker_restarts_total How often the worker was started again.\n"
            "# TYPE millrace_worker_restarts_total counter\n" + restarts
        )  # fmt: skip

    def _forget_collecting(self, _: "asyncio.Task[str]") -> None:
        self._collecting = None

    async def _pause(self, seconds: float) -> None:
        """Cut short by `stop`."""
        await self._for(seconds, self._stop.wait())

    async def _for(self, seconds: float, awaited: Coroutine[Any, Any, object]) -> None:
        """Wait so long, or until what is awaited is there."""
        waits = [asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(awaited)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _lose_patience(self) -> None:
        for number, worker in self._alive.items():
            _log.error("worker %d (process %d) has not ended within %g s and is killed", number, worker.pid, self._patience_s)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._alive.values():
            worker.send_signal(number)


def worst(of_workers: list[tuple[ModelState, ...]]) -> tuple[ModelState, ...]:
    """Each model as the worker sees it that sees it worst: one is ready when it is ready everywhere."""
    return tuple(
        next((model for model in models if model.state != "ready"), models[0]) for models in zip(*of_workers, strict=True)
    )
