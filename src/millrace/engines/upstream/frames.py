"""What an OpenAI-compatible server sends, decoded with only the fields that matter here.

One Frame is a chunk of a stream, or a whole answer: `choices[].delta` in the one, `choices[].message` in the other, and
`choices[].text` in both forms of the older completions. Whatever else a server sends is skipped without being built.
"""

from typing import Any

import msgspec
from msgspec import Struct


class FunctionPiece(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class Said(Struct, gc=False):
    """What was said: the delta of a stream or the message of a whole answer."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """How newer vLLM names `reasoning_content`."""
    tool_calls: list[ToolCallPiece] | None = None


class TopLogprob(Struct, gc=False):
    token: str
    logprob: float | None = None


class ContentLogprob(Struct, gc=False):
    token: str
    logprob: float | None = None
    top_logprobs: list[TopLogprob] | None = None


class Logprobs(Struct, gc=False):
    """`content` is the form of chats, the other three are the older form of completions."""

    content: list[ContentLogprob] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class Choice(Struct, gc=False):
    index: int = 0
    delta: Said | None = None
    message: Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class PromptDetails(Struct, gc=False):
    cached_tokens: int | None = None


class CompletionDetails(Struct, gc=False):
    reasoning_tokens: int | None = None


class Usage(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Timings(Struct, gc=False):
    """What llama.cpp says of one choice: `prompt_n` tokens were read anew, `cache_n` came from its cache."""

    prompt_n: int = 0
    cache_n: int = 0
    predicted_n: int = 0


class Frame(Struct, gc=False):
    choices: list[Choice] = []
    usage: Usage | None = None
    timings: Timings | None = None
    error: Any = None


class Vector(Struct, gc=False):
    embedding: tuple[float, ...]
    index: int = 0


class EmbeddingAnswer(Struct, gc=False):
    data: list[Vector]
    usage: Usage | None = None


decode_frame = msgspec.json.Decoder(Frame).decode
decode_embeddings = msgspec.json.Decoder(EmbeddingAnswer).decode
