"""What an upstream's 'no' becomes."""

import msgspec
import pytest

from millrace.base.errors import Reason, Refusal
from millrace.engines.upstream.refusals import SENTENCE_CHARACTERS_MAX, from_status, sentence_of

KEY = "sk-upstream-key"


def refused(status: int, message: str = "", retry_after: str | None = None, **rest: object) -> Refusal:
    body = msgspec.json.encode({"error": {"message": message, **rest}})
    return from_status("m", status, body, retry_after, KEY)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "request (1213 tokens) exceeds the available context size (512 tokens), try increasing it",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096",
    ],
)
def test_too_long_a_prompt_is_known_by_its_words(message: str) -> None:
    """vLLM and llama.cpp say it in different words."""
    assert refused(400, message).reason is Reason.CONTEXT_LENGTH_EXCEEDED


def test_too_long_a_text_to_embed_is_the_callers_fault() -> None:
    """llama.cpp answers 500 to it."""
    assert refused(500, "input (3801 tokens) is too large to process").reason is Reason.CONTEXT_LENGTH_EXCEEDED


def test_a_refused_parameter_is_handed_on_by_name() -> None:
    """With the upstream's sentence."""
    refusal = refused(422, "min_p is not supported", param="min_p")
    assert (refusal.reason, refusal.param) == (Reason.UNSUPPORTED_PARAMETER, "min_p")
    assert "min_p is not supported" in refusal.sentence


def test_a_refused_request_without_a_parameter_is_invalid() -> None:
    """Also in the form of older vLLM and of FastAPI."""
    assert refused(400, "odd").reason is Reason.INVALID_REQUEST
    for body in (b'{"message":"odd"}', b'{"detail":"odd"}', b'{"error":"odd"}', b'{"detail":[{"msg":"odd"}]}'):
        assert "odd" in from_status("m", 400, body, None, None).sentence


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_wrong_set_up_is_not_the_callers_fault(status: int) -> None:
    """The caller hears that the engine is not there, and no word of the upstream."""
    refusal = refused(status, f"Incorrect API key provided: {KEY} at https://up.example/v1")
    assert refusal.reason is Reason.ENGINE_UNAVAILABLE
    assert "up.example" not in refusal.sentence
    assert KEY not in refusal.sentence


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), (None, 2), ("Wed, 21 Oct", 2), ("99999", 600), ("0", 1)])
def test_overload_says_when_to_come_back(said: str | None, seconds: int) -> None:
    """As the upstream says, within reason."""
    refusal = refused(429, "slow down", said)
    assert (refusal.reason, refusal.retry_after_s) == (Reason.ENGINE_UNAVAILABLE, seconds)


def test_sentences_are_bounded_and_keep_no_secret() -> None:
    """One line, no address, no key, however the upstream rambles."""
    said = sentence_of(f"no {KEY}\nsee http://10.0.0.7:8001/v1?a=b now " + "x" * 999, KEY)
    assert said.startswith("no … see … now xxx")
    assert len(said) == SENTENCE_CHARACTERS_MAX


def test_a_body_of_no_known_form_says_nothing() -> None:
    """An HTML page of a proxy is not repeated."""
    assert "<html>" not in from_status("m", 400, b"<html>Bad</html>", None, None).sentence
