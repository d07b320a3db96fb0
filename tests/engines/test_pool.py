"""Engines on demand: shared starts, patience, places, idle ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest
from tests.engines.clocks import HeldClock, settle

from millrace.base.errors import Reason, Refusal
from millrace.engines.fake import FakeEngine, FakeScript, FakeSettings
from millrace.engines.pool import PLACE_WAIT_S, Pool
from millrace.engines.protocol import EngineState

LOAD_S = 3.0
PATIENCE_S = 20.0
IDLE_S = 600.0


class Hall:
    """A pool for two, and every engine that was made for it."""

    def __init__(self, load_s: float = 0.0) -> None:
        self.clock = HeldClock()
        self.pool: Pool[FakeEngine] = Pool(self.clock, size=2, idle_s=IDLE_S, patience_s=PATIENCE_S)
        self.made: list[FakeEngine] = []
        self.load_s = load_s

    def lease(self, name: str) -> AbstractAsyncContextManager[FakeEngine]:
        return self.pool.lease(name, lambda: self._make(name))

    async def use(self, name: str) -> None:
        async with self.lease(name):
            pass

    async def refusal(self, name: str) -> Refusal:
        with pytest.raises(Refusal) as caught:
            await self.use(name)
        return caught.value

    def _make(self, name: str) -> FakeEngine:
        self.made.append(FakeEngine(FakeSettings(model=name, script=FakeScript(load_delay_s=self.load_s)), self.clock))
        return self.made[-1]


def play(scene: Callable[[Hall], Awaitable[None]], load_s: float = 0.0) -> None:
    async def played() -> None:
        hall = Hall(load_s)
        await scene(hall)
        await hall.pool.close()
        assert all(engine.state is EngineState.STOPPED for engine in hall.made)

    asyncio.run(played())


def test_many_callers_share_one_start() -> None:
    """Ten that come at once wait for one engine, and all have it when it is loaded."""

    async def scene(hall: Hall) -> None:
        uses = [asyncio.create_task(hall.use("a")) for _ in range(10)]
        await settle()
        assert len(hall.made) == 1
        assert not any(use.done() for use in uses)
        await hall.clock.let_go()
        await asyncio.gather(*uses)
        assert len(hall.made) == 1

    play(scene, LOAD_S)


def test_a_loaded_engine_is_used_again() -> None:
    """The second request starts nothing."""

    async def scene(hall: Hall) -> None:
        await hall.use("a")
        await hall.use("a")
        assert len(hall.made) == 1

    play(scene)


def test_patience_ends_and_loading_goes_on() -> None:
    """Whoever waited too long is told when to come back; the next one finds the engine loaded."""

    async def scene(hall: Hall) -> None:
        waiting = asyncio.create_task(hall.refusal("a"))
        await settle()
        assert sorted(hall.clock.asked) == [LOAD_S, PATIENCE_S]
        await hall.clock.let_go_of(PATIENCE_S)
        refused = await waiting
        assert (refused.reason, refused.retry_after_s) == (Reason.ENGINE_UNAVAILABLE, 5)
        assert "loading" in refused.sentence
        await hall.clock.let_go()
        await hall.use("a")
        assert len(hall.made) == 1

    play(scene, LOAD_S)


def test_one_that_fails_is_told_at_once() -> None:
    """Nobody waits for an engine that has failed; why is for the operator."""

    async def scene(hall: Hall) -> None:
        await hall.use("a")
        hall.made[0].break_down("the file /secret is damaged")
        assert "secret" not in (await hall.refusal("a")).sentence

    play(scene)


def test_the_one_idle_for_longest_makes_room() -> None:
    """It is ended before the new one starts; the one that was used since stays."""

    async def scene(hall: Hall) -> None:
        for name in ("a", "b", "a", "c"):
            hall.clock.advance(1)
            await hall.use(name)
        assert hall.pool.names == ["a", "c"]
        assert [engine.settings.model for engine in hall.made if engine.state is EngineState.STOPPED] == ["b"]

    play(scene)


def test_what_is_in_use_is_not_ended() -> None:
    """With every place in use one more is refused with the reason; it has one as soon as a lease ends."""

    async def scene(hall: Hall) -> None:
        async with AsyncExitStack() as leases:
            await leases.enter_async_context(hall.lease("a"))
            await leases.enter_async_context(hall.lease("b"))
            waiting = asyncio.create_task(hall.refusal("c"))
            await settle()
            assert hall.clock.asked[-1] == PLACE_WAIT_S
            await hall.clock.let_go()
            refused = await waiting
            assert refused.reason is Reason.ENGINE_UNAVAILABLE
            assert "(2) are answering" in refused.sentence
            assert len(hall.made) == 2
        await hall.use("c")

    play(scene)


def test_a_place_that_comes_free_in_a_moment_is_taken() -> None:
    """A lease that ends while somebody waits for a place gives it to him, without a refusal."""

    async def scene(hall: Hall) -> None:
        async with hall.lease("a"):
            async with hall.lease("b"):
                waiting = asyncio.create_task(hall.use("c"))
                await settle()
            await waiting
            assert hall.pool.names == ["a", "c"]

    play(scene)


def test_idle_engines_end() -> None:
    """After the idle time and not before; one in use does not, however long."""

    async def scene(hall: Hall) -> None:
        await hall.use("a")
        async with hall.lease("b"):
            hall.clock.advance(IDLE_S - 1)
            hall.pool.tend()
            assert hall.pool.names == ["a", "b"]
            hall.clock.advance(1)
            hall.pool.tend()
            await settle()
            assert hall.pool.names == ["b"]
            assert hall.made[0].state is EngineState.STOPPED

    play(scene)


def test_a_dropped_engine_ends_with_its_last_lease() -> None:
    """An idle one at once; one in use when its last user is done. A name that is not there is nothing."""

    async def scene(hall: Hall) -> None:
        await hall.use("a")
        hall.pool.drop("a")
        hall.pool.drop("nobody")
        async with hall.lease("b"):
            hall.pool.drop("b")
            await settle()
            assert hall.pool.names == ["b"]
        await settle()
        assert hall.pool.names == []
        assert [engine.state for engine in hall.made] == [EngineState.STOPPED] * 2

    play(scene)


def test_a_closed_pool_starts_nothing() -> None:
    """Whoever waits is refused, and nobody gets an engine any more."""

    async def scene(hall: Hall) -> None:
        waiting = asyncio.create_task(hall.refusal("a"))
        await settle()
        await hall.pool.close()
        assert (await waiting).reason is Reason.ENGINE_UNAVAILABLE
        assert (await hall.refusal("b")).reason is Reason.ENGINE_UNAVAILABLE
        assert len(hall.made) == 1

    play(scene, LOAD_S)


def test_a_caller_that_leaves_leaves_its_lease() -> None:
    """Cancelled while it waits, it does not keep the place."""

    async def scene(hall: Hall) -> None:
        waiting = asyncio.create_task(hall.use("a"))
        await settle()
        waiting.cancel()
        await settle()
        hall.pool.drop("a")
        assert hall.pool.names == []

    play(scene, LOAD_S)
