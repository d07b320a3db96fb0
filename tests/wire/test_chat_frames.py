"""A chat's answer as frames, byte by byte."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.base.errors import Reason, Refusal
from millrace.base.sse import EventReader
from millrace.generation.chunk import NO_TOKENS, Chunk, Finish, TokenCounts, TokenLogprob, ToolCallDelta
from millrace.wire.chat_frames import ChatFrames
from millrace.wire.frames import DONE

ENVELOPE = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":['
COUNTS = TokenCounts(input=9, cached_input=4, output=3, reasoning=1)
USAGE = (
    b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,'
    b'"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":1}}}\n\n'
)


def frames(*, choices: int = 1, include_usage: bool = False) -> ChatFrames:
    return ChatFrames("req_1", "m", 1_700_000_000, choices=choices, include_usage=include_usage)


def delta(frame: bytes) -> tuple[Any, Any, Any]:
    """(index, delta, finish_reason) of the only choice of a frame."""
    (event,) = EventReader().feed(frame)
    (choice,) = json.loads(event.data)["choices"]
    return choice["index"], choice["delta"], choice["finish_reason"]


def test_the_opening() -> None:
    """A stream opens with who speaks and an empty text."""
    assert frames().opening() == (
        ENVELOPE
        + b'{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
        + b'"logprobs":null,"finish_reason":null}]}\n\n'
    )


def test_a_piece_of_text() -> None:
    """A piece of text is one frame."""
    assert frames().chunk(Chunk(NO_TOKENS, text=" word")) == (
        ENVELOPE + b'{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}\n\n'
    )


def test_usage_is_not_there_unless_asked_for() -> None:
    """A stream is made without usage if nobody says otherwise, and then no frame has the key."""
    assert b"usage" not in ChatFrames("req_1", "m", 1).chunk(Chunk(COUNTS, text="a", finish=Finish.STOP))


def test_usage_is_null_until_the_end() -> None:
    """With usage asked for, every frame of a choice says null, and the last one has it and no choice."""
    asked = frames(include_usage=True)
    assert asked.chunk(Chunk(COUNTS, text="a")) == (
        ENVELOPE + b'{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
    )
    assert asked.chunk(Chunk(COUNTS, finish=Finish.STOP)) == (
        ENVELOPE + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}\n\n'
    )
    assert asked.opening().endswith(b'],"usage":null}\n\n')
    assert asked.usage(COUNTS) == ENVELOPE + b"]," + USAGE


def test_usage_on_every_frame() -> None:
    """With usage asked for on each frame, a frame carries the counts so far, one without text too."""
    assert frames(include_usage=True).chunk(Chunk(COUNTS, text="a"), usage_each=True) == (
        ENVELOPE + b'{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}],' + USAGE
    )
    assert frames(include_usage=True).chunk(Chunk(COUNTS), usage_each=True) == (
        ENVELOPE + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":null}],' + USAGE
    )


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (Chunk(NO_TOKENS, text="a", choice=1), (1, {"content": "a"}, None)),
        (Chunk(NO_TOKENS, reasoning="Hm", choice=1), (1, {"reasoning_content": "Hm"}, None)),
        (Chunk(NO_TOKENS, text="b", reasoning="Hm"), (0, {"content": "b", "reasoning_content": "Hm"}, None)),
        (Chunk(NO_TOKENS, finish=Finish.LENGTH), (0, {}, "length")),
        (Chunk(NO_TOKENS, text=".", finish=Finish.STOP), (0, {"content": "."}, "stop")),
        (
            Chunk(NO_TOKENS, tool_calls=(ToolCallDelta(0, "call_1", "look_up"),)),
            (
                0,
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "look_up", "arguments": ""},
                        }
                    ]
                },
                None,
            ),
        ),
        (
            Chunk(NO_TOKENS, tool_calls=(ToolCallDelta(1, arguments='{"q"'),)),
            (0, {"tool_calls": [{"index": 1, "function": {"arguments": '{"q"'}}]}, None),
        ),
    ],
    ids=["choice", "reasoning", "both", "finish", "text and finish", "tool call", "more arguments"],
)
def test_what_a_chunk_becomes(chunk: Chunk, expected: tuple[Any, Any, Any]) -> None:
    """Each kind of chunk has its delta, in the frame of its own choice."""
    assert delta(frames(choices=2).chunk(chunk)) == expected


def test_logprobs() -> None:
    """Log probabilities lie beside the delta; asked for and empty is not null."""
    frame = frames().chunk(Chunk(NO_TOKENS, text="a", logprobs=(TokenLogprob("a", -1.0),)))
    drawn = b'{"token":"a","logprob":-1.0,"bytes":[97],"top_logprobs":[]}'
    assert b'"logprobs":{"content":[' + drawn + b'],"refusal":null}' in frame
    assert b'"logprobs":{"content":[],"refusal":null}' in frames().chunk(Chunk(NO_TOKENS, logprobs=()))


def test_counts_alone_are_no_frame() -> None:
    """A chunk with nothing that a caller sees is not sent."""
    assert frames(include_usage=True).chunk(Chunk(COUNTS)) == b""


def test_an_error_breaks_the_stream_off() -> None:
    """An error is a frame of its own, in the envelope of every other error."""
    assert frames().error(Refusal(Reason.ENGINE_FAILED, "the engine broke")) == (
        b'data: {"error":{"message":"the engine broke","type":"server_error","param":null,"code":"engine_failed"}}\n\n'
    )


def test_done() -> None:
    """The end of a stream is what every client waits for."""
    assert DONE == b"data: [DONE]\n\n"


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), model=st.text(st.characters(codec="utf-8")))
def test_any_text_arrives(text: str, model: str) -> None:
    """Whatever a model says, line ends and U+2028 included, is one event and comes out as it went in."""
    made = ChatFrames("req_1", model, 1, include_usage=True)
    events = EventReader().feed(made.opening() + made.chunk(Chunk(NO_TOKENS, text=text)) + made.usage(NO_TOKENS) + DONE)
    opening, chunk, usage, done = [event.data for event in events]
    assert json.loads(chunk)["choices"][0]["delta"] == {"content": text}
    assert {json.loads(frame)["model"] for frame in (opening, chunk, usage)} == {model}
    assert done == b"[DONE]"
