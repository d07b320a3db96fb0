"""Who is believed about how much was made. Frames are written as servers send them."""

from typing import Any

import msgspec
import pytest
from tests.engines.orders import chat, order

from millrace.engines.upstream.frames import decode_frame
from millrace.engines.upstream.meter import BadFrameError, Meter
from millrace.generation.chunk import Chunk, CountedBy, Finish, TokenCounts
from millrace.generation.prompt import TextPrompt

Json = dict[str, Any]


def words(text: str) -> int:
    return len(text.split())


def frame(text: str | None = None, *, finish: str | None = None, index: int = 0, **rest: Any) -> Json:
    delta = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}], **rest}


def usage(prompt: int | None, completion: int | None, **details: Any) -> Json:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, **details}}


def timings(prompt: int, cached: int, predicted: int) -> Json:
    return {"timings": {"prompt_n": prompt, "cache_n": cached, "predicted_n": predicted, "prompt_ms": 1.5}}


def metered(*frames: Json, n: int | None = None, max_tokens: int = 64) -> list[Chunk]:
    meter = Meter(order(chat("one two three"), n=n, max_tokens=max_tokens), words)
    return [chunk for one in frames for chunk in meter.take(decode_frame(msgspec.json.encode(one)))]


def outputs(chunks: list[Chunk]) -> list[int]:
    return [chunk.counts.output for chunk in chunks]


def test_usage_on_every_frame_is_the_engines_count() -> None:
    """vLLM with continuous_usage_stats: its numbers, from the first empty frame on; a last word that agrees is silent."""
    chunks = metered(
        frame("", **usage(12, 0)),
        frame("mill", **usage(12, 1)),
        frame(" race", **usage(12, 3), finish="stop"),
        {"choices": [], **usage(12, 3)},
    )
    assert [chunk.counts for chunk in chunks] == [TokenCounts(12, 0, made) for made in (0, 1, 3)]
    assert {chunk.counted_by for chunk in chunks} == {CountedBy.ENGINE}
    assert chunks[-1].finish is Finish.STOP


def test_timings_are_the_engines_count() -> None:
    """llama.cpp: the prompt is what it read and what it found in its cache."""
    (chunk,) = metered(frame("mill", **timings(4, 8, 1)))
    assert (chunk.counts, chunk.counted_by) == (TokenCounts(12, 8, 1), CountedBy.ENGINE)


def test_choices_are_added_up() -> None:
    """Running counts are of one choice, the request's output is the sum of them."""
    chunks = metered(
        frame("a", index=1, **timings(9, 0, 1)),
        frame("b", index=0, **timings(9, 0, 1)),
        frame("c d", index=1, **timings(9, 0, 3)),
        n=2,
    )
    assert outputs(chunks) == [1, 2, 4]
    assert [chunk.choice for chunk in chunks] == [1, 0, 1]


def test_without_usage_the_released_text_is_counted() -> None:
    """By the tokenizer that was given; the input too. Who counted is said."""
    chunks = metered(frame(""), frame("the mill"), frame(" turns", finish="stop"))
    assert [chunk.counts for chunk in chunks] == [TokenCounts(3, 0, 2), TokenCounts(3, 0, 3)]
    assert {chunk.counted_by for chunk in chunks} == {CountedBy.RELEASED_TEXT}


@pytest.mark.parametrize("told", [2, 9])
def test_the_engines_last_word_replaces_an_estimate(told: int) -> None:
    """Upwards and downwards: the last chunk is the one to settle by."""
    chunks = metered(frame("a b c d e", finish="stop"), {"choices": [], **usage(7, told)})
    assert (chunks[-1].counts, chunks[-1].counted_by) == (TokenCounts(7, 0, told), CountedBy.ENGINE_FINAL)
    assert chunks[-1].text == ""


def test_a_last_word_that_knows_more_than_the_running_count_is_passed_on() -> None:
    """The cached share comes only at the end from vLLM; the count is still the engine's own."""
    chunks = metered(
        frame("a", **usage(12, 1), finish="stop"),
        {"choices": [], **usage(12, 1, prompt_tokens_details={"cached_tokens": 8})},
    )
    assert (chunks[-1].counts, chunks[-1].counted_by) == (TokenCounts(12, 8, 1), CountedBy.ENGINE)


def test_a_usage_that_is_not_sent_is_not_zero() -> None:
    """null changes nothing, in the middle and at the end."""
    chunks = metered(frame("a b", usage=None), frame(" c", **usage(None, None)), {"choices": [], **usage(None, None)})
    assert chunks[-1].counts == TokenCounts(3, 0, 3)


def test_a_zero_that_is_sent_is_a_zero() -> None:
    """An engine that says it made nothing is not corrected by an estimate."""
    chunks = metered(frame("a b"), {"choices": [], **usage(0, 0)})
    assert chunks[-1].counts == TokenCounts(0, 0, 0)


def test_running_counts_never_go_down() -> None:
    """A frame that counts less than the one before it changes nothing."""
    assert outputs(metered(frame("a", **usage(9, 5)), frame("b", **usage(9, 2)))) == [5, 5]


def test_no_count_goes_beyond_what_was_ordered() -> None:
    """Neither a running nor a final one: the caller agreed to max_tokens."""
    assert outputs(metered(frame("a", **usage(9, 50)), max_tokens=10)) == [10]
    assert outputs(metered(frame("a"), {"choices": [], **usage(9, 70)}, max_tokens=10)) == [1, 10]


def test_reasoning_is_told_apart_and_part_of_the_output() -> None:
    """By the frames that carry it, under both names, until the final usage knows better."""
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}], **usage(9, 2)}
    more = {"choices": [{"index": 0, "delta": {"reasoning": "so"}}], **usage(9, 3)}
    final = {"choices": [], **usage(9, 5, completion_tokens_details={"reasoning_tokens": 4})}
    chunks = metered(thought, more, frame("yes", **usage(9, 5), finish="stop"), final)
    assert [chunk.counts.reasoning for chunk in chunks] == [2, 3, 3, 4]
    assert [chunk.reasoning for chunk in chunks] == ["hm", "so", "", ""]


def test_tool_calls_come_in_pieces() -> None:
    """Name and id first, then arguments; without usage each piece counts."""
    pieces = [
        {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": "Ulm"}'}},
    ]
    frames = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    chunks = metered(*frames, frame(finish="tool_calls"))
    assert (chunks[0].tool_calls[0].id, chunks[0].tool_calls[0].name) == ("c1", "weather")
    assert chunks[1].tool_calls[0].arguments == '{"city": "Ulm"}'
    assert outputs(chunks) == [1, 3, 3]
    assert chunks[-1].finish is Finish.TOOL_CALLS


def test_a_whole_answer_is_one_chunk_a_choice() -> None:
    """Each with the counts of the whole request, as the engine says at the end."""
    meter = Meter(order(n=2), words)
    choices = [{"index": at, "message": {"content": f"answer {at}"}, "finish_reason": "stop"} for at in (0, 1)]
    chunks = meter.take_whole(decode_frame(msgspec.json.encode({"choices": choices, **usage(7, 4)})))
    assert [(chunk.text, chunk.counts.output, chunk.finish) for chunk in chunks] == [
        ("answer 0", 4, Finish.STOP),
        ("answer 1", 4, Finish.STOP),
    ]
    assert chunks[0].counted_by is CountedBy.ENGINE_FINAL
    assert meter.complete


def test_a_whole_answer_without_usage_is_counted_by_its_text() -> None:
    """And says so."""
    meter = Meter(order(TextPrompt(text="one two")), words)
    answer = {"choices": [{"index": 0, "text": "three four five", "finish_reason": "length"}]}
    (chunk,) = meter.take_whole(decode_frame(msgspec.json.encode(answer)))
    assert (chunk.counts, chunk.counted_by) == (TokenCounts(2, 0, 3), CountedBy.RELEASED_TEXT)


def test_logprobs_of_both_forms() -> None:
    """Chats nest them, completions keep them in columns; more alternatives than asked for are cut."""
    nested = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": t, "logprob": -1.0} for t in "abc"]}
    columns = {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [{"a": -1.0, "b": -2.0, "c": -3.0}]}
    meter = Meter(order(logprobs=True, top_logprobs=2), words)
    for form, logprob in (({"content": [nested]}, -0.5), (columns, -9999.0)):
        one = {"choices": [{"index": 0, "text": "a", "logprobs": form}]}
        (chunk,) = meter.take(decode_frame(msgspec.json.encode(one)))
        assert chunk.logprobs is not None
        assert (chunk.logprobs[0].logprob, [token for token, _ in chunk.logprobs[0].top]) == (logprob, ["a", "b"])


@pytest.mark.parametrize("bad", [frame("a", index=3), frame("a", finish="abort")])
def test_a_frame_that_answers_nothing_ordered_is_bad(bad: Json) -> None:
    """A choice nobody ordered, an end nobody knows."""
    with pytest.raises(BadFrameError):
        metered(bad)


def test_complete_only_when_every_choice_has_ended() -> None:
    """One of two is not the answer."""
    meter = Meter(order(n=2), words)
    for index in (1, 0):
        assert not meter.complete
        meter.take(decode_frame(msgspec.json.encode(frame(finish="stop", index=index))))
    assert meter.complete
