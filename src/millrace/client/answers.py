"""What the API answers, as values; whatever else an answer has is passed over."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from millrace.wire.models import ModelCard


class CalledFunction(Struct, frozen=True):
    """A function that the model calls; `arguments` is JSON as it wrote it, which need not be JSON."""

    name: str = ""
    arguments: str = ""


class CallPiece(Struct, frozen=True):
    """A call, or in a stream a piece of the call at `index`: its name comes once, its arguments bit by bit."""

    index: int = 0
    id: str | None = None
    function: CalledFunction = CalledFunction()


class Said(Struct, frozen=True):
    """What was said: whole, or a piece of it."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[CallPiece, ...] = ()


class Usage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class Choice(Struct, frozen=True):
    """`message` is there in whole answers, `delta` in pieces."""

    index: int = 0
    message: Said = Said()
    delta: Said = Said()
    finish_reason: str | None = None


class Body(Struct, frozen=True):
    """An answer, or a frame of a stream."""

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    error: Any = None


class ChatAnswer(Struct, frozen=True, kw_only=True):
    """One whole answer. `request_id` is the receipt's; `latency_ns` is of the try that was answered, and None of a repeat's
    answer, which nobody made anew."""

    request_id: str = ""
    text: str = ""
    reasoning: str = ""
    calls: tuple[CalledFunction, ...] = ()
    finish: str | None = None
    usage: Usage | None = None
    latency_ns: int | None = None


class Models(Struct, frozen=True):
    data: tuple[ModelCard, ...]


DECODE_BODY: Final = msgspec.json.Decoder(Body).decode


def chat_answer(body: Body, *, request_id: str, latency_ns: int | None) -> ChatAnswer:
    """The first choice of an answer."""
    choice = body.choices[0] if body.choices else Choice()
    said = choice.message
    return ChatAnswer(
        request_id=request_id, text=said.content or "", reasoning=said.reasoning_content or "",
        calls=tuple(call.function for call in said.tool_calls), finish=choice.finish_reason, usage=body.usage,
        latency_ns=latency_ns,
    )  # fmt: skip
