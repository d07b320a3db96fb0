"""llama.cpp itself, with the model that comes in the package: one engine for all tests of this file."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.engines.orders import CLOCK, WEATHER, arguments_of, chat, forced, order, run, text_of

from millrace.base.clock import SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.bundled import PATH
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.protocol import EngineState
from millrace.generation.chunk import Chunk, CountedBy, Finish
from millrace.generation.order import Order, ResponseFormat
from millrace.generation.prompt import ChatPrompt, Message, TextPrompt, Tool

CONTEXT = 512
SIZE = Tool(
    name="size",
    parameters={
        "type": "object",
        "properties": {"size": {"enum": ["s", "m"]}},
        "required": ["size"],
        "additionalProperties": False,
    },
)
SLOTS = 4


class Mill:
    """A started engine and the event loop it lives in."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.run = runner.run
        settings = EmbeddedSettings(
            model="tiny", path=str(PATH), context_tokens=CONTEXT, slots=SLOTS, threads=2, embedding_tokens_max=128
        )
        self.engine = EmbeddedEngine(settings, SystemClock())

    def answer(self, given: Order) -> list[Chunk]:
        return self.run(run(self.engine, given))

    def text(self, given: Order) -> str:
        """The text of an answer whose prompt is in the cache already: a prompt that is read in other pieces has sums
        with other last digits, and then now and then another token."""
        self.answer(replace(given, max_tokens=1))
        return text_of(self.answer(given))

    def refusal(self, given: Order) -> Refusal:
        with pytest.raises(Refusal) as refused:
            self.answer(given)
        return refused.value


@pytest.fixture(scope="module")
def mill() -> Iterator[Mill]:
    with asyncio.Runner() as runner:
        mill = Mill(runner)
        runner.run(mill.engine.start())
        assert runner.run(mill.engine.decided()) is EngineState.READY, mill.engine.failure
        yield mill
        runner.run(mill.engine.close())


def test_each_chunk_has_llama_cpps_own_count(mill: Mill) -> None:
    """Counts grow with the text and end at max_tokens."""
    chunks = mill.answer(order(max_tokens=12, temperature=0, logit_bias={"2": -100}))
    outputs = [chunk.counts.output for chunk in chunks]
    assert outputs == sorted(outputs)
    assert (outputs[-1], chunks[-1].finish) == (12, Finish.LENGTH)
    assert {chunk.counted_by for chunk in chunks} == {CountedBy.ENGINE}


@pytest.mark.parametrize(
    "prompt",
    [
        chat("What is a mill race? 水车"),
        ChatPrompt(messages=(Message(role="system", content="Be brief."), Message(role="user", content="Hi"))),
        TextPrompt(text="A mill race is"),
        forced(WEATHER, CLOCK),
        forced(WEATHER, CLOCK, name="clock"),
    ],
    ids=["chat", "system", "text", "tools", "named tool"],
)
def test_the_measure_is_what_will_be_counted(mill: Mill, prompt: ChatPrompt | TextPrompt) -> None:
    """Exact before, equal after: template, special tokens and tools included."""
    size = mill.run(mill.engine.measure(prompt))
    counts = mill.answer(order(prompt, max_tokens=2))[-1].counts
    assert (size.tokens, size.exact) == (counts.input, True)


def test_a_repeated_prompt_is_found_in_the_cache(mill: Mill) -> None:
    """All but its last token, which is always read."""
    prompt = chat("Tell me about the water wheel and the stones that it turns.")
    mill.answer(order(prompt, max_tokens=1))
    counts = mill.answer(order(prompt, max_tokens=1))[-1].counts
    assert 0 < counts.cached_input < counts.input


def test_the_seed_decides_the_answer(mill: Mill) -> None:
    """The same again, and another one for another seed."""
    first, again, other = (mill.text(order(seed=seed, temperature=2, max_tokens=16)) for seed in (5, 5, 6))
    assert first == again != other


def test_choices_are_counted_together(mill: Mill) -> None:
    """n answers side by side, and the input once."""
    chunks = mill.answer(order(n=3, max_tokens=5, temperature=1, logit_bias={"2": -100}))
    assert chunks[-1].counts.output == 15
    assert chunks[-1].counts.input == mill.run(mill.engine.measure(chat())).tokens
    assert {chunk.choice for chunk in chunks if chunk.finish} == {0, 1, 2}


def test_more_choices_than_slots_are_refused_by_name(mill: Mill) -> None:
    """n is the parameter at fault."""
    assert mill.refusal(order(n=SLOTS + 1)).param == "n"


def test_a_stop_sequence_ends_the_text_before_it(mill: Mill) -> None:
    """And the finish is 'stop'."""
    whole = mill.text(order(temperature=0, max_tokens=12))
    word = whole.split()[2]
    chunks = mill.answer(order(temperature=0, max_tokens=12, stop=(word,)))
    assert (text_of(chunks), chunks[-1].finish) == (whole[: whole.index(word)], Finish.STOP)


def test_logprobs_come_with_as_many_alternatives_as_asked_for(mill: Mill) -> None:
    """None, or three, in chats and in plain text."""
    for prompt in (chat(), TextPrompt(text="A mill race is")):
        for top in (None, 3):
            chunks = mill.answer(order(prompt, logprobs=True, top_logprobs=top, max_tokens=3, temperature=0))
            found = [one for chunk in chunks for one in chunk.logprobs or ()]
            assert found
            assert all(one.logprob <= 0 and len(one.top) == (top or 0) for one in found)


def test_the_steering_parameters_steer(mill: Mill) -> None:
    """With one candidate left, by whatever means, the answer no longer depends on the seed."""
    steering: dict[str, Any] = {"top_k": 1, "top_p": 0.001, "min_p": 1.0, "temperature": 0.0}
    for name, value in steering.items():
        one, two = (mill.text(order(seed=seed, max_tokens=8, **{name: value})) for seed in (1, 2))
        assert one == two, name


def test_penalties_change_the_answer(mill: Mill) -> None:
    """Each is really passed on: an answer that may not end is long enough to repeat itself."""
    endless: dict[str, Any] = {"temperature": 0, "max_tokens": 200, "logit_bias": {"2": -100}}
    plain = mill.text(order(**endless))
    for penalty in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
        assert mill.text(order(**(endless | {penalty: 2.0}))) != plain, penalty


def test_json_fits_its_schema(mill: Mill) -> None:
    """By grammar, so even a small model cannot miss."""
    schema = {
        "type": "object",
        "properties": {"size": {"enum": ["s", "m"]}, "left": {"type": "boolean"}},
        "required": ["size", "left"],
        "additionalProperties": False,
    }
    form = ResponseFormat(kind="json_schema", name="shoe", schema=schema)
    made = msgspec.json.decode(text_of(mill.answer(order(response_format=form, max_tokens=200))))
    assert made["size"] in {"s", "m"}
    assert made["left"] in {True, False}


def test_a_forced_tool_is_called(mill: Mill) -> None:
    """The named one, with arguments that fit its schema, whatever the model would rather say."""
    assert "tools" in mill.engine.honours
    chunks = mill.answer(order(forced(WEATHER, SIZE, name="size"), max_tokens=200, temperature=0))
    named = [delta.name for chunk in chunks for delta in chunk.tool_calls if delta.name]
    assert (named, text_of(chunks)) == (["size"], "")
    assert msgspec.json.decode(arguments_of(chunks))["size"] in {"s", "m"}
    assert (chunks[-1].finish, chunks[-1].counted_by) == (Finish.TOOL_CALLS, CountedBy.ENGINE)


def test_a_prompt_over_the_context_is_refused_never_truncated(mill: Mill) -> None:
    """Chats and plain text."""
    for prompt in (chat("mill " * 2 * CONTEXT), TextPrompt(text="mill " * 2 * CONTEXT)):
        assert mill.refusal(order(prompt, max_tokens=4)).reason is Reason.CONTEXT_LENGTH_EXCEEDED


def test_an_answer_ends_with_its_context(mill: Mill) -> None:
    """Nothing of the prompt is forgotten to make room for more."""
    last = mill.answer(order(chat("mill " * 200), max_tokens=10 * CONTEXT, logit_bias={"2": -100}))[-1]
    assert last.finish is Finish.LENGTH
    assert last.counts.input + last.counts.output <= CONTEXT


def test_leaving_a_stream_frees_its_slot(mill: Mill) -> None:
    """Within moments no slot works any more."""

    async def scene() -> bool:
        endless = order(max_tokens=CONTEXT, logit_bias={"2": -100}, temperature=2)
        async with aclosing(mill.engine.generate(endless)) as chunks:
            await anext(chunks)
        assert mill.engine._links is not None
        for _ in range(50):
            slots = msgspec.json.decode(await mill.engine._links.counting.get("/slots"))
            if not any(slot["is_processing"] for slot in slots):
                return bool(slots[0]["n_ctx"] == CONTEXT)
            await asyncio.sleep(0.01)
        return False

    assert mill.run(scene())


def test_sixteen_callers_lose_nothing(mill: Mill) -> None:
    """Four times as many as slots, again and again: each answer is whole, and no connection is dropped."""

    async def caller(number: int) -> int:
        whole = 0
        for turn in range(12):
            chunks = await run(mill.engine, order(chat(f"{number} and {turn}"), max_tokens=6))
            whole += chunks[-1].finish is not None and 0 < chunks[-1].counts.output <= 6
        return whole

    async def scene() -> list[int]:
        return await asyncio.gather(*map(caller, range(16)))

    assert mill.run(scene()) == [12] * 16


def test_vectors_are_of_length_one_and_know_likeness(mill: Mill) -> None:
    """The same text has the same vector; every text is counted."""

    async def scene() -> None:
        made = await mill.engine.embed(["the mill race", "the mill race", "42"])
        size = await mill.engine.measure(TextPrompt(text="the mill race"))
        assert made.input_tokens > 2 * size.tokens
        one, same, other = made.vectors
        assert math.isclose(math.hypot(*one), 1, rel_tol=1e-3)
        assert all(math.isclose(a, b, abs_tol=1e-4) for a, b in zip(one, same, strict=True))
        assert sum(a * b for a, b in zip(one, other, strict=True)) < 0.999

    mill.run(scene())


def test_too_long_a_text_to_embed_is_refused(mill: Mill) -> None:
    """Never cut to what fits."""
    with pytest.raises(Refusal) as refused:
        mill.run(mill.engine.embed(["mill " * 200]))
    assert refused.value.reason is Reason.CONTEXT_LENGTH_EXCEEDED
