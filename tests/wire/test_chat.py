"""Chat bodies: each parameter is honoured, harmless, or refused by its name."""

import json
from typing import Any

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.generation.order import ResponseFormat, Sampling
from millrace.generation.prompt import ChatPrompt, Message
from millrace.wire.chat import ChatRequest, parse_chat

TOOL = {"type": "function", "function": {"name": "look_up"}}


def chat(**changes: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **changes}).encode()


def refused(body: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse_chat(body)
    return caught.value


def test_the_least_that_can_be_asked() -> None:
    """A model and a message are enough; nothing else is taken as said."""
    assert parse_chat(chat()) == ChatRequest(
        model="m",
        prompt=ChatPrompt(messages=(Message(role="user", content="Hi"),)),
        sampling=Sampling(),
        max_tokens=None,
        stream=False,
        include_usage=False,
        usage_each=False,
        user=None,
        prompt_cache_key=None,
    )
    assert parse_chat(chat()).sampling.named() == ()


HONOURED: dict[str, tuple[dict[str, Any], Sampling]] = {
    "temperature": ({"temperature": 0}, Sampling(temperature=0)),
    "temperature at its default": ({"temperature": 1}, Sampling(temperature=1)),
    "top_p": ({"top_p": 0.5}, Sampling(top_p=0.5)),
    "top_k": ({"top_k": 20}, Sampling(top_k=20)),
    "top_k off": ({"top_k": -1}, Sampling(top_k=0)),
    "min_p": ({"min_p": 0.05}, Sampling(min_p=0.05)),
    "presence_penalty": ({"presence_penalty": -2}, Sampling(presence_penalty=-2)),
    "frequency_penalty": ({"frequency_penalty": 2}, Sampling(frequency_penalty=2)),
    "repetition_penalty": ({"repetition_penalty": 1.0}, Sampling(repetition_penalty=1.0)),
    "logit_bias": ({"logit_bias": {"50256": -100}}, Sampling(logit_bias={"50256": -100})),
    "seed": ({"seed": -(2**63)}, Sampling(seed=-(2**63))),
    "stop": ({"stop": "\n"}, Sampling(stop=("\n",))),
    "stops": ({"stop": ["a", "b", "c", "d"]}, Sampling(stop=("a", "b", "c", "d"))),
    "n": ({"n": 16}, Sampling(n=16)),
    "logprobs": ({"logprobs": True}, Sampling(logprobs=True)),
    "top_logprobs": ({"logprobs": True, "top_logprobs": 20}, Sampling(logprobs=True, top_logprobs=20)),
    "response_format": (
        {"response_format": {"type": "json_object"}},
        Sampling(response_format=ResponseFormat(kind="json_object")),
    ),
    "tools": ({"tools": [TOOL]}, Sampling(tools=True)),
    "one call at a time": (
        {"tools": [TOOL], "parallel_tool_calls": False},
        Sampling(tools=True, parallel_tool_calls=False),
    ),
    "reasoning_effort": ({"reasoning_effort": "none"}, Sampling(reasoning_effort="none")),
}


@pytest.mark.parametrize(("asked", "sampling"), HONOURED.values(), ids=HONOURED)
def test_honoured(asked: dict[str, Any], sampling: Sampling) -> None:
    """What changes the answer reaches the engine in Sampling."""
    assert parse_chat(chat(**asked)).sampling == sampling


EDGES: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2},
    {"top_p": 1},
    {"top_k": 0},
    {"top_k": 2**31 - 1},
    {"min_p": 0},
    {"min_p": 1},
    {"presence_penalty": -2},
    {"presence_penalty": 2},
    {"repetition_penalty": 10},
    {"logit_bias": {"0": -100, "999999999": 100}},
    {"logit_bias": {str(token): 1 for token in range(1024)}},
    {"seed": 2**63 - 1},
    {"n": 2},
    {"max_tokens": 1},
    {"max_tokens": 2**31 - 1},
    {"max_completion_tokens": 1},
    {"max_completion_tokens": 2**31 - 1},
    {"logprobs": True, "top_logprobs": 1},
]


@pytest.mark.parametrize("asked", EDGES, ids=lambda asked: str(asked)[:40])
def test_the_edges_of_a_range_are_in_it(asked: dict[str, Any]) -> None:
    """The least and the most that a parameter may be is accepted and kept as it was said."""
    request = parse_chat(chat(**asked))
    said = {name.replace("max_completion_", "max_"): value for name, value in asked.items()}
    kept = {name: request.max_tokens if name == "max_tokens" else getattr(request.sampling, name) for name in said}
    assert kept == said


HARMLESS: list[dict[str, Any]] = [
    {"n": 1},
    {"logprobs": False},
    {"logprobs": False, "top_logprobs": 0},
    {"presence_penalty": 0},
    {"frequency_penalty": 0.0},
    {"logit_bias": {}},
    {"stop": []},
    {"response_format": {"type": "text"}},
    {"tools": []},
    {"tool_choice": "none"},
    {"tool_choice": "auto"},
    {"parallel_tool_calls": True},
    {"parallel_tool_calls": False},
    {"stream": False},
    {"metadata": {"order": "17"}},
    {"safety_identifier": "u-1"},
    {"store": False},
    {"service_tier": "auto"},
    {"service_tier": "default"},
    {"modalities": ["text"]},
    {"verbosity": "medium"},
    {"prompt_cache_retention": "in_memory"},
]


@pytest.mark.parametrize("asked", HARMLESS, ids=str)
def test_harmless(asked: dict[str, Any]) -> None:
    """A default that is said aloud, and what does not change the answer, ask nothing of the engine."""
    assert parse_chat(chat(**asked)) == parse_chat(chat())


def test_null_is_not_said() -> None:
    """Every parameter but model and messages may be null, and then it is as if it was not there."""
    names = (
        "max_tokens max_completion_tokens temperature top_p top_k min_p presence_penalty frequency_penalty "
        "repetition_penalty logit_bias seed stop n stream stream_options user logprobs top_logprobs response_format "
        "tools tool_choice parallel_tool_calls reasoning_effort metadata safety_identifier prompt_cache_key modalities "
        "prompt_cache_retention service_tier store verbosity audio function_call functions moderation prediction "
        "prompt_cache_options web_search_options"
    )
    assert parse_chat(chat(**dict.fromkeys(names.split()))) == parse_chat(chat())


def test_who_asks() -> None:
    """The caller's own name for its user and for its cache are kept."""
    request = parse_chat(chat(user="u-1", prompt_cache_key="shop"))
    assert (request.user, request.prompt_cache_key) == ("u-1", "shop")


UNSUPPORTED: list[tuple[dict[str, Any], str, str]] = [
    ({"audio": {"voice": "alloy"}}, "audio", "text only"),
    ({"modalities": ["text", "audio"]}, "modalities", 'only ["text"] is supported'),
    ({"prediction": {"type": "content"}}, "prediction", "not supported"),
    ({"web_search_options": {}}, "web_search_options", "not supported"),
    ({"store": True}, "store", "only false is supported"),
    ({"service_tier": "flex"}, "service_tier", 'only "auto" or "default" is supported'),
    ({"verbosity": "low"}, "verbosity", 'only "medium" is supported'),
    ({"prompt_cache_retention": "24h"}, "prompt_cache_retention", "in_memory"),
    ({"prompt_cache_options": {}}, "prompt_cache_options", "not supported"),
    ({"moderation": {"model": "x"}}, "moderation", "not supported"),
    ({"functions": []}, "functions", "use tools"),
    ({"function_call": "auto"}, "function_call", "use tool_choice"),
    ({"enable_thinking": False}, "enable_thinking", "reasoning_effort"),
    ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs", "reasoning_effort"),
    ({"thinking_budget": 100}, "thinking_budget", "reasoning_effort"),
    ({"extra_body": {"top_k": 1}}, "extra_body", "parameters of their own"),
    ({"max_token": 1}, "max_token", "did you mean max_tokens?"),
    ({"stop_sequences": ["a"]}, "stop_sequences", "not known here"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation", "false"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage", "not known here"),
]


@pytest.mark.parametrize(("asked", "param", "part"), UNSUPPORTED, ids=[param for _, param, _ in UNSUPPORTED])
def test_unsupported(asked: dict[str, Any], param: str, part: str) -> None:
    """What would change the answer and is not honoured is refused by its name, with the remedy where there is one."""
    refusal = refused(chat(**asked))
    assert (refusal.reason, refusal.param) == (Reason.UNSUPPORTED_PARAMETER, param)
    assert refusal.sentence.startswith(f"{param}: ")
    assert part in refusal.sentence


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "model"),
    ({"model": "m" * 257}, "model"),
    ({"user": "u" * 513}, "user"),
    ({"prompt_cache_key": "k" * 513}, "prompt_cache_key"),
    ({"safety_identifier": "s" * 513}, "safety_identifier"),
    ({"messages": []}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"min_p": 1.1}, "min_p"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"repetition_penalty": 10.1}, "repetition_penalty"),
    ({"min_p": -0.1}, "min_p"),
    ({"top_k": 2**31}, "top_k"),
    ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
    ({"logit_bias": {"²": 1}}, "logit_bias"),
    ({"logit_bias": {"1234567890": 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias[...]"),
    ({"logit_bias": {"hello": 1}}, "logit_bias"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 2**31}, "max_completion_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
    ({"reasoning_effort": "lots"}, "reasoning_effort"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats"),
    ({"metadata": {"a": 1}}, "metadata[...]"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "any"}, "tool_choice"),
]


@pytest.mark.parametrize(("asked", "param"), INVALID, ids=lambda value: str(value)[:40])
def test_invalid(asked: dict[str, Any], param: str) -> None:
    """A value out of its range, or at odds with another, is refused by its path."""
    refusal = refused(chat(**asked))
    assert (refusal.reason, refusal.param) == (Reason.INVALID_REQUEST, param)
    assert refusal.sentence.startswith(f"{param}: ")


@pytest.mark.parametrize(
    ("asked", "max_tokens"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 7, "max_completion_tokens": 7}, 7),
    ],
)
def test_the_limit_has_two_names(asked: dict[str, Any], max_tokens: int | None) -> None:
    """max_tokens and max_completion_tokens are one limit, and both may be sent if they agree."""
    assert parse_chat(chat(**asked)).max_tokens == max_tokens


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (None, (False, False)),
        ({}, (False, False)),
        ({"include_usage": False, "include_obfuscation": False}, (False, False)),
        ({"include_usage": True}, (True, False)),
        ({"include_usage": True, "continuous_usage_stats": True}, (True, True)),
    ],
)
def test_usage_in_a_stream(options: dict[str, bool] | None, asked: tuple[bool, bool]) -> None:
    """stream_options says whether the stream ends with its usage and whether every frame carries it."""
    request = parse_chat(chat(stream=True, stream_options=options))
    assert request.stream
    assert (request.include_usage, request.usage_each) == asked
