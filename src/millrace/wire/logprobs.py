"""Log probabilities in the two OpenAI API forms: the chat's, and the older one of text completions."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from millrace.generation.chunk import TokenLogprob

UNLIKELY: Final = -9999.0
"""What the form says for a token too unlikely to have a number (JSON has no -Infinity)."""


class TopLogprob(Struct, frozen=True):
    """An alternative. `bytes` is null when the token is no whole character, so that its text is not its bytes."""

    token: str
    logprob: float
    bytes: list[int] | None


class ContentLogprob(Struct, frozen=True):
    """A token that was drawn."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct, frozen=True):
    """`choices[].logprobs` of a chat."""

    content: list[ContentLogprob]
    refusal: None = None


class CompletionLogprobs(Struct, frozen=True):
    """`choices[].logprobs` of a text completion: parallel lists; offsets count characters of the answer."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


def to_chat_logprobs(logprobs: Sequence[TokenLogprob]) -> ChatLogprobs:
    """The chat's form."""
    return ChatLogprobs(
        [
            ContentLogprob(
                drawn.token,
                _finite(drawn.logprob),
                _bytes(drawn.token),
                [TopLogprob(token, _finite(logprob), _bytes(token)) for token, logprob in drawn.top],
            )
            for drawn in logprobs
        ]
    )


def to_completion_logprobs(logprobs: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """The older form; `offset` is where the first of these tokens begins in the choice's text."""
    offsets = []
    for drawn in logprobs:
        offsets.append(offset)
        offset += len(drawn.token)
    return CompletionLogprobs(
        [drawn.token for drawn in logprobs],
        [_finite(drawn.logprob) for drawn in logprobs],
        [{token: _finite(logprob) for token, logprob in drawn.top} or None for drawn in logprobs],
        offsets,
    )


def _finite(logprob: float) -> float:
    return max(UNLIKELY, logprob)  # in this order NaN becomes UNLIKELY too


def _bytes(token: str) -> list[int] | None:
    return None if "\ufffd" in token else list(token.encode())
