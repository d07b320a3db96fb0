"""A chat's whole answer (OpenAI API form)."""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from millrace.generation.chunk import Finish, TokenCounts
from millrace.generation.prompt import ToolCall
from millrace.wire.answer_ids import CHAT, answer_id
from millrace.wire.collected import Choice
from millrace.wire.json_body import encode
from millrace.wire.logprobs import ChatLogprobs, to_chat_logprobs
from millrace.wire.usage import Usage, to_usage


class _Function(Struct, frozen=True):
    name: str
    arguments: str


class _ToolCall(Struct, frozen=True):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType
    tool_calls: list[_ToolCall] | UnsetType


class _Choice(Struct, frozen=True, kw_only=True):
    index: int
    message: _Message
    logprobs: ChatLogprobs | None
    finish_reason: Finish | None


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[_Choice]
    usage: Usage


def render_chat(
    request_id: str, model: str, created: int, choices: Sequence[Choice], counts: TokenCounts
) -> bytes:
    """The answer; `created` in Unix seconds, `counts` as settled."""
    return encode(
        ChatCompletion(
            id=answer_id(CHAT, request_id),
            created=created,
            model=model,
            choices=[_choice(choice) for choice in choices],
            usage=to_usage(counts),
        )
    )


def _choice(choice: Choice) -> _Choice:
    return _Choice(
        index=choice.index,
        message=_Message(
            content=None if choice.tool_calls and not choice.text else choice.text,
            reasoning_content=choice.reasoning or UNSET,
            tool_calls=[_tool_call(call) for call in choice.tool_calls] or UNSET,
        ),
        logprobs=None if choice.logprobs is None else to_chat_logprobs(choice.logprobs),
        finish_reason=choice.finish,
    )


def _tool_call(call: ToolCall) -> _ToolCall:
    return _ToolCall(call.id, "function", _Function(call.name, call.arguments))
