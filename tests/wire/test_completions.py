"""Text completion bodies."""

import json
from typing import Any

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.generation.order import Sampling
from millrace.generation.prompt import TextPrompt
from millrace.wire.completions import CompletionRequest, parse_completion


def parse(**changes: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"model": "m", "prompt": "Once", **changes}).encode())


def test_the_least_that_can_be_asked() -> None:
    """A model and a prompt are enough; the limit is then the form's own default."""
    assert parse() == CompletionRequest(
        model="m",
        prompt=TextPrompt(text="Once"),
        sampling=Sampling(),
        max_tokens=16,
        stream=False,
        include_usage=False,
        usage_each=False,
        user=None,
    )


@pytest.mark.parametrize(
    ("asked", "sampling"),
    [
        ({"temperature": 0.2, "stop": "."}, Sampling(temperature=0.2, stop=(".",))),
        ({"logprobs": 0}, Sampling(logprobs=True)),
        ({"logprobs": 5}, Sampling(logprobs=True, top_logprobs=5)),
        ({"n": 16, "best_of": 16}, Sampling(n=16)),
        ({"best_of": 1, "echo": False, "suffix": None, "user": None}, Sampling()),
        ({"suffix": ""}, Sampling()),
    ],
    ids=str,
)
def test_accepted(asked: dict[str, Any], sampling: Sampling) -> None:
    """Log probabilities are a number here; defaults that are said ask nothing."""
    assert parse(**asked).sampling == sampling


def test_one_prompt_in_a_list() -> None:
    """A list of exactly one text is that text."""
    assert parse(prompt=["Once"]).prompt == TextPrompt(text="Once")


def test_a_stream() -> None:
    """Streams are asked for as in a chat."""
    request = parse(stream=True, stream_options={"include_usage": True}, max_tokens=7, user="u")
    assert (request.stream, request.include_usage, request.usage_each, request.max_tokens, request.user) == (
        True, True, False, 7, "u",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "param", "reason"),
    [
        ({"prompt": None}, "prompt", Reason.INVALID_REQUEST),
        ({"prompt": ""}, "prompt", Reason.INVALID_REQUEST),
        ({"prompt": []}, "prompt", Reason.INVALID_REQUEST),
        ({"prompt": [""]}, "prompt", Reason.INVALID_REQUEST),
        ({"prompt": ["a", "b"]}, "prompt", Reason.UNSUPPORTED_PARAMETER),
        ({"prompt": [1, 2]}, "prompt", Reason.UNSUPPORTED_PARAMETER),
        ({"prompt": [[1, 2]]}, "prompt", Reason.UNSUPPORTED_PARAMETER),
        ({"echo": True}, "echo", Reason.UNSUPPORTED_PARAMETER),
        ({"suffix": "end"}, "suffix", Reason.UNSUPPORTED_PARAMETER),
        ({"best_of": 3}, "best_of", Reason.UNSUPPORTED_PARAMETER),
        ({"best_of": 1, "n": 2}, "best_of", Reason.INVALID_REQUEST),
        ({"logprobs": 6}, "logprobs", Reason.INVALID_REQUEST),
        ({"logprobs": True}, "logprobs", Reason.INVALID_REQUEST),
        ({"max_completion_tokens": 5}, "max_completion_tokens", Reason.UNSUPPORTED_PARAMETER),
        ({"messages": []}, "messages", Reason.UNSUPPORTED_PARAMETER),
        ({"stream_options": {}}, "stream_options", Reason.INVALID_REQUEST),
    ],
    ids=str,
)
def test_refused(asked: dict[str, Any], param: str, reason: Reason) -> None:
    """Several prompts, tokens for text, echo, suffix and best_of beyond n are refused by name."""
    with pytest.raises(Refusal) as caught:
        parse(**asked)
    assert (caught.value.reason, caught.value.param) == (reason, param)
