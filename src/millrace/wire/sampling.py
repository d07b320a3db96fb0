"""What chat and text completions have in common: how to sample, how much to make, whether to stream.

A value that only repeats the API's default becomes None, 'not asked', so that no engine refuses it. Temperature, top_p,
top_k, min_p and repetition_penalty stay as said even at their neutral value: models carry their own defaults for these.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from millrace.generation.order import ResponseFormat, Sampling
from millrace.wire.json_body import invalid, unsupported

TOKENS_MAX: Final = 2**31 - 1
"""What any engine's own counter holds; the model's real limit is the gateway's to check."""

LOGIT_BIASES_MAX: Final = 1024
STOPS_MAX: Final = 4

_TOKEN_DIGITS_MAX = 9  # vocabularies have some hundred thousand tokens

ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
Label = Annotated[str, Meta(max_length=512)]
"""A name that the caller gives to its own things."""

_Tokens = Annotated[int, Meta(ge=1, le=TOKENS_MAX)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Stop = Annotated[str, Meta(min_length=1)]


class StreamOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`continuous_usage_stats` asks for the usage so far on every chunk (as vLLM has it)."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class SampledBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters that both bodies know, with their ranges."""

    model: ModelName
    max_tokens: _Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=TOKENS_MAX)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    logit_bias: (
        Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=LOGIT_BIASES_MAX)] | None
    ) = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: _Stop | Annotated[list[_Stop], Meta(max_length=STOPS_MAX)] | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Label | None = None


def refuse_given(body: Struct, refused: dict[str, str]) -> None:
    """Refuse the first parameter of the table that has a value; null is 'not said'."""
    for name, sentence in refused.items():
        if getattr(body, name) is not None:
            unsupported(name, sentence)


def sampling_of(
    body: SampledBody,
    *,
    top_logprobs: int | None,
    logprobs: bool | None,
    response_format: ResponseFormat | None = None,
    tools: bool | None = None,
    parallel_tool_calls: bool | None = None,
    reasoning_effort: str | None = None,
) -> Sampling:
    """The common parameters as Sampling, defaults left out; the body's own ones are given."""
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=0 if body.top_k == -1 else body.top_k,
        min_p=body.min_p,
        presence_penalty=body.presence_penalty or None,
        frequency_penalty=body.frequency_penalty or None,
        repetition_penalty=body.repetition_penalty,
        logit_bias=_logit_bias(body.logit_bias),
        seed=body.seed,
        stop=_stop(body.stop),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        n=None if body.n == 1 else body.n,
        response_format=response_format,
        tools=tools,
        parallel_tool_calls=parallel_tool_calls,
        reasoning_effort=reasoning_effort,
    )


def usage_asked(body: SampledBody) -> tuple[bool, bool]:
    """(usage at the end of the stream, usage on every chunk)."""
    options = body.stream_options
    if options is None:
        return False, False
    if not body.stream:
        invalid("stream_options", "is only allowed with stream: true")
    if options.include_obfuscation:
        unsupported("stream_options.include_obfuscation", "true is not supported; leave it out or send false")
    if options.continuous_usage_stats and not options.include_usage:
        invalid("stream_options.continuous_usage_stats", "needs include_usage: true")
    return bool(options.include_usage), bool(options.continuous_usage_stats)


def _logit_bias(biases: dict[str, Any] | None) -> dict[str, float] | None:
    for token in biases or ():
        if not (token.isascii() and token.isdigit() and len(token) <= _TOKEN_DIGITS_MAX):
            invalid("logit_bias", f"{token[:20]!r} is not a token's number")
    return biases or None


def _stop(stop: str | list[str] | None) -> tuple[str, ...] | None:
    if isinstance(stop, str):
        return (stop,)
    return tuple(stop) if stop else None
