"""Chat completions (OpenAI API form): the body into a ChatRequest.

Every parameter of the form is known: honoured (it is in Sampling or in the request), harmless (accepted), or refused by
its name. What is *not* given to the model: `reasoning_content` of earlier turns (templates drop it), `annotations`.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from millrace.generation.order import Sampling
from millrace.generation.prompt import ChatPrompt
from millrace.wire.chat_messages import MessageBody, parse_messages
from millrace.wire.chat_tools import ChoiceBody, ToolBody, parse_tool_choice, parse_tools
from millrace.wire.json_body import decode_body, invalid, unsupported
from millrace.wire.response_format import FormatBody, parse_response_format
from millrace.wire.sampling import TOKENS_MAX, Label, SampledBody, refuse_given, sampling_of, usage_asked

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ChatRequest(Struct, frozen=True, kw_only=True):
    """One chat completion as asked. `max_tokens` bounds each choice; None leaves it to the model's own limit."""

    model: str
    prompt: ChatPrompt
    sampling: Sampling
    max_tokens: int | None
    stream: bool
    include_usage: bool
    """The stream ends with a frame of the whole usage, and its other frames say `"usage": null`."""
    usage_each: bool
    """Every frame of the stream carries the usage so far; only with include_usage."""
    user: str | None
    prompt_cache_key: str | None


class ChatBody(SampledBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[MessageBody], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=TOKENS_MAX)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: FormatBody | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | ChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None

    # Accepted: they do not change the answer.
    metadata: dict[str, str] | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None

    # Accepted at one value, refused at any other.
    modalities: list[str] | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    verbosity: str | None = None

    # Refused by name, see NOT_SUPPORTED.
    audio: Any = None
    chat_template_kwargs: Any = None
    enable_thinking: Any = None
    extra_body: Any = None
    function_call: Any = None
    functions: Any = None
    moderation: Any = None
    prediction: Any = None
    prompt_cache_options: Any = None
    thinking_budget: Any = None
    web_search_options: Any = None


NOT_SUPPORTED: Final = {
    "audio": "models here answer with text only",
    "chat_template_kwargs": "is not supported; thinking is set by reasoning_effort",
    "enable_thinking": 'is not supported; use reasoning_effort ("none" turns thinking off)',
    "extra_body": "is an argument of client libraries; send its contents as parameters of their own",
    "function_call": "is deprecated and not supported; use tool_choice",
    "functions": "is deprecated and not supported; use tools",
    "moderation": "is not supported",
    "prediction": "is not supported",
    "prompt_cache_options": "is not supported; prompts are cached by themselves",
    "thinking_budget": "is not supported; use reasoning_effort",
    "web_search_options": "is not supported; give the model a search tool in tools",
}

ACCEPTED_ONLY: Final = {
    "modalities": (["text"],),
    "prompt_cache_retention": ("in_memory",),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
}

_DECODER = msgspec.json.Decoder(ChatBody)


def parse_chat(body: bytes) -> ChatRequest:
    """The request, or a Refusal that names the first parameter that cannot be honoured."""
    asked = decode_body(body, _DECODER)
    refuse_given(asked, NOT_SUPPORTED)
    for name, accepted in ACCEPTED_ONLY.items():
        value = getattr(asked, name)
        if value is not None and value not in accepted:
            unsupported(name, f"only {' or '.join(map(_said, accepted))} is supported")
    include_usage, usage_each = usage_asked(asked)
    return ChatRequest(
        model=asked.model,
        prompt=_prompt(asked),
        sampling=_sampling(asked),
        max_tokens=_max_tokens(asked),
        stream=bool(asked.stream),
        include_usage=include_usage,
        usage_each=usage_each,
        user=asked.user,
        prompt_cache_key=asked.prompt_cache_key,
    )


def _prompt(asked: ChatBody) -> ChatPrompt:
    tools = parse_tools(asked.tools or [])
    return ChatPrompt(
        messages=parse_messages(asked.messages),
        tools=tools,
        tool_choice=parse_tool_choice(asked.tool_choice, tools),
    )


def _sampling(asked: ChatBody) -> Sampling:
    if asked.top_logprobs and not asked.logprobs:
        invalid("top_logprobs", "needs logprobs: true")
    return sampling_of(
        asked,
        logprobs=asked.logprobs or None,
        top_logprobs=asked.top_logprobs or None,
        response_format=parse_response_format(asked.response_format),
        tools=True if asked.tools else None,
        parallel_tool_calls=False if asked.tools and asked.parallel_tool_calls is False else None,
        reasoning_effort=asked.reasoning_effort,
    )


def _max_tokens(asked: ChatBody) -> int | None:
    older, newer = asked.max_tokens, asked.max_completion_tokens
    if older is not None and newer is not None and older != newer:
        invalid("max_tokens", f"{older} contradicts max_completion_tokens {newer}; send one of them")
    return newer if older is None else older


def _said(value: object) -> str:
    return msgspec.json.encode(value).decode()
