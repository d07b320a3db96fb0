"""A chat's answer as a stream of frames (OpenAI API form).

For a plain piece of text, which nearly every chunk is, only that text is encoded. Everything rarer (tool calls, log
probabilities, reasoning, a finish) goes through types.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from millrace.generation.chunk import Chunk, ToolCallDelta
from millrace.wire.answer_ids import CHAT, answer_id
from millrace.wire.frames import Frames
from millrace.wire.json_body import encode
from millrace.wire.logprobs import to_chat_logprobs

_OPENING = b'{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}'


class _Function(Struct, frozen=True):
    name: str | UnsetType
    arguments: str


class _ToolCall(Struct, frozen=True):
    index: int
    id: str | UnsetType
    type: Literal["function"] | UnsetType
    function: _Function


class _Delta(Struct, frozen=True):
    content: str | UnsetType
    reasoning_content: str | UnsetType
    tool_calls: list[_ToolCall] | UnsetType


class ChatFrames(Frames):
    """The frames of one chat. `created` is in Unix seconds; `choices` is how many were asked for."""

    def __init__(
        self, request_id: str, model: str, created: int, *, choices: int = 1, include_usage: bool = False
    ) -> None:
        super().__init__(
            answer_id(CHAT, request_id), "chat.completion.chunk", model, created, include_usage=include_usage
        )
        self._heads = [self._head + b'{"index":%d,"delta":' % index for index in range(choices)]
        self._text_heads = [head + b'{"content":' for head in self._heads]
        self._text_end = b'},"logprobs":null,"finish_reason":null}' + self._end

    def opening(self, choice: int = 0) -> bytes:
        """Who speaks; sent once for each choice."""
        return self._heads[choice] + _OPENING + self._end

    def chunk(self, chunk: Chunk, usage_each: bool = False) -> bytes:
        if usage_each or chunk.finish or chunk.reasoning or chunk.tool_calls or chunk.logprobs is not None:
            return self._typed(chunk, usage_each)
        if not chunk.text:
            return b""
        return self._text_heads[chunk.choice] + encode(chunk.text) + self._text_end

    def _typed(self, chunk: Chunk, usage_each: bool) -> bytes:
        delta = _Delta(
            chunk.text or UNSET,
            chunk.reasoning or UNSET,
            [_tool_call(piece) for piece in chunk.tool_calls] or UNSET,
        )
        return b"".join(
            (
                self._heads[chunk.choice],
                encode(delta),
                b',"logprobs":',
                encode(None if chunk.logprobs is None else to_chat_logprobs(chunk.logprobs)),
                b',"finish_reason":',
                encode(chunk.finish),
                b"}",
                self._end_with(chunk.counts) if usage_each else self._end,
            )
        )


def _tool_call(piece: ToolCallDelta) -> _ToolCall:
    return _ToolCall(
        piece.index,
        UNSET if piece.id is None else piece.id,
        UNSET if piece.id is None else "function",
        _Function(UNSET if piece.name is None else piece.name, piece.arguments),
    )
