"""The remote engine against the fake upstream, over real sockets on loopback."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec
import pytest
from tests.engines.orders import CLOCK, WEATHER, arguments_of, chat, forced, order, run, state_of, text_of

from millrace.base.clock import SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.base.trace_context import trace_headers
from millrace.engines.fake import FakeScript
from millrace.engines.fake.answers import Behaviour
from millrace.engines.fake.server import FakeUpstream
from millrace.engines.protocol import Engine, EngineState
from millrace.engines.remote import RemoteEngine, RemoteSettings
from millrace.engines.upstream.client import Timeouts
from millrace.generation.chunk import CountedBy, Finish, TokenCounts
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt, TextPrompt

KEY = "sk-upstream-key"
Scene = Callable[[RemoteEngine, FakeUpstream], Awaitable[None]]


def play(behaviour: Behaviour, scene: Scene, **settings: object) -> None:
    """Run a scene on a ready engine in front of an upstream that behaves so."""

    async def staged() -> None:
        upstream = FakeUpstream(msgspec.structs.replace(behaviour, api_key=KEY))
        url = await upstream.start()
        declared = {"model": "m", "url": url, "upstream": "fake", "api_key": KEY, "embeds": True, **settings}
        engine = RemoteEngine(RemoteSettings(**declared), SystemClock())  # type: ignore[arg-type]
        await engine.start()
        await engine.decided()
        try:
            await scene(engine, upstream)
        finally:
            await engine.close()
            await upstream.close()

    asyncio.run(staged())


async def refusal_of(engine: Engine, given: Order) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await run(engine, given)
    return refused.value


def test_the_engines_counts_are_on_every_chunk() -> None:
    """continuous_usage_stats is asked for and believed; the truth of the upstream is what we counted."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        chunks = await run(engine, order())
        assert [chunk.counts.output for chunk in chunks] == [0, 1, 2, 3, 4]
        assert {chunk.counted_by for chunk in chunks} == {CountedBy.ENGINE}
        assert chunks[-1].finish is Finish.STOP
        assert upstream.stats.generated == {"req_1": 4}

    play(Behaviour(script=FakeScript(tokens=4)), scene)


def test_a_server_that_refuses_continuous_usage_is_asked_once() -> None:
    """The refusal is remembered; text is counted until the final usage comes."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        chunks = await run(engine, order())
        assert {chunk.counted_by for chunk in chunks[:-1]} == {CountedBy.RELEASED_TEXT}
        assert (chunks[-1].counts.output, chunks[-1].counted_by) == (4, CountedBy.ENGINE_FINAL)
        before = upstream.stats.requests
        await run(engine, order())
        assert upstream.stats.requests == before + 1
        assert b"continuous_usage_stats" not in upstream.last_body

    play(Behaviour(script=FakeScript(tokens=4), refuses=frozenset({"continuous_usage_stats"})), scene)


def test_a_server_that_knows_no_stream_options_still_serves() -> None:
    """Then the released text is all there is to count."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        chunks = await run(engine, order())
        assert (chunks[-1].counts.output, chunks[-1].counted_by) == (4, CountedBy.RELEASED_TEXT)

    play(Behaviour(script=FakeScript(tokens=4), refuses=frozenset({"stream_options"})), scene)


def test_a_whole_answer_is_asked_for_as_one() -> None:
    """Not streamed upstream either; one chunk a choice."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        chunks = await run(engine, order(n=2, stream=False))
        assert [(chunk.choice, chunk.counts.output) for chunk in chunks] == [(0, 8), (1, 8)]
        assert b"stream" not in upstream.last_body

    play(Behaviour(script=FakeScript(tokens=4)), scene)


def test_streamed_and_whole_answers_are_the_same() -> None:
    """Text, tool calls and counts, of chats and of plain text."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        for prompt in (chat(), TextPrompt(text="Once upon"), forced(WEATHER, CLOCK, name="clock")):
            streamed = await run(engine, order(prompt))
            whole = await run(engine, order(prompt, stream=False))
            assert text_of(streamed) == text_of(whole)
            assert arguments_of(streamed) == arguments_of(whole)
            assert streamed[-1].counts == whole[-1].counts
            assert streamed[-1].finish is whole[-1].finish

    play(Behaviour(script=FakeScript(cached_input_percent=50)), scene)


def test_a_broken_stream_is_a_failure_after_what_came() -> None:
    """Every token before the cut is handed on, then ENGINE_FAILED; the address is nobody's business."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        seen = TokenCounts()
        with pytest.raises(Refusal) as broken:
            async for chunk in engine.generate(order()):
                seen = chunk.counts
        assert (broken.value.reason, seen.output) == (Reason.ENGINE_FAILED, 3)
        assert upstream.stats.generated == {"req_1": 3}
        assert "127.0.0.1" not in broken.value.sentence

    play(Behaviour(script=FakeScript(fail_after_tokens=3, token_delay_s=0.001)), scene)


def test_the_trace_of_a_request_is_passed_on() -> None:
    """Streamed or not, the upstream is sent the headers of the trace that runs, and none where there is none."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        await run(engine, order())
        assert b"traceparent" not in upstream.last_headers
        told = trace_headers.set({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
        for stream in (True, False):
            await run(engine, msgspec.structs.replace(order(), stream=stream))
            assert upstream.last_headers[b"traceparent"] == trace_headers.get()["traceparent"].encode()
        trace_headers.reset(told)

    play(Behaviour(), scene)


def test_silence_in_a_stream_is_bounded() -> None:
    """A server that stops sending is given up after idle_s, although its first byte may take longer."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        assert (await refusal_of(engine, order())).reason is Reason.ENGINE_FAILED

    silent = FakeScript(hang_after_tokens=2, token_delay_s=0.001)
    play(Behaviour(script=silent), scene, timeouts=Timeouts(idle_s=0.05, first_byte_s=30))


def test_silence_before_the_answer_is_bounded() -> None:
    """first_byte_s is the limit for the beginning."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        assert (await refusal_of(engine, order())).reason is Reason.ENGINE_FAILED

    play(Behaviour(script=FakeScript(first_token_delay_s=30)), scene, timeouts=Timeouts(first_byte_s=0.05))


def test_closing_the_iterator_stops_the_upstream_at_once() -> None:
    """The connection is gone, so the upstream makes no more than a token on its way."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        async with aclosing(engine.generate(order(max_tokens=1000))) as chunks:
            async for chunk in chunks:
                if chunk.counts.output == 3:
                    break
        while upstream.stats.live:
            await asyncio.sleep(0.001)
        assert upstream.stats.cancelled == 1
        assert upstream.stats.generated["req_1"] <= 5

    play(Behaviour(script=FakeScript(tokens=1000, token_delay_s=0.005)), scene)


def test_connections_are_kept_and_bounded() -> None:
    """Forty orders, four connections, and the one of the probe."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        peak = 0

        async def one(number: int) -> None:
            nonlocal peak
            await run(engine, order(chat(f"number {number}")))
            peak = max(peak, len(upstream.connections))

        await asyncio.gather(*map(one, range(40)))
        assert (upstream.stats.requests, peak) == (40, 5)

    play(Behaviour(), scene, connections_max=4)


def test_a_full_house_is_not_a_dead_one() -> None:
    """With every connection in use the probe still gets through."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        waiting = asyncio.create_task(run(engine, order()))
        while not upstream.stats.live:
            await asyncio.sleep(0.001)
        assert engine._watch is not None
        assert await engine._watch._probe() is None
        waiting.cancel()
        await asyncio.wait({waiting})

    silent = Behaviour(script=FakeScript(first_token_delay_s=30))
    play(silent, scene, connections_max=1, timeouts=Timeouts(small_s=0.5))


@pytest.mark.parametrize("stream", [True, False])
def test_too_long_a_prompt_is_refused_as_such(*, stream: bool) -> None:
    """CONTEXT_LENGTH_EXCEEDED, streamed or not."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        refusal = await refusal_of(engine, order(chat("word " * 50), stream=stream))
        assert refusal.reason is Reason.CONTEXT_LENGTH_EXCEEDED

    play(Behaviour(context_tokens=20), scene)


def test_a_parameter_the_upstream_refuses_is_named() -> None:
    """And nothing is retried for it."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        refusal = await refusal_of(engine, order(min_p=0.1))
        assert (refusal.reason, refusal.param) == (Reason.UNSUPPORTED_PARAMETER, "min_p")
        assert upstream.stats.requests == 1

    play(Behaviour(refuses=frozenset({"min_p"})), scene)


def test_an_overloaded_upstream_says_when_to_come_back() -> None:
    """Its Retry-After is handed on."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        refusal = await refusal_of(engine, order())
        assert (refusal.reason, refusal.retry_after_s) == (Reason.ENGINE_UNAVAILABLE, 9)

    play(Behaviour(status=429, retry_after_s=9), scene)


def test_a_server_that_goes_and_comes_back() -> None:
    """Orders meanwhile are turned away; FAILED is noticed at once, READY again after the pause."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        host, port = engine.settings.url.removeprefix("http://").removesuffix("/v1").split(":")
        await upstream.close()
        refusal = await refusal_of(engine, order())
        assert refusal.reason is Reason.ENGINE_UNAVAILABLE
        assert port not in refusal.sentence
        while state_of(engine) is EngineState.READY:
            await asyncio.sleep(0.001)
        assert engine.failure is not None
        assert port in engine.failure
        await upstream.start(host, int(port))
        while state_of(engine) is not EngineState.READY:
            await asyncio.sleep(0.01)
        assert await run(engine, order())

    play(Behaviour(), scene)


def test_a_wrong_key_keeps_the_engine_from_being_ready(caplog: pytest.LogCaptureFixture) -> None:
    """The operator reads why; no key is in what is said, logged or shown."""
    caplog.set_level(logging.DEBUG)

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        assert engine.state is EngineState.FAILED
        shown = f"{engine.failure} {engine.settings!r} {vars(engine)!r} {caplog.text}"
        assert "401" in shown
        assert "sk-wrong" not in shown
        assert (await refusal_of(engine, order())).reason is Reason.ENGINE_UNAVAILABLE

    play(Behaviour(), scene, api_key="sk-wrong")


def test_the_measure_is_never_below_the_count() -> None:
    """An upper bound in bytes, for any language and for tools."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        for prompt in (chat("水车 turns"), forced(WEATHER, CLOCK), TextPrompt(text="Once"), ChatPrompt(messages=())):
            size = await engine.measure(prompt)
            assert size.tokens >= (await run(engine, order(prompt)))[-1].counts.input
            assert not size.exact

    play(Behaviour(), scene)


def test_embeddings_come_in_the_order_of_their_texts() -> None:
    """With the upstream's count."""

    async def scene(engine: RemoteEngine, _: FakeUpstream) -> None:
        made = await engine.embed(["mill race", "wheel"])
        alone = await engine.embed(["wheel"])
        assert made.vectors[1] == alone.vectors[0]
        assert (made.input_tokens, made.counted_by) == (3, CountedBy.ENGINE)

    play(Behaviour(), scene)


def test_closing_twice_leaves_nothing() -> None:
    """No task, no connection."""

    async def scene(engine: RemoteEngine, upstream: FakeUpstream) -> None:
        await run(engine, order())
        await engine.close()
        await engine.close()
        assert engine.state is EngineState.STOPPED
        while upstream.connections:
            await asyncio.sleep(0.001)
        assert len(asyncio.all_tasks()) == 1

    play(Behaviour(), scene)
