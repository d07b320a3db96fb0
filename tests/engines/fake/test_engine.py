"""The fake engine keeps the engine protocol, and does as its script says."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec
import pytest
from tests.engines.orders import CLOCK, WEATHER, arguments_of, chat, forced, order, run, state_of, text_of

from millrace.base.clock import NS_PER_S, FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.engines.fake import FakeEngine, FakeScript, FakeSettings
from millrace.engines.protocol import Engine, EngineState
from millrace.generation.chunk import Finish
from millrace.generation.order import ResponseFormat
from millrace.generation.prompt import ToolChoice


def play(script: FakeScript, scene: Callable[[FakeEngine], Awaitable[None]], **settings: object) -> FakeEngine:
    """Run a scene on a started engine."""

    async def staged() -> FakeEngine:
        engine = FakeEngine(msgspec.convert({"model": "m", **settings}, FakeSettings), FakeClock())
        engine.script = script
        await engine.start()
        await scene(engine)
        await engine.close()
        assert engine.live == 0
        return engine

    return asyncio.run(staged())


def test_it_is_an_engine() -> None:
    """The type checker compares it with the protocol; here it only has to exist."""
    engine: Engine = FakeEngine(FakeSettings(model="m"), FakeClock())
    assert engine.state is EngineState.DECLARED


def test_each_chunk_counts_what_was_made_so_far() -> None:
    """One token a chunk, the input measured exactly, the finish on the last."""

    async def scene(engine: FakeEngine) -> None:
        chunks = await run(engine, order())
        size = await engine.measure(order().prompt)
        assert [chunk.counts.output for chunk in chunks] == [1, 2, 3, 4]
        assert {chunk.counts.input for chunk in chunks} == {size.tokens}
        assert size.exact
        assert [chunk.finish for chunk in chunks] == [None, None, None, Finish.STOP]
        assert engine.generated == {"req_1": 4}

    play(FakeScript(tokens=4), scene)


def test_max_tokens_cuts_reasoning_and_text() -> None:
    """The finish is 'length', and reasoning is part of the output."""

    async def scene(engine: FakeEngine) -> None:
        chunks = await run(engine, order(max_tokens=5))
        assert chunks[-1].finish is Finish.LENGTH
        assert (chunks[-1].counts.output, chunks[-1].counts.reasoning) == (5, 3)
        assert [bool(chunk.reasoning) for chunk in chunks] == [True, True, True, False, False]

    play(FakeScript(tokens=4, reasoning_tokens=3), scene)


def test_reasoning_effort_none_switches_reasoning_off() -> None:
    """What the caller does not want to pay for is not made."""

    async def scene(engine: FakeEngine) -> None:
        assert (await run(engine, order(reasoning_effort="none")))[-1].counts.reasoning == 0

    play(FakeScript(reasoning_tokens=3), scene)


def test_choices_come_side_by_side_and_differ() -> None:
    """n answers, counted together, each with its own finish."""

    async def scene(engine: FakeEngine) -> None:
        chunks = await run(engine, order(n=2))
        assert [chunk.choice for chunk in chunks] == [0, 1] * 3
        assert chunks[-1].counts.output == 6
        assert text_of(chunks, 0) != text_of(chunks, 1)
        assert [chunk.finish for chunk in chunks[-2:]] == [Finish.STOP, Finish.STOP]

    play(FakeScript(tokens=3), scene)


def test_a_stop_sequence_ends_the_text_before_it() -> None:
    """The tokens that spelled it are counted."""

    async def scene(engine: FakeEngine) -> None:
        whole = text_of(await run(engine, order()))
        third = whole.split(" ")[2]
        chunks = await run(engine, order(stop=(third,)))
        assert text_of(chunks) == whole[: whole.index(third)]
        assert (chunks[-1].finish, chunks[-1].counts.output) == (Finish.STOP, 3)

    play(FakeScript(tokens=8), scene)


def test_a_required_tool_is_called() -> None:
    """The first tool, or the one that is named; arguments fit its schema."""

    async def scene(engine: FakeEngine) -> None:
        chunks = await run(engine, order(forced(WEATHER, CLOCK)))
        assert chunks[0].tool_calls[0].name == "weather"
        assert list(msgspec.json.decode(arguments_of(chunks))) == ["city"]
        assert chunks[-1].finish is Finish.TOOL_CALLS
        named = await run(engine, order(forced(WEATHER, CLOCK, name="clock")))
        assert named[0].tool_calls[0].name == "clock"
        optional = await run(engine, order(chat(tools=(WEATHER,), tool_choice=ToolChoice(mode="auto"))))
        assert arguments_of(optional) == ""

    play(FakeScript(), scene)


def test_json_is_made_where_it_is_asked_for() -> None:
    """Any JSON, or JSON of a schema."""

    async def scene(engine: FakeEngine) -> None:
        schema = {"type": "object", "properties": {"price": {"type": "integer"}}}
        anything = await run(engine, order(response_format=ResponseFormat(kind="json_object")))
        fitting = await run(engine, order(response_format=ResponseFormat(kind="json_schema", schema=schema)))
        assert "text" in msgspec.json.decode(text_of(anything))
        assert msgspec.json.decode(text_of(fitting)) == {"price": 1}

    play(FakeScript(), scene)


def test_logprobs_name_the_tokens() -> None:
    """As many alternatives as asked for, the made token among them; none where none are wanted."""

    async def scene(engine: FakeEngine) -> None:
        chunk = (await run(engine, order(logprobs=True, top_logprobs=3)))[0]
        assert chunk.logprobs is not None
        assert chunk.logprobs[0].token == chunk.text
        assert [token for token, _ in chunk.logprobs[0].top] == [chunk.text, " other1", " other2"]
        assert (await run(engine, order()))[0].logprobs is None

    play(FakeScript(), scene)


def test_the_cached_share_of_the_input_is_reported() -> None:
    """Rounded down, part of the input."""

    async def scene(engine: FakeEngine) -> None:
        counts = (await run(engine, order()))[0].counts
        assert counts.cached_input == counts.input * 80 // 100

    play(FakeScript(cached_input_percent=80), scene)


def test_tokens_take_their_time_on_the_clock() -> None:
    """Delays are slept on the engine's clock, so a fake one costs none."""

    async def scene(engine: FakeEngine) -> None:
        clock = engine._clock
        await run(engine, order())
        assert clock.monotonic() == 5 * NS_PER_S

    play(FakeScript(tokens=4, token_delay_s=1.0, first_token_delay_s=1.0), scene)


def test_it_breaks_where_the_script_says() -> None:
    """ENGINE_FAILED after exactly that many tokens, and the truth says so."""

    async def scene(engine: FakeEngine) -> None:
        seen = 0
        with pytest.raises(Refusal) as refused:
            async for chunk in engine.generate(order()):
                seen = chunk.counts.output
        assert (refused.value.reason, seen, engine.generated["req_1"]) == (Reason.ENGINE_FAILED, 2, 2)

    play(FakeScript(fail_after_tokens=2), scene)


def test_it_breaks_when_it_is_broken_from_outside() -> None:
    """Orders in work end, new ones are turned away, and after recovery it works again."""

    async def scene(engine: FakeEngine) -> None:
        async with aclosing(engine.generate(order())) as chunks:
            await anext(chunks)
            engine.break_down("pulled the plug")
            with pytest.raises(Refusal) as broken:
                await anext(chunks)
        with pytest.raises(Refusal) as turned_away:
            await run(engine, order())
        assert (broken.value.reason, turned_away.value.reason) == (Reason.ENGINE_FAILED, Reason.ENGINE_UNAVAILABLE)
        assert engine.failure == "pulled the plug"
        engine.recover()
        assert await run(engine, order())

    play(FakeScript(), scene)


def test_it_hangs_until_it_is_cancelled() -> None:
    """Nothing comes after the token of the script, and the truth stops there."""

    async def scene(engine: FakeEngine) -> None:
        task = asyncio.create_task(run(engine, order()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})
        assert engine.generated == {"req_1": 3}

    play(FakeScript(hang_after_tokens=3), scene)


def test_it_refuses_as_its_script_says() -> None:
    """Any reason, before anything is made."""

    async def scene(engine: FakeEngine) -> None:
        with pytest.raises(Refusal) as refused:
            await run(engine, order())
        assert refused.value.reason is Reason.CONTEXT_LENGTH_EXCEEDED
        assert engine.generated == {}

    play(FakeScript(refuse=Reason.CONTEXT_LENGTH_EXCEEDED), scene)


def test_a_prompt_over_the_context_is_refused_never_truncated() -> None:
    """Also one that leaves no room for an answer; where there is some room, it bounds the answer."""

    async def scene(engine: FakeEngine) -> None:
        with pytest.raises(Refusal) as refused:
            await run(engine, order(chat("word " * 14)))
        assert (refused.value.reason, refused.value.param) == (Reason.CONTEXT_LENGTH_EXCEEDED, "messages")
        last = (await run(engine, order(chat("word " * 8))))[-1]
        assert (last.finish, last.counts.input + last.counts.output) == (Finish.LENGTH, 20)

    play(FakeScript(), scene, context_tokens=20)


def test_nothing_is_made_after_the_iterator_is_closed() -> None:
    """Cancelled at the second token, two tokens are the truth."""

    async def scene(engine: FakeEngine) -> None:
        async with aclosing(engine.generate(order())) as chunks:
            await anext(chunks)
            await anext(chunks)
        await asyncio.sleep(0)
        assert (engine.generated, engine.live) == ({"req_1": 2}, 0)

    play(FakeScript(), scene)


def test_embeddings_are_deterministic() -> None:
    """The same vector for the same text, as long as declared, with its tokens counted."""

    async def scene(engine: FakeEngine) -> None:
        made = await engine.embed(["mill race", "mill race"])
        assert made.vectors[0] == made.vectors[1]
        assert (len(made.vectors[0]), made.input_tokens) == (8, 4)

    play(FakeScript(), scene, embedding_dimensions=8)


def test_an_engine_without_embeddings_says_so() -> None:
    """The refusal names the model."""

    async def scene(engine: FakeEngine) -> None:
        assert not engine.embeds
        with pytest.raises(Refusal, match="'m' makes no embeddings"):
            await engine.embed(["mill"])

    play(FakeScript(), scene, embeds=False)


def test_loading_takes_the_time_of_the_script() -> None:
    """LOADING first, READY after the delay."""

    async def scene() -> None:
        engine = FakeEngine(FakeSettings(model="m", script=FakeScript(load_delay_s=9)), FakeClock())
        await engine.start()
        assert state_of(engine) is EngineState.LOADING
        assert await engine.decided() is EngineState.READY
        await engine.close()
        await engine.close()
        assert state_of(engine) is EngineState.STOPPED

    asyncio.run(scene())
