"""Text completions (OpenAI API form, /v1/completions): the body into a CompletionRequest."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from millrace.generation.order import Sampling
from millrace.generation.prompt import TextPrompt
from millrace.wire.json_body import decode_body, invalid, unsupported
from millrace.wire.sampling import SampledBody, sampling_of, usage_asked

MAX_TOKENS_DEFAULT: Final = 16
"""What the form says when the caller says nothing. (A chat has no such default.)"""


class CompletionRequest(Struct, frozen=True, kw_only=True):
    """One text completion as asked. `max_tokens` bounds each choice."""

    model: str
    prompt: TextPrompt
    sampling: Sampling
    max_tokens: int
    stream: bool
    include_usage: bool
    usage_each: bool
    user: str | None


class CompletionBody(SampledBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str | list[Any]
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None


_DECODER = msgspec.json.Decoder(CompletionBody)


def parse_completion(body: bytes) -> CompletionRequest:
    """The request, or a Refusal that names the first parameter that cannot be honoured."""
    asked = decode_body(body, _DECODER)
    if asked.echo:
        unsupported("echo", "true is not supported; the prompt is yours already")
    if asked.suffix:
        unsupported("suffix", "is not supported; models here continue a text, they do not fill it in")
    _check_best_of(asked.best_of, asked.n or 1)
    include_usage, usage_each = usage_asked(asked)
    return CompletionRequest(
        model=asked.model,
        prompt=TextPrompt(text=_text(asked.prompt)),
        sampling=sampling_of(
            asked,
            logprobs=None if asked.logprobs is None else True,
            top_logprobs=asked.logprobs or None,
        ),
        max_tokens=asked.max_tokens or MAX_TOKENS_DEFAULT,
        stream=bool(asked.stream),
        include_usage=include_usage,
        usage_each=usage_each,
        user=asked.user,
    )


def _text(prompt: str | list[Any]) -> str:
    if isinstance(prompt, list):
        if any(not isinstance(item, str) for item in prompt):
            unsupported("prompt", "arrays of tokens are not supported; send text")
        if len(prompt) > 1:
            unsupported("prompt", f"{len(prompt)} prompts in one request are not supported; send one request for each")
        prompt = "".join(prompt)
    if not prompt:
        invalid("prompt", "is empty")
    return prompt


def _check_best_of(best_of: int | None, n: int) -> None:
    if best_of is None or best_of == n:
        return
    if best_of < n:
        invalid("best_of", f"{best_of} is less than n ({n})")
    unsupported("best_of", f"more than n ({n}) is not supported")
