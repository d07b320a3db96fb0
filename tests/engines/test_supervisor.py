"""Launch, watch, back off, launch again."""

import asyncio

from tests.engines.clocks import HeldClock, settle

from millrace.engines.life import Life
from millrace.engines.protocol import EngineState
from millrace.engines.supervisor import BACKOFF_FIRST_S, BACKOFF_MAX_S, HEALTHY_S, NotServingError, Supervisor


class Script:
    """A Served that does as told, and counts what is done with it."""

    def __init__(self, failure: str | None = None) -> None:
        self.failure = failure
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stopped = 0

    async def ready(self) -> None:
        if self.failure is not None:
            raise NotServingError(self.failure)

    async def gone(self) -> str:
        return await self.end

    async def stop(self) -> None:
        self.stopped += 1


class Stage:
    """A supervisor, its clock and what it launched; `failures` says how the next launches go."""

    def __init__(self, *failures: str | None) -> None:
        self.clock = HeldClock()
        self.life = Life("m")
        self.failures = list(failures)
        self.launched: list[Script] = []
        self.supervisor = Supervisor(self.life, self.clock, self.launch)

    async def launch(self) -> Script:
        self.launched.append(Script(self.failures.pop(0) if self.failures else None))
        return self.launched[-1]


def test_a_server_that_becomes_ready_makes_its_engine_ready() -> None:
    """LOADING at once, READY when the server is."""

    async def scene() -> None:
        stage = Stage()
        stage.supervisor.start()
        assert stage.life.state is EngineState.LOADING
        assert await stage.life.decided() is EngineState.READY
        await stage.supervisor.close()

    asyncio.run(scene())


def test_a_server_that_dies_is_launched_again() -> None:
    """FAILED says why it died; after the pause a new one is READY, and the dead one was reaped."""

    async def scene() -> None:
        stage = Stage()
        stage.supervisor.start()
        await settle()
        stage.launched[0].end.set_result("it fell over")
        await settle()
        assert (stage.life.state, stage.life.failure) == (EngineState.FAILED, "it fell over")
        assert stage.launched[0].stopped == 1
        await stage.clock.let_go()
        assert stage.life.state is EngineState.READY
        assert len(stage.launched) == 2
        await stage.supervisor.close()

    asyncio.run(scene())


def test_the_pause_doubles_up_to_its_bound() -> None:
    """A server that never comes up costs less and less, but is never given up."""

    async def scene() -> list[float]:
        stage = Stage(*["no file"] * 12)
        stage.supervisor.start()
        for _ in range(10):
            await stage.clock.let_go()
        await stage.supervisor.close()
        return stage.clock.asked

    asked = asyncio.run(scene())
    assert asked[:3] == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, 4 * BACKOFF_FIRST_S]
    assert asked[-1] == BACKOFF_MAX_S


def test_the_pause_is_short_again_after_a_healthy_time() -> None:
    """Early failures are forgotten once a server was ready for HEALTHY_S."""

    async def scene() -> float:
        stage = Stage("no file", "no file", None)
        stage.supervisor.start()
        await stage.clock.let_go()
        await stage.clock.let_go()
        stage.clock.advance(HEALTHY_S)
        stage.launched[2].end.set_result("it fell over")
        await settle()
        await stage.supervisor.close()
        return stage.clock.asked[-1]

    assert asyncio.run(scene()) == BACKOFF_FIRST_S


def test_the_pause_stays_long_for_a_server_that_dies_young() -> None:
    """Being ready for a moment is no health."""

    async def scene() -> float:
        stage = Stage("no file", "no file", None)
        stage.supervisor.start()
        await stage.clock.let_go()
        await stage.clock.let_go()
        stage.launched[2].end.set_result("it fell over")
        await settle()
        await stage.supervisor.close()
        return stage.clock.asked[-1]

    assert asyncio.run(scene()) == 4 * BACKOFF_FIRST_S


def test_close_stops_the_running_server_for_good() -> None:
    """Closed twice or once, the server was stopped and nothing is launched any more."""

    async def scene() -> None:
        stage = Stage()
        stage.supervisor.start()
        await settle()
        await stage.supervisor.close()
        await stage.supervisor.close()
        assert stage.life.state is EngineState.STOPPED
        assert stage.launched[0].stopped == 1
        await stage.clock.let_go()
        assert len(stage.launched) == 1

    asyncio.run(scene())


def test_close_before_start_is_a_stop() -> None:
    """An engine that was only declared can be closed."""

    async def scene() -> EngineState:
        stage = Stage()
        await stage.supervisor.close()
        return stage.life.state

    assert asyncio.run(scene()) is EngineState.STOPPED
