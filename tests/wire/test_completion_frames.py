"""A text completion's answer as frames, byte by byte."""

import json

from millrace.base.errors import Reason, Refusal
from millrace.base.sse import EventReader
from millrace.generation.chunk import NO_TOKENS, Chunk, Finish, TokenCounts, TokenLogprob
from millrace.wire.completion_frames import CompletionFrames

ENVELOPE = b'data: {"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"m","choices":['
COUNTS = TokenCounts(input=1, output=3)
USAGE = (
    b'"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4,'
    b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
)


def frames(*, choices: int = 1, include_usage: bool = False) -> CompletionFrames:
    return CompletionFrames("req_1", "m", 1_700_000_000, choices=choices, include_usage=include_usage)


def test_a_stream() -> None:
    """Nobody is announced; text, finish and usage each have their frame."""
    made = frames(choices=2, include_usage=True)
    assert made.opening() == b""
    assert made.chunk(Chunk(NO_TOKENS, text="upon", choice=1)) == (
        ENVELOPE + b'{"index":1,"text":"upon","logprobs":null,"finish_reason":null}],"usage":null}\n\n'
    )
    assert made.chunk(Chunk(NO_TOKENS, finish=Finish.STOP)) == (
        ENVELOPE + b'{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}],"usage":null}\n\n'
    )
    assert made.usage(COUNTS) == ENVELOPE + b"]," + USAGE


def test_without_usage() -> None:
    """A stream that did not ask for usage has no such key."""
    made = CompletionFrames("req_1", "m", 1)
    assert made.chunk(Chunk(NO_TOKENS, text="a")).endswith(b'"finish_reason":null}]}\n\n')


def test_usage_on_every_frame() -> None:
    """With usage asked for on each frame, a frame carries the counts so far."""
    assert frames(include_usage=True).chunk(Chunk(COUNTS, text="a"), usage_each=True) == (
        ENVELOPE + b'{"index":0,"text":"a","logprobs":null,"finish_reason":null}],' + USAGE
    )


def test_counts_alone_are_no_frame() -> None:
    """A chunk with nothing that a caller sees is not sent."""
    assert frames(include_usage=True).chunk(Chunk(COUNTS)) == b""


def test_offsets_run_on() -> None:
    """The offsets of log probabilities go on from frame to frame, each choice on its own."""
    made = frames(choices=2)
    offsets = []
    for choice, token in [(0, "upon"), (1, "one"), (0, " a"), (1, " two"), (0, " time")]:
        frame = made.chunk(Chunk(NO_TOKENS, text=token, choice=choice, logprobs=(TokenLogprob(token, -1.0),)))
        (event,) = EventReader().feed(frame)
        offsets.append(json.loads(event.data)["choices"][0]["logprobs"]["text_offset"])
    assert offsets == [[0], [0], [4], [3], [6]]


def test_an_error_breaks_the_stream_off() -> None:
    """An error is a frame of its own, in the envelope of every other error."""
    assert frames().error(Refusal(Reason.ENGINE_FAILED, "it broke")) == (
        b'data: {"error":{"message":"it broke","type":"server_error","param":null,"code":"engine_failed"}}\n\n'
    )
