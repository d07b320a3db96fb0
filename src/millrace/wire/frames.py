"""What the streams of both completions have in common: an envelope, encoded once, around each piece (SSE)."""

from abc import ABC, abstractmethod
from typing import Final

from millrace.base.errors import Refusal
from millrace.generation.chunk import Chunk, TokenCounts
from millrace.wire.errors import render_error
from millrace.wire.json_body import encode
from millrace.wire.usage import to_usage

DONE: Final = b"data: [DONE]\n\n"
"""The end of every stream that was not broken off."""


def render_error_frame(refusal: Refusal) -> bytes:
    """A refusal in the middle of a stream: the error envelope as a frame."""
    return b"data: " + render_error(refusal) + b"\n\n"


class Frames(ABC):
    """The frames of one stream, each complete: `data: {…}` and the blank line.

    With `include_usage` every frame of a choice says `"usage": null`, as in the API, or carries the usage so far.
    """

    def __init__(self, answer_id: str, form: str, model: str, created: int, *, include_usage: bool) -> None:
        identity = encode({"id": answer_id, "object": form, "created": created, "model": model})
        self._head = b"data: " + identity[:-1] + b',"choices":['
        self._end = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"

    @abstractmethod
    def opening(self, choice: int = 0) -> bytes:
        """The frame before a choice's first chunk, empty where the form has none."""

    @abstractmethod
    def chunk(self, chunk: Chunk, usage_each: bool = False) -> bytes:
        """The frame of a chunk, empty where the chunk has nothing that a caller sees."""

    def usage(self, counts: TokenCounts) -> bytes:
        """The last frame before DONE: no choices, the usage as settled."""
        return self._head + self._end_with(counts)

    def error(self, refusal: Refusal) -> bytes:
        """The frame that breaks the stream off."""
        return render_error_frame(refusal)

    def _end_with(self, counts: TokenCounts) -> bytes:
        return b'],"usage":' + encode(to_usage(counts)) + b"}\n\n"
