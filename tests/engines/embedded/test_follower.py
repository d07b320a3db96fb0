"""An engine that follows another process's llama.cpp: through all its steps, to each of its places."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from tests.engines.orders import state_of

from millrace.base.clock import FakeClock
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.follower import STOPPED, Standing
from millrace.engines.embedded.links import Place, TemplateCapabilities
from millrace.engines.embedded.settings import CONNECTIONS_MAX, EmbeddedSettings
from millrace.engines.protocol import EngineState

SETTINGS = EmbeddedSettings(model="m", path="m.gguf", context_tokens=512)
FIRST, SECOND = (Place(url=f"http://127.0.0.1:{port}", embeddings_url=None, api_key="k") for port in (1, 2))
TOOLS = TemplateCapabilities(supports_tools=True, supports_tool_calls=True)
LOADING = Standing(state=EngineState.LOADING)
FAILED = Standing(state=EngineState.FAILED, failure="no memory")


def ready(place: Place) -> Standing:
    return Standing(state=EngineState.READY, place=place, template=TOOLS)


Tell = Callable[[Standing], Awaitable[None]]


def play(scene: Callable[[EmbeddedEngine, Tell], Awaitable[None]]) -> EmbeddedEngine:
    async def staged() -> EmbeddedEngine:
        said: asyncio.Queue[Standing] = asyncio.Queue()

        async def feed() -> AsyncGenerator[Standing, None]:
            while True:
                yield await said.get()

        async def tell(standing: Standing) -> None:
            said.put_nowait(standing)
            for _ in range(10):
                await asyncio.sleep(0)

        engine = EmbeddedEngine(SETTINGS, FakeClock(), feed, sharers=4)
        await engine.start()
        await scene(engine, tell)
        await engine.close()
        return engine

    return asyncio.run(staged())


def test_it_is_ready_while_the_owner_says_so() -> None:
    """Loading until the first news; then what the owner's engine is, with its template and a share of its connections."""

    async def scene(engine: EmbeddedEngine, tell: Tell) -> None:
        assert (state_of(engine), engine.pid) == (EngineState.LOADING, None)
        await tell(LOADING)
        assert state_of(engine) is EngineState.LOADING
        await tell(ready(FIRST))
        assert state_of(engine) is EngineState.READY
        assert "tools" in engine.honours
        assert "reasoning_effort" not in engine.honours
        links = engine._links
        assert links is not None
        assert links.answers._session.connector is not None
        assert links.answers._session.connector.limit == CONNECTIONS_MAX // 4

    assert play(scene).state is EngineState.STOPPED


def test_a_failure_is_told_on_and_ends() -> None:
    """The owner's sentence is this engine's, while it loads again, too; a new place clears it."""

    async def scene(engine: EmbeddedEngine, tell: Tell) -> None:
        await tell(FAILED)
        assert (state_of(engine), engine.failure) == (EngineState.FAILED, "no memory")
        await tell(Standing(state=EngineState.FAILED, failure="no file"))
        assert (state_of(engine), engine.failure) == (EngineState.FAILED, "no file")
        await tell(Standing(state=EngineState.LOADING, failure="no file"))
        assert (state_of(engine), engine.failure) == (EngineState.LOADING, "no file")
        await tell(ready(FIRST))
        assert (state_of(engine), engine.failure) == (EngineState.READY, None)

    play(scene)


def test_another_place_is_another_child() -> None:
    """Also when the steps between were left out: what ran on the old links breaks off, new work goes to the new ones."""

    async def scene(engine: EmbeddedEngine, tell: Tell) -> None:
        await tell(ready(FIRST))
        old = engine._links
        await tell(ready(FIRST))
        assert engine._links is old
        await tell(ready(SECOND))
        assert state_of(engine) is EngineState.READY
        assert engine._links is not None
        assert engine._links.place == SECOND
        assert old is not None
        assert old.answers._session.closed

    play(scene)


def test_an_owner_that_stops_its_engine_fails_ours() -> None:
    """No order is taken any more, and the failure says why."""

    async def scene(engine: EmbeddedEngine, tell: Tell) -> None:
        await tell(ready(FIRST))
        await tell(Standing(state=EngineState.STOPPED))
        assert (state_of(engine), engine.failure) == (EngineState.FAILED, STOPPED)

    play(scene)


def test_the_owner_s_standings_begin_with_the_present_one() -> None:
    """And go on with each step, so that who begins to listen late has missed nothing."""

    async def scene() -> list[EngineState]:
        engine = EmbeddedEngine(SETTINGS, FakeClock())
        heard = []
        standings = engine.standings()
        heard.append((await anext(standings)).state)
        coming = asyncio.ensure_future(anext(standings))
        await asyncio.sleep(0)
        engine._life.become(EngineState.LOADING)
        heard.append((await coming).state)
        engine._life.become(EngineState.FAILED, "no file")
        heard.append((await anext(standings)).state)
        await standings.aclose()
        return heard

    assert asyncio.run(scene()) == [EngineState.DECLARED, EngineState.LOADING, EngineState.FAILED]
