"""A text completion's whole answer (OpenAI API form)."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from millrace.generation.chunk import Finish, TokenCounts
from millrace.wire.answer_ids import COMPLETION, answer_id
from millrace.wire.collected import Choice
from millrace.wire.json_body import encode
from millrace.wire.logprobs import CompletionLogprobs, to_completion_logprobs
from millrace.wire.usage import Usage, to_usage


class _Choice(Struct, frozen=True, kw_only=True):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None


class Completion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[_Choice]
    usage: Usage


def render_completion(
    request_id: str, model: str, created: int, choices: Sequence[Choice], counts: TokenCounts
) -> bytes:
    """The answer; `created` in Unix seconds, `counts` as settled."""
    return encode(
        Completion(
            id=answer_id(COMPLETION, request_id),
            created=created,
            model=model,
            choices=[_choice(choice) for choice in choices],
            usage=to_usage(counts),
        )
    )


def _choice(choice: Choice) -> _Choice:
    return _Choice(
        index=choice.index,
        text=choice.text,
        logprobs=None if choice.logprobs is None else to_completion_logprobs(choice.logprobs, 0),
        finish_reason=choice.finish,
    )
