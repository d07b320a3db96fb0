"""What an upstream's 'no' means for the caller; pure. Nothing here repeats a URL, a key or more than one sentence."""

import re
from typing import Final

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal

RETRY_AFTER_S: Final = 2
"""When to come back where the upstream does not say: about as long as a restart of a small engine takes."""

RETRY_AFTER_S_MAX: Final = 600
SENTENCE_CHARACTERS_MAX: Final = 300
"""Enough for a sentence about a parameter; a longer text is a trace or a page and helps no caller."""

_CONTEXT = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceed_context|too large to process|longer than the maximum"
    r"|max_model_len|prompt is too long|input is too long",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


class Upstream4xx(Struct):
    """`{"error": {"message", "param"}}` of OpenAI and llama.cpp, or the bare object of older vLLM."""

    message: str | None = None
    param: str | None = None
    type: str | None = None
    detail: object = None


class Envelope(Struct):
    error: Upstream4xx | str | None = None
    message: str | None = None
    param: str | None = None
    detail: object = None


def parse_error(body: bytes) -> Upstream4xx:
    """What the upstream says of its refusal; empty for a body that is not of a known form."""
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
    except msgspec.DecodeError:
        return Upstream4xx()
    if isinstance(envelope.error, str):
        return Upstream4xx(envelope.error)
    if envelope.error is not None:
        return envelope.error
    message = envelope.message if envelope.detail is None else str(envelope.detail)
    return Upstream4xx(message, envelope.param)


def from_status(model: str, status: int, body: bytes, retry_after: str | None, secret: str | None) -> Refusal:
    """The refusal for an answer that is not 200."""
    if status in {400, 413, 422}:
        return _refused_order(model, parse_error(body), secret)
    if status == 429 or status >= 500:
        if _CONTEXT.search(parse_error(body).message or ""):
            return context_exceeded(model)
        return unavailable(model, "is overloaded or failing", _seconds(retry_after))
    return unavailable(model, f"is set up wrongly (its server answers {status}); the operator has to mend it")


def unavailable(model: str, how: str, retry_after_s: int = RETRY_AFTER_S) -> Refusal:
    return Refusal(
        Reason.ENGINE_UNAVAILABLE,
        f"the engine of model {model!r} {how}; try again in {retry_after_s} s",
        retry_after_s=retry_after_s,
    )


def context_exceeded(model: str, said: str | None = None) -> Refusal:
    tail = f": {said}" if said else ""
    return Refusal(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"the prompt does not fit the context of model {model!r}; shorten it or ask for fewer tokens{tail}",
    )


def sentence_of(text: str | None, secret: str | None) -> str:
    """At most one bounded line of an upstream's text, without addresses and without our key."""
    line = " ".join((text or "").split())
    if secret:
        line = line.replace(secret, "…")
    line = _ADDRESS.sub("…", line)
    return line if len(line) <= SENTENCE_CHARACTERS_MAX else line[: SENTENCE_CHARACTERS_MAX - 1] + "…"


def _refused_order(model: str, error: Upstream4xx, secret: str | None) -> Refusal:
    said = sentence_of(error.message, secret)
    if _CONTEXT.search(said) or "context" in (error.type or ""):
        return context_exceeded(model, said.removesuffix(", try increasing it"))  # that is not the caller's to do
    reason = Reason.INVALID_REQUEST if error.param is None else Reason.UNSUPPORTED_PARAMETER
    return Refusal(reason, f"the engine of model {model!r} refuses the request{': ' + said if said else ''}", param=error.param)


def _seconds(retry_after: str | None) -> int:
    if retry_after is None or not retry_after.strip().isdecimal():
        return RETRY_AFTER_S
    return max(1, min(int(retry_after), RETRY_AFTER_S_MAX))
